#pragma once

#include "../ptx/convert.cuh"
#include "swizzle.hpp"

// A tile of fp32 numbers in shared memory becomes two of tf32 numbers, high and low parts (ptx::split_tf32), as B operands
// of the warpgroup's matrix products: stored [n][k]. One warpgroup does it once for all that multiply by the tile.

namespace pantile::cuda {

/// Four numbers and their parts.
struct split_chunk {
    uint4 high;
    uint4 low;
    static __device__ __forceinline__ split_chunk of(float x, float y, float z, float w) {
        split_chunk c;
        ptx::split_tf32(x, c.high.x, c.low.x);
        ptx::split_tf32(y, c.high.y, c.low.y);
        ptx::split_tf32(z, c.high.z, c.low.z);
        ptx::split_tf32(w, c.high.w, c.low.w);
        return c;
    }
};

/// K: the planes have the order of the raw tile. Traffic of `bytes` of K: read once, written twice, 16 bytes a lane.
template <int bytes, int threads>
__device__ __forceinline__ void split_tile(char* high, char* low, const char* raw) {
    static_assert(bytes % (16 * threads) == 0);
#pragma unroll 2
    for (int i = 0; i < bytes / (16 * threads); ++i) {
        const int at = (i * threads + static_cast<int>(threadIdx.x % threads)) * 16;
        const float4 x = *reinterpret_cast<const float4*>(raw + at);
        const split_chunk c = split_chunk::of(x.x, x.y, x.z, x.w);
        *reinterpret_cast<uint4*>(high + at) = c.high;
        *reinterpret_cast<uint4*>(low + at) = c.low;
    }
}

/// V: transposed on the way, `keys` x `columns` to `columns` x `keys`, and each eight keys in the order 0 2 4 6 1 3 5 7: that
/// is how the lane that holds scores 2t and 2t + 1 of a row can hand them on as columns t and t + 4 of an A operand.
/// A lane takes eight keys of one column: reads of 4 bytes, 128 a warp and row; writes of 16 bytes.
template <int keys, int columns, int threads>
__device__ __forceinline__ void split_transposed(char* high, char* low, const char* raw) {
    constexpr int warps = threads / 32;
    static_assert(keys % 32 == 0 && columns % 32 == 0 && keys / 8 % warps == 0);
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int warp = static_cast<int>(threadIdx.x / 32 % warps);
#pragma unroll 1
    for (int panel = 0; panel < columns / 32; ++panel) {
        const int column = 32 * panel + lane;
#pragma unroll
        for (int i = 0; i < keys / 8 / warps; ++i) {
            const int j = i * warps + warp; // eight keys
            const char* from = raw + panel * (keys * panel_row_bytes) + j * (8 * panel_row_bytes);
            float x[8];
#pragma unroll
            for (int m = 0; m < 8; ++m) {
                x[m] = *reinterpret_cast<const float*>(from + m * panel_row_bytes + ((lane * 4) ^ (m * 16)));
            }
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                const split_chunk c = split_chunk::of(x[e], x[2 + e], x[4 + e], x[6 + e]);
                const int to = chunk_offset<columns>(column, 2 * j + e);
                *reinterpret_cast<uint4*>(high + to) = c.high;
                *reinterpret_cast<uint4*>(low + to) = c.low;
            }
        }
    }
}

} // namespace pantile::cuda
