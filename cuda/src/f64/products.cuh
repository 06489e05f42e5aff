#pragma once

#include "../ptx/address.cuh"
#include "../ptx/mma.cuh"
#include "tile.hpp"

// The two products of a key tile, one warp, 16 query rows. Operands of the next step are read while the unit works on this
// one, into registers of their own. Shared-memory traffic of a product: K or V 1 KB; Q 2 KB a panel and key tile.

namespace pantile::inline v0::cuda {

/// Byte offsets of what a lane reads of eight rows of a panel; eight rows further the swizzle repeats.
struct f64_places {
    std::uint32_t query;    ///< rows g and g + 8, column 4t; column 4t + 1 lies 64 bytes further or before
    std::uint32_t key[2];   ///< row g, chunks 2t and 2t + 1
    std::uint32_t value[2]; ///< rows 2t and 2t + 1, chunk g
    static constexpr std::uint32_t eight_rows = 8 * panel_row_bytes;

    static __device__ __forceinline__ f64_places of() {
        const int g = static_cast<int>(threadIdx.x % 32) / 4;
        const int t = static_cast<int>(threadIdx.x % 4);
        const auto offset = [](int x) { return static_cast<std::uint32_t>(x); };
        return {offset(f64_query_offset(g, 4 * t)),
                {offset(chunk_offset<8>(g, 2 * t)), offset(chunk_offset<8>(g, 2 * t + 1))},
                {offset(chunk_offset<8>(2 * t, g)), offset(chunk_offset<8>(2 * t + 1, g))}};
    }
};

/// S = Q·Kᵀ; `q` is the warp's Q, `k` its first panel of K. Steps of a panel and 16 keys.
template <class tile>
__device__ __forceinline__ void multiply_keys(double (&s)[tile::keys / 2], std::uint32_t q, std::uint32_t k,
                                              const f64_places& at) {
    constexpr int steps_of_panel = tile::keys / 16;
    constexpr int steps = tile::panels * steps_of_panel;
    double a[2][8];
    double b[2][2][4];
    const auto load = [&](int n) {
        const auto panel = static_cast<std::uint32_t>(n / steps_of_panel);
        const auto sixteen = static_cast<std::uint32_t>(n % steps_of_panel);
        const std::uint32_t key = k + panel * tile::panel_bytes + sixteen * 2 * f64_places::eight_rows;
#pragma unroll
        for (std::uint32_t j = 0; j < 2; ++j) {
            ptx::load_pair(b[n % 2][j], key + at.key[0] + j * f64_places::eight_rows);
            ptx::load_pair(b[n % 2][j] + 2, key + at.key[1] + j * f64_places::eight_rows);
        }
        if (sixteen != 0) return;
        const std::uint32_t query = q + panel * tile::q_panel_bytes;
        double* to = a[panel % 2];
        ptx::load_pair(to, query + at.query);
        ptx::load_pair(to + 2, query + (at.query ^ 64));
        ptx::load_pair(to + 4, query + at.query + 128);
        ptx::load_pair(to + 6, query + (at.query ^ 64) + 128);
    };
    load(0);
#pragma unroll
    for (double& x : s) x = 0.0;
#pragma unroll
    for (int n = 0; n < steps; ++n) {
        if (n + 1 < steps) load(n + 1);
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            ptx::mma_f64(s + 8 * (n % steps_of_panel) + 4 * j, a[n / steps_of_panel % 2], b[n % 2][j]);
        }
    }
}

/// O += P·V; `v` is the warp's first panel of V. The sums of a panel over the tile's keys start at zero.
template <class tile>
__device__ __forceinline__ void multiply_values(double (&o)[8 * tile::panels], const double (&p)[tile::keys / 2],
                                                std::uint32_t v, const f64_places& at) {
    constexpr int steps_of_panel = tile::keys / 16;
    constexpr int steps = tile::panels * steps_of_panel;
    double a[2][8];
    double sum[8];
    const auto load = [&](int n) {
        const std::uint32_t value = v + static_cast<std::uint32_t>(n / steps_of_panel) * tile::panel_bytes +
                                    static_cast<std::uint32_t>(n % steps_of_panel) * 2 * f64_places::eight_rows;
#pragma unroll
        for (std::uint32_t i = 0; i < 4; ++i) {
            ptx::load_pair(a[n % 2] + 2 * i, value + at.value[i % 2] + i / 2 * f64_places::eight_rows);
        }
    };
    const auto join = [&](int panel, int first) {
#pragma unroll
        for (int i = first; i < first + 4; ++i) ptx::add_f64(o[8 * panel + i], sum[i]);
    };
    load(0);
#pragma unroll
    for (int n = 0; n < steps; ++n) {
        const int panel = n / steps_of_panel;
        const int sixteen = n % steps_of_panel;
        if (n + 1 < steps) load(n + 1);
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            if (sixteen == 0) {
                if (panel > 0) join(panel - 1, 4 * r);
#pragma unroll
                for (int i = 0; i < 4; ++i) sum[4 * r + i] = 0.0;
            }
            ptx::mma_f64(sum + 4 * r, a[n % 2], p + 8 * sixteen + 4 * r);
        }
    }
    join(tile::panels - 1, 0);
    join(tile::panels - 1, 4);
}

} // namespace pantile::inline v0::cuda
