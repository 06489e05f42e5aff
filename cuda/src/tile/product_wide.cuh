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

/// 16 bytes of shared memory.
template <class V>
__device__ __forceinline__ void load_chunk(V (&to)[16 / sizeof(V)], const char* from) {
    struct alignas(16) chunk {
        V x[16 / sizeof(V)];
    };
    const chunk c = *reinterpret_cast<const chunk*>(from);
#pragma unroll
    for (int i = 0; i < static_cast<int>(16 / sizeof(V)); ++i) to[i] = c.x[i];
}

/// One fp64 number, where a wider read would only be taken apart again, a move for each register.
__device__ __forceinline__ double load_one(const char* from) { return *reinterpret_cast<const volatile double*>(from); }

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

/// The same for single fp64 numbers. The lanes (g, t) and (g xor 2, t xor 1) of half a warp meet in one chunk's banks: one of
/// them takes its second number first. For Q and K that is another order of k, the same for both; for V another of columns,
/// which product_f64::order_columns undoes in O.
struct lane_places_f64 {
    int pair[2][2]; ///< row g, chunk 2t + p, number e of the two: [p][e ^ t % 2]
    int rows[2][2]; ///< row 2t + e, chunk g, number x of the two: [e][x ^ g / 2 % 2]
    static __device__ __forceinline__ lane_places_f64 of() {
        const lane_places at = lane_places::of();
        const int g = static_cast<int>(threadIdx.x % 32) / 4;
        const int t = static_cast<int>(threadIdx.x % 4);
        lane_places_f64 r{};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            r.pair[i / 2][i % 2] = at.pair[i / 2] + ((i % 2) ^ (t % 2)) * 8;
            r.rows[i / 2][i % 2] = at.rows[i / 2] + ((i % 2) ^ (g / 2 % 2)) * 8;
        }
        return r;
    }
};

/// fp64 on the fp64 matrix unit, m16n8k16: a panel is one step of k. A product keeps the unit, and a warp its operands, for
/// 64 clocks: operands of the next products load meanwhile, into registers of their own. Shared-memory traffic of 16 rows x
/// 8 keys x 16 columns: K 1 KB, and Q 2 KB once for all keys; of 16 keys x 16 columns of V: 2 KB for two products. In 64
/// clocks shared memory gives 2 KB to each of the four units: bank conflicts are not affordable.
template <class tile>
struct product_f64 {
    using input = double;
    using value = double;
    static constexpr int blocks = 1;
    static constexpr bool wide_columns = true;
    static_assert(tile::blocks_of_16 == 1 && tile::keys % 16 == 0);

    /// Two warps that share 16 rows share the work on their scores, too: each multiplies over half the head dim, and they add
    /// up through shared memory. (Half of the keys each would read all of Q once a block of keys, 3 KB a product: more than
    /// shared memory gives in 64 clocks.)
    static constexpr int groups = tile::column_groups;
    static constexpr int key_blocks = tile::keys / 8;
    static constexpr int panels = tile::dim / 16 / groups; ///< of one warp
    static_assert(groups <= 2);

    /// Q·Kᵀ goes in steps of a panel and two blocks of keys.
    static constexpr int steps_of_panel = key_blocks / 2;

