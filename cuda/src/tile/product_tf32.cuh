#pragma once

#include "../ptx/convert.cuh"
#include "../ptx/mma.cuh"
#include "wide.hpp"
#include "wide_operands.cuh"

// Scores are added to `s`. The sums of a P·V tile start at zero, panel by panel, and join O by one multiply-add.

namespace pantile::inline v0::cuda {

/// fp32 as three tf32 products, m16n8k8: x·y = high·high + (high·low + low·high). The unit's sums round towards zero: two
/// steps of Q·Kᵀ, or a key tile of P·V, go into one accumulator, then fp32 additions join it to S or O. (Sums over the whole
/// head dim in one accumulator fail the error rule from 136 columns on.)
template <class tile>
struct product_tf32 {
    using input = float;
    using value = float;
    static constexpr int blocks = 1;
    static constexpr bool wide_columns = true;
    static_assert(tile::blocks_of_16 == 1 && tile::keys % 8 == 0);

    /// An operand split into its two parts.
    template <int n>
    struct parts {
        std::uint32_t high[n];
        std::uint32_t low[n];
        __device__ __forceinline__ void set(int i, float x) { ptx::split_tf32(x, high[i], low[i]); }
    };

    static __device__ __forceinline__ void scores(float (&s)[1][tile::keys / 2], const char* q_tile, const char* k_tile,
                                                  int first_row) {
        const lane_places at = lane_places::of();
        q_tile += first_row * panel_row_bytes;
#pragma unroll 1 // unrolled, loads move up until registers spill
        for (int panel = 0; panel < tile::dim / 32; ++panel) {
#pragma unroll
            for (int p = 0; p < 2; ++p) { // chunk 2t + p: the lane's columns 4p to 4p + 3, two steps of k
                parts<8> a;               // step y: rows g and g + 8 of column 2y, then of column 2y + 1
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    float q[4];
                    load_chunk(q, q_tile + at.pair[p] + panel * (tile::rows * panel_row_bytes) + r * eight_rows);
#pragma unroll
                    for (int i = 0; i < 4; ++i) a.set(i / 2 * 4 + i % 2 * 2 + r, q[i]);
                }
#pragma unroll
                for (int j = 0; j < tile::keys / 8; j += 2) { // two blocks of 8 keys: no product waits for the last
                    float sum[2][4] = {};
                    parts<4> b[2];
#pragma unroll
                    for (int n = 0; n < 2; ++n) {
                        float k[4];
                        load_chunk(k,
                                   k_tile + at.pair[p] + panel * (tile::keys * panel_row_bytes) + (j + n) * eight_rows);
#pragma unroll
                        for (int i = 0; i < 4; ++i) b[n].set(i, k[i]);
                    }
                    // The small products first: they lose nothing in an empty accumulator.
#pragma unroll
                    for (int i = 0; i < 8; ++i) { // step i / 4, part (i / 2) % 2, block i % 2
                        const int y = i / 4;
                        if (i / 2 % 2 == 0) {
                            ptx::mma_tf32(sum[i % 2], a.high + 4 * y, b[i % 2].low + 2 * y);
                        } else {
                            ptx::mma_tf32(sum[i % 2], a.low + 4 * y, b[i % 2].high + 2 * y);
                        }
                    }
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        ptx::mma_tf32(sum[i % 2], a.high + i / 2 * 4, b[i % 2].high + i / 2 * 2);
                    }
#pragma unroll
                    for (int i = 0; i < 8; ++i) s[0][4 * j + i] += sum[i / 4][i % 4];
                }
            }
        }
    }

    static __device__ __forceinline__ void values(float (&o)[1][tile::held_dim / 2],
                                                  const float (&s)[1][tile::keys / 2], const float (&factor)[1][2],
                                                  const char* v_tile) {
        const lane_places at = lane_places::of();
        v_tile += tile::first_column() / 32 * (tile::keys * panel_row_bytes);
#pragma unroll
        for (int panel = 0; panel < tile::held_dim / 32; ++panel) {
            float sum[16] = {};
#pragma unroll
            for (int j = 0; j < tile::keys / 8; ++j) {
                parts<4> a; // rows g and g + 8 at key 2t, then at key 2t + 1
#pragma unroll
                for (int i = 0; i < 4; ++i) a.set(i, s[0][4 * j + i / 2 + i % 2 * 2]);
                float v[2][4];
#pragma unroll
                for (int e = 0; e < 2; ++e) // key 8j + 2t + e
                    load_chunk(v[e], v_tile + at.rows[e] + panel * (tile::keys * panel_row_bytes) + j * eight_rows);
                parts<8> b;
#pragma unroll
                for (int i = 0; i < 8; ++i) b.set(i, v[i % 2][i / 2]);
                    // Four columns of eight in turn, so that no product waits for the last; small products first.
#pragma unroll
                for (int x = 0; x < 4; ++x) ptx::mma_tf32(sum + 4 * x, a.high, b.low + 2 * x);
#pragma unroll
                for (int x = 0; x < 4; ++x) ptx::mma_tf32(sum + 4 * x, a.low, b.high + 2 * x);
#pragma unroll
                for (int x = 0; x < 4; ++x) ptx::mma_tf32(sum + 4 * x, a.high, b.high + 2 * x);
            }
#pragma unroll
            for (int i = 0; i < 16; ++i) {
                float& to = o[0][16 * panel + i];
                to = fmaf(to, factor[0][i / 2 % 2], sum[i]);
            }
        }
    }
};

} // namespace pantile::inline v0::cuda
