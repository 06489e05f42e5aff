#pragma once

#include "wide.hpp"
#include "wide_operands.cuh"

// Scores are added to `s`. The sums of a P·V tile start at zero, panel by panel, and join O by one multiply-add.

namespace pantile::inline v0::cuda {

/// fp32 by fused multiply-adds, one rounding each, in the same places of S and O.
template <class tile>
struct product_fma {
    using input = float;
    using value = float;
    static constexpr int blocks = 1;
    static constexpr bool wide_columns = true;
    static_assert(tile::blocks_of_16 == 1 && tile::keys % 8 == 0);

    static __device__ __forceinline__ void scores(float (&s)[1][tile::keys / 2], const char* q_tile, const char* k_tile,
                                                  int first_row) {
        const int g = static_cast<int>(threadIdx.x % 32) / 4;
        const int t = static_cast<int>(threadIdx.x % 4);
#pragma unroll 2
        for (int chunk = 0; chunk < tile::dim / 4; ++chunk) {
            float q[2][4];
            load_chunk(q[0], q_tile + chunk_offset<tile::rows>(first_row + g, chunk));
            load_chunk(q[1], q_tile + chunk_offset<tile::rows>(first_row + g + 8, chunk));
#pragma unroll
            for (int n = 0; n < tile::keys / 4; ++n) { // keys 8 (n / 2) + 2t + n % 2
                float k[4];
                load_chunk(k, k_tile + chunk_offset<tile::keys>(n / 2 * 8 + 2 * t + n % 2, chunk));
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    float& to = s[0][n / 2 * 4 + 2 * r + n % 2];
#pragma unroll
                    for (int i = 0; i < 4; ++i) to = fmaf(q[r][i], k[i], to);
                }
            }
        }
    }

    static __device__ __forceinline__ void values(float (&o)[1][tile::held_dim / 2],
                                                  const float (&s)[1][tile::keys / 2], const float (&factor)[1][2],
                                                  const char* v_tile) {
        const int l = static_cast<int>(threadIdx.x % 32);
        const int t = l % 4;
        const int first_panel = tile::first_column() / 32;
#pragma unroll
        for (int panel = 0; panel < tile::held_dim / 32; ++panel) {
            float sum[16] = {};
#pragma unroll
            for (int key = 0; key < tile::keys; ++key) {
                if (key % 8 == 0) hold_loads();
                float v[8]; // columns 8t to 8t + 7 of the panel
#pragma unroll
                for (int p = 0; p < 2; ++p) {
                    float x[4];
                    load_chunk(x, v_tile + chunk_offset<tile::keys>(key, 8 * (first_panel + panel) + 2 * t + p));
#pragma unroll
                    for (int i = 0; i < 4; ++i) v[4 * p + i] = x[i];
                }
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    const float p =
                        __shfl_sync(0xffffffffU, s[0][key / 8 * 4 + 2 * r + key % 2], l / 4 * 4 + key / 2 % 4);
#pragma unroll
                    for (int i = 0; i < 8; ++i) { // column 4 (2t + e) + x with e = i / 4, x = i % 4
                        float& to = sum[4 * (i % 4) + 2 * r + i / 4];
                        to = fmaf(p, v[i], to);
                    }
                }
            }
#pragma unroll
            for (int i = 0; i < 16; ++i)
                o[0][16 * panel + i] = fmaf(o[0][16 * panel + i], factor[0][i / 2 % 2], sum[i]);
        }
    }
};

} // namespace pantile::inline v0::cuda