    /// The A operand of a panel of Q, from the warp's first row on.
    static __device__ __forceinline__ void load_query(double (&a)[8], const lane_places_f64& at, const char* q) {
#pragma unroll
        for (int i = 0; i < 8; ++i) a[i] = load_one(q + at.pair[i / 4][i / 2 % 2] + i % 2 * eight_rows);
    }
    /// The B operands of a step, from its first key on.
    static __device__ __forceinline__ void load_keys(double (&b)[2][4], const lane_places_f64& at, const char* k) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
#pragma unroll
            for (int i = 0; i < 4; ++i) b[j][i] = load_one(k + at.pair[i / 2][i % 2] + j * eight_rows);
        }
    }

    static __device__ __forceinline__ void scores(double (&s)[1][tile::keys / 2], const char* q_tile,
                                                  const char* k_tile, int first_row) {
        constexpr int all = panels * steps_of_panel;
        const lane_places_f64 at = lane_places_f64::of();
        const int first_panel = tile::warp() % groups * panels;
        q_tile += first_row * panel_row_bytes + first_panel * (tile::rows * panel_row_bytes);
        k_tile += first_panel * (tile::keys * panel_row_bytes);
        const auto k_of = [&](int n) {
            return k_tile + n / steps_of_panel * (tile::keys * panel_row_bytes) + n % steps_of_panel * (2 * eight_rows);
        };
        double a[2][8];
        double b[2][2][4];
        load_query(a[0], at, q_tile);
        load_keys(b[0], at, k_of(0));
#pragma unroll
        for (int n = 0; n < all; ++n) {
            const int panel = n / steps_of_panel;
            if (n + 1 < all) {
                load_keys(b[(n + 1) % 2], at, k_of(n + 1));
                if ((n + 1) % steps_of_panel == 0)
                    load_query(a[(panel + 1) % 2], at, q_tile + (panel + 1) * (tile::rows * panel_row_bytes));
            }
            hold_loads();
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                ptx::mma_f64(&s[0][4 * (n % steps_of_panel * 2 + j)], a[panel % 2], b[n % 2][j]);
            }
        }
        if constexpr (groups == 2) add_up(s[0]);
    }

    /// s += the scores of the warp beside this one. Both add the same two numbers, so both get the same bits.
    static __device__ __forceinline__ void add_up(double (&s)[tile::keys / 2]) {
        __shared__ double2 room[tile::warps][key_blocks][2][32];
        const int warp = tile::warp();
        const auto lane = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < tile::keys / 4; ++i) room[warp][i / 2][i % 2][lane] = make_double2(s[2 * i], s[2 * i + 1]);
        asm volatile("bar.sync %0, 64;" ::"r"(1 + warp / 2) : "memory");
#pragma unroll
        for (int i = 0; i < tile::keys / 4; ++i) {
            const double2 x = room[warp ^ 1][i / 2][i % 2][lane];
            s[2 * i] += x.x;
            s[2 * i + 1] += x.y;
        }
    }

    /// Operands of 16 keys and a panel of V: two products.
    struct value_operands {
        double b[2][4];
        __device__ __forceinline__ void load(const lane_places_f64& at, const char* v_tile, int panel, int j) {
#pragma unroll
            for (int i = 0; i < 4; ++i) { // k index t + 4i: key 16j + 8(i / 2) + 2t + i % 2
                const char* v = v_tile + panel * (tile::keys * panel_row_bytes) + (2 * j + i / 2) * eight_rows;
                b[0][i] = load_one(v + at.rows[i % 2][0]);
                b[1][i] = load_one(v + at.rows[i % 2][1]);
            }
        }
    };

    static __device__ __forceinline__ void values(double (&o)[1][tile::held_dim / 2],
                                                  const double (&s)[1][tile::keys / 2], const double (&factor)[1][2],
                                                  const char* v_tile) {
        constexpr int steps = tile::keys / 16;
        constexpr int all = tile::held_dim / 16 * steps;
        const lane_places_f64 at = lane_places_f64::of();
        v_tile += tile::first_column() / 16 * (tile::keys * panel_row_bytes);
        value_operands x[2];
        x[0].load(at, v_tile, 0, 0);
        double sum[8] = {};
#pragma unroll
        for (int n = 0; n < all; ++n) {
            const int panel = n / steps;
            const int j = n % steps;
            if (n + 1 < all) x[(n + 1) % 2].load(at, v_tile, (n + 1) / steps, (n + 1) % steps);
            hold_loads();
            double a[8];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
#pragma unroll
                for (int r = 0; r < 2; ++r) a[2 * i + r] = s[0][(2 * j + i / 2) * 4 + 2 * r + i % 2];
            }
            if (j == 0) {
#pragma unroll
                for (double& y : sum) y = 0.0;
            }
            ptx::mma_f64(sum, a, x[n % 2].b[0]);
            ptx::mma_f64(sum + 4, a, x[n % 2].b[1]);
            if (j == steps - 1) {
#pragma unroll
                for (int i = 0; i < 8; ++i)
                    o[0][8 * panel + i] = fma(o[0][8 * panel + i], factor[0][i / 2 % 2], sum[i]);
            }
        }
    }

    /// Puts the columns of O in the order of wide.hpp: columns 2t and 2t + 1 of the two products of a panel lie exchanged
    /// where t is odd.
    static __device__ __forceinline__ void order_columns(double (&o)[tile::held_dim / 2]) {
        const bool exchanged = threadIdx.x % 2 != 0;
#pragma unroll
        for (int i = 0; i < tile::held_dim / 2; ++i) {
            if (i / 4 % 2 != 0) continue;
            const double x = o[i];
            o[i] = exchanged ? o[i + 4] : x;
            o[i + 4] = exchanged ? x : o[i + 4];
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

} // namespace pantile::cuda
