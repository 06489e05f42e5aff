#pragma once

#include "../ptx/wgmma.cuh"
#include "../ptx/wgmma_tf32.cuh"
#include "queries.cuh"
#include "stream.cuh"

// The matrix products of one warpgroup's 64 rows. Each is three: the unit sums up with errors that have one sign (it rounds
// towards zero) and grow with the sum, so that small products come before large ones, and few of them go into one
// accumulator before it joins the result in fp32.

namespace pantile::inline v0::cuda {

/// to += part. Pinned, because the compiler would do all of it at the end and keep all parts till
/// then.
template <int n>
__device__ __forceinline__ void join(float (&to)[n], float (&part)[n]) {
    ptx::pin(part);
#pragma unroll
    for (int i = 0; i < n; ++i) to[i] += part[i];
    ptx::pin(to);
}

/// Adds products of Q and K over 16 columns to s: those of Q in `f`, the first of K `column` columns into a stage.
template <class tile>
struct score_products {
    float (&s)[tile::keys / 2];
    std::uint32_t stage;

    using product = ptx::wgmma_tf32<tile::keys>;
    __device__ __forceinline__ std::uint64_t part(int plane, int column, int step) const {
        column += 8 * step;
        return tf32_stream<tile>::part(stage, plane,
                                       column / tf32_panel * (tile::keys * panel_row_bytes) + column % tf32_panel * 4);
    }
    __device__ __forceinline__ void issue_small(const query_fragments& f, int column, bool starts) const {
#pragma unroll
        for (int x = 0; x < query_fragments::steps; ++x) {
            product::rs(s, f.high[x], part(1, column, x), !starts || x != 0);
            product::rs(s, f.low[x], part(0, column, x), 1);
        }
    }
    __device__ __forceinline__ void issue_large(const query_fragments& f, int column) const {
#pragma unroll
        for (int x = 0; x < query_fragments::steps; ++x) product::rs(s, f.high[x], part(0, column, x), 1);
    }
};

/// S = Q·Kᵀ. The products of each panel (32 columns) have an accumulator of their own: four steps of large products. The parts
/// of 16 columns of Q are made while the matrix unit works on those before, if there are registers for them (`fragments`).
template <class tile>
__device__ __forceinline__ void scores(float (&s)[tile::keys / 2], const tf32_queries<tile>& queries,
                                       tf32_stream<tile>& stream) {
    constexpr int panels = tile::dim / tf32_panel;
    constexpr bool prefetches = tile::fragments > 2;
    query_fragments f[tile::fragments]; // in turns: those of two products under way, and perhaps the next
    float part[tile::keys / 2];
    std::uint32_t stage = 0;
    const auto await_panel = [&](int panel) {
        ptx::wgmma_wait<0>();
        if (panel == 0) {
            ptx::pin(s);
        } else {
            join(s, part);
        }
        if (panel % 2 == 1 || panel == panels - 1) stream.release();
    };
    ptx::pin(s);
#pragma unroll
    for (int panel = 0; panel < panels; ++panel) {
        if (panel % 2 == 0) stage = stream.await();
        const int column = panel % 2 * tf32_panel; // in the stage
        query_fragments& first = f[2 * panel % tile::fragments];
        query_fragments& second = f[(2 * panel + 1) % tile::fragments];
        const score_products<tile> to{panel == 0 ? s : part, stage};
        if (prefetches) queries.split(first, 2 * panel);
        // The first panel has S itself to sum in, so that the second need not wait for it.
        const bool follows = prefetches && panel == 1;
        if (panel > 0 && !follows) await_panel(panel - 1);
        if (!prefetches) queries.split(first, 2 * panel);
        ptx::wgmma_fence();
        to.issue_small(first, column, true);
        ptx::wgmma_commit();
        if (follows) {
            ptx::wgmma_wait<1>();
            ptx::pin(s);
        }
        queries.split(second, 2 * panel + 1);
        ptx::wgmma_fence();
        to.issue_small(second, column + 16, false);
        to.issue_large(first, column);
        to.issue_large(second, column + 16);
        ptx::wgmma_commit();
    }
    await_panel(panels - 1);
}

/// O = O·factor + P·V, some columns at a time: a key tile's sums start at zero.
template <class tile>
__device__ __forceinline__ void values(float (&o)[tile::value_dim / 2], const float (&factor)[2],
                                       const float (&p)[tile::keys / 2], tf32_stream<tile>& stream) {
    constexpr int chunks = tile::value_dim / tile::chunk;
    constexpr int of_stage = tf32_stage_columns / tile::chunk;
    using product = ptx::wgmma_tf32<tile::chunk>;
    std::uint32_t high[tile::keys / 8][4];
    std::uint32_t low[tile::keys / 8][4];
#pragma unroll
    for (int x = 0; x < tile::keys / 8; ++x) {
#pragma unroll
        for (int i = 0; i < 4; ++i) { // row g + 8 (i % 2), key 8x + 2t + i / 2, column t + 4 (i / 2) of the operand
            ptx::split_tf32(p[4 * x + 2 * (i % 2) + i / 2], high[x][i], low[x][i]);
        }
    }
    float sum[tile::chunk / 2];
    std::uint32_t stage = 0;
#pragma unroll
    for (int c = 0; c < chunks; ++c) {
        if (c % of_stage == 0) stage = stream.await();
        // Columns of the stage: the last may be narrower.
        const int columns = core::min(tf32_stage_columns, tile::value_dim - c / of_stage * tf32_stage_columns);
        const auto part = [&](int plane, int x) {
            return tf32_stream<tile>::part(
                stage, plane, (x / 4 * columns + c % of_stage * tile::chunk) * panel_row_bytes + x % 4 * 32);
        };
        ptx::wgmma_fence();
#pragma unroll
        for (int x = 0; x < tile::keys / 8; ++x) {
            product::rs(sum, low[x], part(0, x), x != 0);
            product::rs(sum, high[x], part(1, x), 1);
        }
#pragma unroll
        for (int x = 0; x < tile::keys / 8; ++x) product::rs(sum, high[x], part(0, x), 1);
        ptx::wgmma_commit();
        ptx::wgmma_wait<0>();
        ptx::pin(sum);
#pragma unroll
        for (int i = 0; i < tile::chunk / 2; ++i) {
            float& x = o[c * (tile::chunk / 2) + i];
            x = fmaf(x, factor[i / 2 % 2], sum[i]);
            asm volatile("" : "+f"(x)); // as in join
        }
        if (c % of_stage == of_stage - 1 || c == chunks - 1) stream.release();
    }
}

} // namespace pantile::inline v0::cuda
