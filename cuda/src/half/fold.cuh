#pragma once

#include "../ptx/convert.cuh"
#include "../tile/score.cuh"
#include "share.cuh"
#include "work.cuh"

// From scores to probabilities: the mask, the rows' references, and the exponentials.

namespace pantile::inline v0::cuda {

/// Scores of key tile t become exponents, in a call with a score function.
template <class T, class tile>
__device__ __forceinline__ void apply_score_function(half_scores<tile>& s, const forward_arguments& a,
                                                     const half_work<T>& work, int t) {
    using thread = half_thread<tile>;
    const index_t first = static_cast<index_t>(t) * tile::keys + thread::first_key();
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
        const auto at = row_places<float>::of(
            a, first, [&](int r) { return work.diagonal + thread::row(m, r); }, [&](int) { return work.slope; });
        apply_score_function(s[m], a.score, at);
    }
}

/// Minus infinity for the scores of key tile t that the mask hides, or whose key does not exist.
template <class T, class tile>
__device__ __forceinline__ void hide_keys(half_scores<tile>& s, const half_work<T>& work, int t) {
    using thread = half_thread<tile>;
    const index_t first = static_cast<index_t>(t) * tile::keys;
    const auto near = [first](index_t key) { return static_cast<int>(core::clamp(key - first, -(1 << 30), 1 << 30)); };
    const int low = near(work.low);
    const int high = near(work.high);
    const int last = near(work.k_len);
    const int top = thread::first_row();
    if (low + top + tile::rows_of_warp <= 1 && min(high + top, last) >= tile::keys) return; // all visible to this warp
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
        column_limits limits[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            limits[r] = {low + thread::row(m, r) - thread::first_key(),
                         min(high + thread::row(m, r), last) - thread::first_key()};
        }
        hide(s[m], limits);
    }
}

/// The rows' maxima over one tile's scores, of all warps that share the rows.
template <class tile>
__device__ __forceinline__ void maxima_of_tile(const half_scores<tile>& s, char* tiles, row_numbers<tile>& top) {
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
        float pair[4]; // even and odd columns apart: shorter chains
#pragma unroll
        for (int i = 0; i < 4; ++i) pair[i] = s[m][i];
#pragma unroll
        for (int i = 4; i < tile::keys_of_warp / 2; ++i) pair[i % 4] = fmaxf(pair[i % 4], s[m][i]);
        top[m][0] = fmaxf(pair[0], pair[1]);
        top[m][1] = fmaxf(pair[2], pair[3]);
    }
#pragma unroll
    for (int distance = 1; distance <= 2; distance *= 2) {
#pragma unroll
        for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                top[m][r] = fmaxf(top[m][r], __shfl_xor_sync(0xffffffffU, top[m][r], distance));
            }
        }
    }
    if constexpr (tile::sharers == 2) join_maxima<tile>(tiles, top);
}

/// The rows' references with this tile's scores; O and the sums follow where they rise. The rare path: where a reference is large, all scores become exponents, and `scale` 1.
template <class T, class tile>
__device__ __forceinline__ void raise_references(half_scores<tile>& s, char* tiles, float& scale,
                                                 half_states<tile>& state, half_output<tile>& o,
                                                 row_numbers<tile>& reference) {
    row_numbers<tile> top;
    maxima_of_tile<tile>(s, tiles, top);
    bool rises = false;
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            top[m][r] = exponent_of<T>(top[m][r], scale);
            rises = rises || top[m][r] > state[m][r].max;
        }
    }
    if (__any_sync(0xffffffffU, rises)) {
#pragma unroll
        for (int m = 0; m < tile::blocks; ++m) {
            float factor[2];
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                factor[r] = row_softmax<float>::raise(state[m][r], top[m][r]);
                state[m][r].sum *= factor[r];
            }
#pragma unroll
            for (int i = 0; i < tile::columns_of_warp / 2; ++i) o[m][i] *= factor[fragment::row(i)];
        }
    }
    bool large = false;
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) reference[m][r] = row_softmax<float>::reference(state[m][r]);
        large = large || any_large(reference[m]);
    }
    if (__builtin_expect(static_cast<long>(__any_sync(0xffffffffU, large)), 0)) {
#pragma unroll
        for (int m = 0; m < tile::blocks; ++m) settle_large_references<T>(s[m], reference[m], scale);
        scale = 1.0F;
    }
}

/// Pair `pair` of 4·blocks of the j-th 16 keys: scores become probabilities, in `p` as an operand and in `sum`. Pair by pair,
/// so that products can run between.
template <class T, class tile>
__device__ __forceinline__ void exponentiate(const half_scores<tile>& s, int j, int pair,
                                             const row_numbers<tile>& reference, float scale,
                                             half_probabilities<tile>& p, row_numbers<tile>& sum) {
    const int m = pair / 4;
    const int i = pair % 4;
    const float low = ptx::exp2_fast(fmaf(s[m][8 * j + 2 * i], scale, -reference[m][i % 2]));
    const float high = ptx::exp2_fast(fmaf(s[m][8 * j + 2 * i + 1], scale, -reference[m][i % 2]));
    sum[m][i % 2] += low + high; // not one by one: the compiler would keep both numbers until the chain is free
    p[m][i] = ptx::pack<T>(low, high);
}

template <class tile>
__device__ __forceinline__ void add_sums(half_states<tile>& state, const row_numbers<tile>& sum) {
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) state[m][r].sum += sum[m][r];
    }
}

} // namespace pantile::inline v0::cuda
