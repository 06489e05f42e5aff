#pragma once

#include "../ptx/address.cuh"
#include "../ptx/convert.cuh"
#include "exp2.cuh"

#include <pantile/core/band.hpp>
#include <pantile/core/online_softmax.hpp>
#include <pantile/core/scale.hpp>

// The online softmax of a score tile in accumulator registers. A thread holds two rows of every 8-column block: elements
// 4j, 4j + 1 of row g = lane / 4, and 4j + 2, 4j + 3 of row g + 8, at columns 8j + 2 (lane % 4) and the next.

namespace pantile::inline v0::cuda {

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

/// logit · log2(e) = sign · scale · score, of kernels that leave Q as it is: `scale` > 0, so that the maximum of scores is that
/// of logits. A sign of 0 makes all scores 0.
struct score_scale {
    float scale;
    float sign;
    static PANTILE_FN score_scale of(const core::scale_split& s) {
        return {static_cast<float>(s.exponent), static_cast<float>(s.query)};
    }
};

/// Multiplies a lane's part of `bytes` of shared memory by `factor`: the warp's (threads 32), or the block's.
template <int bytes, int threads, class V>
__device__ __forceinline__ void multiply_shared(char* at, V factor) {
    struct alignas(16) chunk {
        V x[16 / sizeof(V)];
    };
    static_assert(bytes % (16 * threads) == 0);
    auto* mine = reinterpret_cast<chunk*>(at) + static_cast<int>(threadIdx.x) % threads;
#pragma unroll 4
    for (int i = 0; i < bytes / 16; i += threads) {
        chunk c = mine[i];
#pragma unroll
        for (V& x : c.x) x *= factor;
        mine[i] = c;
    }
}

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

/// A reference is a product of `scale` and a score that was rounded to 24 bits; the exact one may exceed it by half a unit of
/// its last place, and from 2^31 on 2^(that) is not finite. So from here on, a rare path, products are rounded before the
/// subtraction.
inline constexpr float large_reference = 0x1p20F;

/// The two rows' state after a score tile, and what the tile leaves behind: s becomes 2^(logit - max), factor what the
/// rows' earlier O must be multiplied by. The sums cover this thread's columns only; reduce_rows joins them at the end.
template <int n>
__device__ __forceinline__ void fold(float (&s)[n], row_state<float> (&state)[2], float (&factor)[2], float scale) {
    using ops = row_ops<float>;
    float top[2] = {ops::lowest(), ops::lowest()};
#pragma unroll
    for (int i = 0; i < n; ++i) top[i / 2 % 2] = ops::max(top[i / 2 % 2], s[i]);
    float reference[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        top[r] = ops::max(top[r], __shfl_xor_sync(0xffffffffU, top[r], 1));
        top[r] = ops::max(top[r], __shfl_xor_sync(0xffffffffU, top[r], 2));
        factor[r] = row_softmax<float>::raise(state[r], top[r] * scale);
        reference[r] = row_softmax<float>::reference(state[r]);
    }
    float sum[2] = {0.0F, 0.0F};
    const bool large[2] = {fabsf(reference[0]) >= large_reference, fabsf(reference[1]) >= large_reference};
    if (__builtin_expect(static_cast<long>(__any_sync(0xffffffffU, large[0] || large[1])), 0)) {
#pragma unroll
        for (int i = 0; i < n; ++i) {
            const int r = i / 2 % 2;
            const float rounded = __fmul_rn(s[i], scale) - reference[r];
            s[i] = ops::exp2(large[r] ? rounded : fma(s[i], scale, -reference[r]));
            sum[r] += s[i];
        }
    } else {
#pragma unroll
        for (int i = 0; i < n; ++i) {
            s[i] = ops::exp2(fma(s[i], scale, -reference[i / 2 % 2]));
            sum[i / 2 % 2] += s[i];
        }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) state[r].sum = fma(state[r].sum, factor[r], sum[r]);
}

/// core::mark_overflow at the end of a row. Whether it sees a key, sees_keys(), is looked up only where that matters.
template <class V, class Sees>
__device__ __forceinline__ void end_row(row_state<V>& state, const Sees& sees_keys) {
    if (state.max == row_ops<V>::lowest()) state = core::mark_overflow(state, sees_keys());
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

} // namespace pantile::inline v0::cuda
