#pragma once

#include "../ptx/convert.cuh"

#include <pantile/core/band.hpp>
#include <pantile/core/online_softmax.hpp>

// The online softmax of a score tile in accumulator registers. A thread holds two rows of every 8-column block: elements
// 4j, 4j + 1 of row g = lane / 4, and 4j + 2, 4j + 3 of row g + 8, at columns 8j + 2 (lane % 4) and the next.

namespace pantile::cuda {

/// core::online_softmax's operations on one row in fp32, with the special-function unit's exp2 on the device.
struct row_ops {
    using value = float;
    static PANTILE_FN float lowest() { return -HUGE_VALF; }
    static PANTILE_FN float zero() { return 0.0F; }
    static PANTILE_FN float max(float a, float b) { return fmaxf(a, b); }
    static PANTILE_FN float exp2(float x) {
#if defined(__CUDA_ARCH__)
        return ptx::exp2_fast(x);
#else
        return std::exp2(x);
#endif
    }
    static PANTILE_FN float finite_or_zero(float x) { return x == lowest() ? 0.0F : x; }
};
using row_softmax = core::online_softmax<row_ops>;
using row_state = core::softmax_state<float>;

/// logit · log2(e) = sign · scale · score, split so that `scale` > 0 and the maximum of scores is that of logits. A zero
/// scale makes all scores 0.
struct score_scale {
    float scale;
    float sign;
    static PANTILE_FN score_scale of(double scale) {
        const auto c = static_cast<float>(scale * core::log2_e);
        if (c == 0.0F) return {1.0F, 0.0F};
        return c > 0.0F ? score_scale{c, 1.0F} : score_scale{-c, -1.0F};
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
template <int n>
__device__ __forceinline__ void hide(float (&s)[n], const column_limits (&limits)[2]) {
    const int shift = 2 * static_cast<int>(threadIdx.x % 4);
    const int begin[2] = {limits[0].begin - shift, limits[1].begin - shift};
    const int end[2] = {limits[0].end - shift, limits[1].end - shift};
#pragma unroll
    for (int i = 0; i < n; ++i) {
        const int column = i / 4 * 8 + i % 2;
        const int r = i / 2 % 2;
        if (column < begin[r] || column >= end[r]) s[i] = row_ops::lowest();
    }
}

/// The two rows' state after a score tile, and what the tile leaves behind: s becomes 2^(logit - max), factor what the
/// rows' earlier O must be multiplied by. The sums cover this thread's columns only; reduce_rows joins them at the end.
template <int n>
__device__ __forceinline__ void fold(float (&s)[n], row_state (&state)[2], float (&factor)[2], float scale) {
    float top[2] = {row_ops::lowest(), row_ops::lowest()};
#pragma unroll
    for (int i = 0; i < n; ++i) top[i / 2 % 2] = fmaxf(top[i / 2 % 2], s[i]);
    float reference[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        top[r] = fmaxf(top[r], __shfl_xor_sync(0xffffffffU, top[r], 1));
        top[r] = fmaxf(top[r], __shfl_xor_sync(0xffffffffU, top[r], 2));
        factor[r] = row_softmax::raise(state[r], top[r] * scale);
        reference[r] = row_softmax::reference(state[r]);
    }
    float sum[2] = {0.0F, 0.0F};
#pragma unroll
    for (int i = 0; i < n; ++i) {
        s[i] = ptx::exp2_fast(fmaf(s[i], scale, -reference[i / 2 % 2]));
        sum[i / 2 % 2] += s[i];
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) state[r].sum = fmaf(state[r].sum, factor[r], sum[r]);
}

/// The rows' sums over the four threads that share a row.
__device__ __forceinline__ void reduce_rows(row_state (&state)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        state[r].sum += __shfl_xor_sync(0xffffffffU, state[r].sum, 1);
        state[r].sum += __shfl_xor_sync(0xffffffffU, state[r].sum, 2);
    }
}

} // namespace pantile::cuda
