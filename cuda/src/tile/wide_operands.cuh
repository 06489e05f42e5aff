#pragma once

#include "swizzle.hpp"

// How the fp32 products of a tile read shared memory: one warp, 16 query rows; wide.hpp says who holds what.

namespace pantile::inline v0::cuda {

/// Loads do not move up past this point, where they would hold registers for long: without it the assembler, eager to hide
/// their latency, spills.
__device__ __forceinline__ void hold_loads() { __syncwarp(); }

/// 16 bytes of shared memory.
__device__ __forceinline__ void load_chunk(float (&to)[4], const char* from) {
    const float4 c = *reinterpret_cast<const float4*>(from);
    to[0] = c.x;
    to[1] = c.y;
    to[2] = c.z;
    to[3] = c.w;
}

/// Byte offsets of what a lane reads in eight rows of a panel; eight rows further the swizzle repeats.
struct lane_places {
    int pair[2]; ///< row g, chunks 2t and 2t + 1: Q and K
    int rows[2]; ///< rows 2t and 2t + 1, chunk g: V
    static __device__ __forceinline__ lane_places of() {
        const int g = static_cast<int>(threadIdx.x % 32) / 4;
        const int t = static_cast<int>(threadIdx.x % 4);
        return {{chunk_offset<8>(g, 2 * t), chunk_offset<8>(g, 2 * t + 1)},
                {chunk_offset<8>(2 * t, g), chunk_offset<8>(2 * t + 1, g)}};
    }
};
inline constexpr int eight_rows = 8 * panel_row_bytes;

} // namespace pantile::inline v0::cuda
