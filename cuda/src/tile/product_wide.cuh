#pragma once

#include "../ptx/convert.cuh"
#include "../ptx/mma.cuh"
#include "swizzle.hpp"
#include "wide.hpp"

// The two matrix products of a tile in fp32 and fp64: one warp, 16 query rows; wide.hpp says who holds what.
// Scores are added to `s`. The sums of a P·V tile start at zero, panel by panel, and join O by one multiply-add.

namespace pantile::cuda {

/// Loads do not move up past this point, where they would hold registers for long: without it the assembler, eager to hide
/// their latency, spills.
__device__ __forceinline__ void hold_loads() { __syncwarp(); }

/// 32 bytes of a row: chunks 2t and 2t + 1 of panel `panel`.
template <class V, int rows>
__device__ __forceinline__ void load_pair(V (&to)[panel_width<V> / 4], const char* tile, int panel, int row, int t) {
    struct alignas(16) chunk {
        V x[16 / sizeof(V)];
    };
    constexpr int n = 16 / static_cast<int>(sizeof(V));
#pragma unroll
    for (int p = 0; p < 2; ++p) {
        const chunk c = *reinterpret_cast<const chunk*>(tile + chunk_offset<rows>(row, 8 * panel + 2 * t + p));
#pragma unroll
        for (int i = 0; i < n; ++i) to[n * p + i] = c.x[i];
    }
}

/// 16 bytes of a row: chunk `g` of panel `panel`.
template <class V, int rows>
__device__ __forceinline__ void load_chunk(V (&to)[panel_width<V> / 8], const char* tile, int panel, int row, int g) {
    struct alignas(16) chunk {
        V x[16 / sizeof(V)];
    };
    const chunk c = *reinterpret_cast<const chunk*>(tile + chunk_offset<rows>(row, 8 * panel + g));
#pragma unroll
    for (int i = 0; i < panel_width<V> / 8; ++i) to[i] = c.x[i];
}

/// fp64 on the fp64 matrix unit, m16n8k16: a panel is one step of k. Shared-memory traffic of 16 rows x 8 keys x 16 columns:
/// K 1 KB, and Q 2 KB once for all keys; of 16 keys x 16 columns of V: 2 KB for two products.
template <class tile>
struct product_f64 {
    using input = double;
    using value = double;
    static constexpr int blocks = 1;
    static constexpr bool wide_columns = true;
    static_assert(tile::blocks_of_16 == 1 && tile::keys % 16 == 0);

    static __device__ __forceinline__ void scores(double (&s)[1][tile::keys / 2], const char* q_tile,
                                                  const char* k_tile, int first_row) {
        const int g = static_cast<int>(threadIdx.x % 32) / 4;
        const int t = static_cast<int>(threadIdx.x % 4);
#pragma unroll 1 // unrolled, loads move up until registers spill
        for (int panel = 0; panel < tile::dim / 16; ++panel) {
            double q[2][4];
            double a[8];
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                load_pair<double, tile::rows>(q[r], q_tile, panel, first_row + g + 8 * r, t);
#pragma unroll
                for (int i = 0; i < 4; ++i) a[2 * i + r] = q[r][i];
            }
#pragma unroll
            for (int j = 0; j < tile::keys / 8; ++j) {
                double b[4];
                load_pair<double, tile::keys>(b, k_tile, panel, 8 * j + g, t);
                ptx::mma_f64(&s[0][4 * j], a, b);
            }
        }
    }

    static __device__ __forceinline__ void values(double (&o)[1][tile::held_dim / 2],
                                                  const double (&s)[1][tile::keys / 2], const double (&factor)[1][2],
                                                  const char* v_tile) {
        const int g = static_cast<int>(threadIdx.x % 32) / 4;
        const int t = static_cast<int>(threadIdx.x % 4);
        const int first_panel = tile::first_column() / 16;
#pragma unroll
        for (int panel = 0; panel < tile::held_dim / 16; ++panel) {
            double sum[8] = {};
            hold_loads();
#pragma unroll
            for (int j = 0; j < tile::keys / 16; ++j) {
                double a[8];
                double b[2][4];
#pragma unroll
                for (int i = 0; i < 4; ++i) { // k index t + 4i: key 16j + 8(i / 2) + 2t + i % 2
#pragma unroll
                    for (int r = 0; r < 2; ++r) a[2 * i + r] = s[0][(2 * j + i / 2) * 4 + 2 * r + i % 2];
                    double v[2];
                    load_chunk<double, tile::keys>(v, v_tile, first_panel + panel, 16 * j + i / 2 * 8 + 2 * t + i % 2,
                                                   g);
                    b[0][i] = v[0];
                    b[1][i] = v[1];
                }
                ptx::mma_f64(sum, a, b[0]);
                ptx::mma_f64(sum + 4, a, b[1]);
            }
#pragma unroll
            for (int i = 0; i < 8; ++i) o[0][8 * panel + i] = fma(o[0][8 * panel + i], factor[0][i / 2 % 2], sum[i]);
        }
    }
};

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
        const int g = static_cast<int>(threadIdx.x % 32) / 4;
        const int t = static_cast<int>(threadIdx.x % 4);
#pragma unroll 1 // unrolled, loads move up until registers spill
        for (int panel = 0; panel < tile::dim / 32; ++panel) {
#pragma unroll
            for (int p = 0; p < 2; ++p) { // chunk 2t + p: the lane's columns 4p to 4p + 3, two steps of k
                parts<8> a;               // step y: rows g and g + 8 of column 2y, then of column 2y + 1
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    float q[4];
                    load_chunk<float, tile::rows>(q, q_tile, panel, first_row + g + 8 * r, 2 * t + p);
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
                        load_chunk<float, tile::keys>(k, k_tile, panel, 8 * (j + n) + g, 2 * t + p);
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
        const int g = static_cast<int>(threadIdx.x % 32) / 4;
        const int t = static_cast<int>(threadIdx.x % 4);
        const int first_panel = tile::first_column() / 32;
#pragma unroll
        for (int panel = 0; panel < tile::held_dim / 32; ++panel) {
            float sum[16] = {};
#pragma unroll
            for (int j = 0; j < tile::keys / 8; ++j) {
                parts<4> a; // rows g and g + 8 at key 2t, then at key 2t + 1
#pragma unroll
                for (int i = 0; i < 4; ++i) a.set(i, s[0][4 * j + i / 2 + i % 2 * 2]);
                float v[2][4];
                load_chunk<float, tile::keys>(v[0], v_tile, first_panel + panel, 8 * j + 2 * t, g);
                load_chunk<float, tile::keys>(v[1], v_tile, first_panel + panel, 8 * j + 2 * t + 1, g);
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
            load_chunk<float, tile::rows>(q[0], q_tile, chunk / 8, first_row + g, chunk % 8);
            load_chunk<float, tile::rows>(q[1], q_tile, chunk / 8, first_row + g + 8, chunk % 8);
#pragma unroll
            for (int n = 0; n < tile::keys / 4; ++n) { // keys 8 (n / 2) + 2t + n % 2
                float k[4];
                load_chunk<float, tile::keys>(k, k_tile, chunk / 8, n / 2 * 8 + 2 * t + n % 2, chunk % 8);
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
                load_pair<float, tile::keys>(v, v_tile, first_panel + panel, key, t);
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

} // namespace pantile::cuda
