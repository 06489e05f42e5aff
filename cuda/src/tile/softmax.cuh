#pragma once

#include "../ptx/address.cuh"
#include "../ptx/convert.cuh"
#include "exp2.cuh"

#include <pantile/core/band.hpp>
#include <pantile/core/online_softmax.hpp>

// The online softmax of a score tile in accumulator registers. A thread holds two rows of every 8-column block: elements
// 4j, 4j + 1 of row g = lane / 4, and 4j + 2, 4j + 3 of row g + 8, at columns 8j + 2 (lane % 4) and the next.

namespace pantile::cuda {

/// core::online_softmax's operations on one row. On the device exp2 is the special-function unit's in fp32 and exp2_f64 in
/// fp64.
template <class V>
struct row_ops {
    using value = V;
    static PANTILE_FN V lowest() { return -static_cast<V>(HUGE_VALF); }
    static PANTILE_FN V zero() { return V(0); }
    static PANTILE_FN V max(V a, V b) {
        if constexpr (sizeof(V) == 4) return fmaxf(a, b);
        return a < b ? b : a;
    }
    static PANTILE_FN V exp2(V x) {
#if defined(__CUDA_ARCH__)
        if constexpr (sizeof(V) == 4) return ptx::exp2_fast(x);
        return exp2_f64(x);
#else
        return std::exp2(x);
#endif
    }
    static PANTILE_FN V finite_or_zero(V x) { return x == lowest() ? V(0) : x; }
};
template <class V>
using row_softmax = core::online_softmax<row_ops<V>>;
template <class V>
using row_state = core::softmax_state<V>;

/// logit · log2(e) = sign · scale · score, split so that `scale` > 0 and the maximum of scores is that of logits. A zero
/// scale makes all scores 0.
template <class V>
struct score_scale {
    V scale;
    V sign;
    static PANTILE_FN score_scale of(double scale) {
        const auto c = static_cast<V>(scale * core::log2_e);
        if (c == V(0)) return {V(1), V(0)};
        return c > V(0) ? score_scale{c, V(1)} : score_scale{-c, V(-1)};
    }
};

/// Which columns of a tile one row sees: [begin, end).
struct column_limits {
    int begin;
    int end;
    /// Row `row` of the sequence against the tile of `width` columns whose first key is `first`.
    static __device__ __forceinline__ column_limits of(const core::band& mask, index_t row, index_t first, int width) {
        return {static_cast<int>(core::clamp(mask.lo(row) - first, 0, width)),
                static_cast<int>(core::clamp(mask.hi(row) - first, 0, width))};
    }
};

/// Minus infinity for the scores that `limits` hides; limits[0] of row g, limits[1] of row g + 8.
template <class V, int n>
__device__ __forceinline__ void hide(V (&s)[n], const column_limits (&limits)[2]) {
    const int shift = 2 * static_cast<int>(threadIdx.x % 4);
    const int begin[2] = {limits[0].begin - shift, limits[1].begin - shift};
    const int end[2] = {limits[0].end - shift, limits[1].end - shift};
#pragma unroll
    for (int i = 0; i < n; ++i) {
        const int column = i / 4 * 8 + i % 2;
        const int r = i / 2 % 2;
        if (column < begin[r] || column >= end[r]) s[i] = row_ops<V>::lowest();
    }
}

/// The two rows' state after a score tile, and what the tile leaves behind: s becomes 2^(logit - max), factor what the
/// rows' earlier O must be multiplied by. The sums cover this thread's columns only; reduce_rows joins them at the end.
template <class V, int n>
__device__ __forceinline__ void fold(V (&s)[n], row_state<V> (&state)[2], V (&factor)[2], V scale) {
    using ops = row_ops<V>;
    V top[2] = {ops::lowest(), ops::lowest()};
#pragma unroll
    for (int i = 0; i < n; ++i) top[i / 2 % 2] = ops::max(top[i / 2 % 2], s[i]);
    V reference[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        top[r] = ops::max(top[r], __shfl_xor_sync(0xffffffffU, top[r], 1));
        top[r] = ops::max(top[r], __shfl_xor_sync(0xffffffffU, top[r], 2));
        factor[r] = row_softmax<V>::raise(state[r], top[r] * scale);
        reference[r] = row_softmax<V>::reference(state[r]);
    }
    V sum[2] = {V(0), V(0)};
#pragma unroll
    for (int i = 0; i < n; ++i) {
        s[i] = ops::exp2(fma(s[i], scale, -reference[i / 2 % 2]));
        sum[i / 2 % 2] += s[i];
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) state[r].sum = fma(state[r].sum, factor[r], sum[r]);
}

/// The rows' sums over the four threads that share a row.
template <class V>
__device__ __forceinline__ void reduce_rows(row_state<V> (&state)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        state[r].sum += __shfl_xor_sync(0xffffffffU, state[r].sum, 1);
        state[r].sum += __shfl_xor_sync(0xffffffffU, state[r].sum, 2);
    }
}

} // namespace pantile::cuda
