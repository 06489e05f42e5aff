#pragma once

#include "../ptx/convert.cuh"
#include "../tile/swizzle.hpp"
#include "tile.hpp"

#include <pantile/core/macros.hpp>

// fp32 numbers in shared memory become two tf32 numbers each, high and low parts (ptx::split_tf32), as B operands of the
// warpgroup's matrix products: stored [n][k]. A warp splits in place exactly what it has copied, so that the warps of the
// splitter need no barrier among them. All places of a lane differ by constants from one that it computes once. Traffic of a
// stage: 4 bytes a number written as they come and read once, 8 written; no bank conflicts.

namespace pantile::inline v0::cuda {

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

/// Which keys a warp of the splitter has, of K and of V: w has keys 8w to 8w + 7 of each 32 (a group). A lane copies chunk
/// lane % 8 of keys lane / 8 (half 0) and lane / 8 + 4 (half 1) of each group and panel to place(lane_place(), ...).

/// K, `columns` columns of it: a panel has all keys of the tile as rows.
template <class tile, int columns>
struct key_planes {
    static constexpr int groups = tile::keys / 32;
    static constexpr int panels = columns / tf32_panel;

    static __device__ __forceinline__ int lane_place() {
        const int row = static_cast<int>(threadIdx.x % 128 / 32 * 8 + threadIdx.x % 32 / 8);
        return row * panel_row_bytes + ((static_cast<int>(threadIdx.x) % 8) ^ (row & 7)) * 16;
    }
    static __device__ __forceinline__ int place(int lane_place, int group, int panel, int half) {
        return (lane_place ^ (half * 64)) + (32 * group + 4 * half + panel * tile::keys) * panel_row_bytes;
    }

    static __device__ __forceinline__ void split(char* high, char* low, int lane_place) {
        constexpr int read = core::min(tile::panels_at_once, panels);
#pragma unroll
        for (int first = 0; first < groups * panels; first += read) {
            const auto chunk = [&](int i) {
                return place(lane_place, (first + i / 2) / panels, (first + i / 2) % panels, i % 2);
            };
            float4 x[2 * read]; // all read before the first is written: the compiler may not do that for us
#pragma unroll
            for (int i = 0; i < 2 * read; ++i) x[i] = *reinterpret_cast<const float4*>(high + chunk(i));
#pragma unroll
            for (int i = 0; i < 2 * read; ++i) {
                split_chunk::of(x[i].x, x[i].y, x[i].z, x[i].w).store(high + chunk(i), low + chunk(i));
            }
        }
    }
};

/// V is transposed on the way, and each eight keys come in the order 0 2 4 6 1 3 5 7: that is how the lane that holds scores
/// 2t and 2t + 1 of a row can hand them on as columns t and t + 4 of an A operand. A warp's keys of a group become chunks 2w
/// and 2w + 1 of a panel row of each column, and as fp32 numbers they wait in those same chunks: a lane copies to both
/// halves of what will be its own column.
template <class tile, int columns>
struct value_planes {
    static constexpr int groups = tile::keys / 32;
    static constexpr int panels = columns / tf32_panel;

    static __device__ __forceinline__ int lane_place() {
        const int lane = static_cast<int>(threadIdx.x % 32);
        return lane * panel_row_bytes + ((static_cast<int>(threadIdx.x) % 128 / 32 * 2) ^ (lane % 8)) * 16;
    }
    static __device__ __forceinline__ int place(int lane_place, int group, int panel, int half) {
        return (lane_place ^ (half * 16)) + (panel * tf32_panel + group * columns) * panel_row_bytes;
    }

    /// A lane takes eight keys of its column of each panel: reads of 4 bytes, 128 a warp and key; writes of 16 bytes.
    static __device__ __forceinline__ void split(char* high, char* low, int lane_place) {
        // Key m of the column waits where lane 8 (m % 4) + lane / 4 has copied it to.
        const int lane = static_cast<int>(threadIdx.x % 32);
        const int raw_place = lane / 4 * panel_row_bytes +
                              ((static_cast<int>(threadIdx.x) % 128 / 32 * 2) ^ (lane / 4)) * 16 + lane % 4 * 4;
        __syncwarp(); // the other lanes' copies have come, too
        constexpr int read = core::min(tile::panels_at_once, panels);
#pragma unroll
        for (int first = 0; first < groups * panels; first += read) {
            const auto half = [&](int lane_place, int i) {
                return place(lane_place, (first + i / 2) / panels, (first + i / 2) % panels, i % 2);
            };
            float x[read][8];
#pragma unroll
            for (int i = 0; i < 8 * read; ++i) {
                x[i / 8][i % 8] =
                    *reinterpret_cast<const float*>(high + half(raw_place, i / 4) + i % 4 * (8 * panel_row_bytes));
            }
            __syncwarp(); // all have been read
#pragma unroll
            for (int i = 0; i < 2 * read; ++i) {
                const float(&y)[8] = x[i / 2];
                const int at = half(lane_place, i);
                split_chunk::of(y[i % 2], y[2 + i % 2], y[4 + i % 2], y[6 + i % 2]).store(high + at, low + at);
            }
        }
    }
};

} // namespace pantile::inline v0::cuda
