#pragma once

#include "../tile/softmax.cuh"

namespace pantile::inline v0::cuda {

/// Minus infinity for the scores of row r's columns before begin[r], or from end[r] on, counted from this thread's first
/// column.
template <int n>
__device__ __forceinline__ void hide_before(float (&s)[n], const int (&begin)[2]) {
#pragma unroll
    for (int i = 0; i < n; ++i) {
        if (i / 4 * 8 + i % 2 < begin[i / 2 % 2]) s[i] = row_ops<float>::lowest();
    }
}
template <int n>
__device__ __forceinline__ void hide_from(float (&s)[n], const int (&end)[2]) {
#pragma unroll
    for (int i = 0; i < n; ++i) {
        if (i / 4 * 8 + i % 2 >= end[i / 2 % 2]) s[i] = row_ops<float>::lowest();
    }
}

/// The two rows' state after a score tile, and what the tile leaves behind: s becomes 2^(logit - reference), factor what the
/// rows' earlier O must be multiplied by. Like fold, but a maximum that a tile raises by no more than `slack` (in base 2)
/// is left as it was: any reference near the maximum serves, probabilities up to 2^slack are as exact, and most tiles then
/// need no new factor. `slack` 0 keeps the exact maximum. Instructions a score: one maximum, one multiply-add, one
/// exponential, one sum.
template <int n>
__device__ __forceinline__ void fold_lazily(float (&s)[n], row_state<float> (&state)[2], float (&factor)[2],
                                            float scale, float slack) {
    using ops = row_ops<float>;
    // Two chains a row: of each pair of columns the left ones and the right ones.
    float top[4] = {s[0], s[1], s[2], s[3]};
#pragma unroll
    for (int i = 4; i < n; ++i) top[i % 4] = ops::max(top[i % 4], s[i]);
    float reference[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        float raised = ops::max(top[2 * r], top[2 * r + 1]);
        raised = ops::max(raised, __shfl_xor_sync(0xffffffffU, raised, 1));
        raised = ops::max(raised, __shfl_xor_sync(0xffffffffU, raised, 2)) * scale;
        factor[r] = 1.0F;
        if (raised > state[r].max + slack) factor[r] = row_softmax<float>::raise(state[r], raised);
        reference[r] = row_softmax<float>::reference(state[r]);
    }
    float sum[4] = {0.0F, 0.0F, 0.0F, 0.0F};
#pragma unroll
    for (int i = 0; i < n; ++i) {
        s[i] = ops::exp2(fmaf(s[i], scale, -reference[i / 2 % 2]));
        sum[i % 4] += s[i];
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) state[r].sum = fmaf(state[r].sum, factor[r], sum[2 * r] + sum[2 * r + 1]);
}

} // namespace pantile::inline v0::cuda
