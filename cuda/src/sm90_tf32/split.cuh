#pragma once

#include "../ptx/convert.cuh"
#include "../tile/swizzle.hpp"
#include "tile.hpp"

// fp32 numbers in shared memory become two tf32 numbers each, high and low parts (ptx::split_tf32), as B operands of the
// warpgroup's matrix products: stored [n][k]. A warp splits in place exactly what it has copied, so that the warps of the
// splitter need no barrier among them. All places of a lane differ by constants from one that it computes once. Traffic of a
// stage: 4 bytes a number written as they come and read once, 8 written; no bank conflicts.

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
    __device__ __forceinline__ void store(char* to_high, char* to_low) const {
        *reinterpret_cast<uint4*>(to_high) = high;
        *reinterpret_cast<uint4*>(to_low) = low;
    }
};

/// K: a panel has all keys of the tile as rows, warp w a quarter of them from w·keys / 4 on. A lane has chunk lane % 8 of its
/// warp's keys lane / 8 + 4k of each panel.
template <class tile>
struct key_planes {
    static constexpr int rows = tile::keys / 16; ///< k < rows

    /// The place of this lane's chunk k of a panel, with `lane_place()` at hand.
    static __device__ __forceinline__ int lane_place() {
        const int thread = static_cast<int>(threadIdx.x % 128);
        const int row = thread / 32 * (tile::keys / 4) + thread % 32 / 8;
        return row * panel_row_bytes + ((thread % 8) ^ (row & 7)) * 16;
    }
    static __device__ __forceinline__ int place(int lane_place, int panel, int k) {
        return (lane_place ^ (k % 2 * 64)) + k * (4 * panel_row_bytes) + panel * (tile::keys * panel_row_bytes);
    }

    template <int columns>
    static __device__ __forceinline__ void split(char* high, char* low, int lane_place) {
#pragma unroll
        for (int panel = 0; panel < columns / tf32_panel; ++panel) {
#pragma unroll
            for (int k = 0; k < rows; ++k) {
                const int at = place(lane_place, panel, k);
                const float4 x = *reinterpret_cast<const float4*>(high + at);
                split_chunk::of(x.x, x.y, x.z, x.w).store(high + at, low + at);
            }
        }
    }
};

/// V is transposed on the way, `columns` columns of it, and each eight keys come in the order 0 2 4 6 1 3 5 7: that is how the
/// lane that holds scores 2t and 2t + 1 of a row can hand them on as columns t and t + 4 of an A operand. Warp w has keys 8w
/// to 8w + 7 of each 32 (a group), which become chunks 2w and 2w + 1 of a panel row of each column. The fp32 numbers wait in
/// those same chunks: a lane copies chunk lane % 8 of keys lane / 8 and lane / 8 + 4 of a panel to halves 0 and 1 of what
/// will be its own column, lane.
template <class tile, int columns>
struct value_planes {
    static constexpr int groups = tile::keys / 32;
    static constexpr int panels = columns / tf32_panel;

    /// The place of a half of this lane's column, with `lane_place()` at hand.
    static __device__ __forceinline__ int lane_place() {
        const int lane = static_cast<int>(threadIdx.x % 32);
        const int warp = static_cast<int>(threadIdx.x / 32 % 4);
        return lane * panel_row_bytes + ((2 * warp) ^ (lane % 8)) * 16;
    }
    static __device__ __forceinline__ int place(int lane_place, int group, int panel, int half) {
        return (lane_place ^ (half * 16)) + panel * (tf32_panel * panel_row_bytes) +
               group * (columns * panel_row_bytes);
    }

    /// A lane takes eight keys of its column of each panel: reads of 4 bytes, 128 a warp and key; writes of 16 bytes.
    static __device__ __forceinline__ void split(char* high, char* low, int lane_place) {
        // Key m of the column waits where lane 8 (m % 4) + lane / 4 has copied it to.
        const int lane = static_cast<int>(threadIdx.x % 32);
        const int warp = static_cast<int>(threadIdx.x / 32 % 4);
        const int raw_place = lane / 4 * panel_row_bytes + ((2 * warp) ^ (lane / 4)) * 16 + lane % 4 * 4;
#pragma unroll
        for (int group = 0; group < groups; ++group) {
#pragma unroll
            for (int panel = 0; panel < panels; ++panel) {
                float x[8];
#pragma unroll
                for (int m = 0; m < 8; ++m) {
                    const int at = place(raw_place, group, panel, m / 4) + m % 4 * (8 * panel_row_bytes);
                    x[m] = *reinterpret_cast<const float*>(high + at);
                }
                __syncwarp(); // all have been read
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const int at = place(lane_place, group, panel, e);
                    split_chunk::of(x[e], x[2 + e], x[4 + e], x[6 + e]).store(high + at, low + at);
                }
            }
        }
    }
};

} // namespace pantile::cuda
