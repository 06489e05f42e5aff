#pragma once

#include "../arguments.hpp"
#include "softmax.cuh"

#include <pantile/core/score.hpp>

// The end of a row: what the loop over its keys left behind becomes {max, sum}, and a factor for O. One place for the sink, for the
// binades that fp16's P stands above its reference, for rows without an answer, and for where statistics go.

namespace pantile::inline v0::cuda {

/// `n` rows of batch b. state[i].sum covers all keys; state[i].max stands `raised` binades below the maximum (softmax.cuh). They
/// become the rows' {max, sum}, sinks included, and factor[i] what O is multiplied by: normalised then, or, for a partial
/// result, against state[i].max. `head(i)` is the row's; whether it sees a key, sees_key(i), is looked up only where that matters.
/// Branches come once for all rows: their divisions then run side by side.
template <int raised, class V, int n, class Head, class Sees>
__device__ __forceinline__ void finish_rows(const forward_arguments& a, index_t b, row_state<V> (&state)[n],
                                            V (&factor)[n], const Head& head, const Sees& sees_key) {
#pragma unroll
    for (int i = 0; i < n; ++i) {
        factor[i] = V(1);
        if constexpr (raised != 0) {
            factor[i] = static_cast<V>(1.0 / (1 << raised));
            state[i].max += static_cast<V>(raised);
            state[i].sum *= factor[i];
        }
    }
    if (__builtin_expect(static_cast<long>(a.shape.features.sinks.given()), 0)) {
#pragma unroll
        for (int i = 0; i < n; ++i) {
            const row_state<V> sink = core::start_row<V>(a.shape.features, true, b, head(i));
            if (sink.max == row_ops<V>::lowest()) continue; // there is none
            V of_row = V(1);
            V of_sink = V(0);
            state[i] = row_softmax<V>::merge(state[i], sink, of_row, of_sink);
            factor[i] *= of_row;
        }
    }
    bool lowest = false;
#pragma unroll
    for (int i = 0; i < n; ++i) lowest = lowest || state[i].max == row_ops<V>::lowest();
    if (lowest) {
#pragma unroll
        for (int i = 0; i < n; ++i) {
            if (state[i].max == row_ops<V>::lowest()) state[i] = core::mark_overflow(state[i], sees_key(i));
        }
    }
    if (a.kind == out_kind::partial) return;
#pragma unroll
    for (int i = 0; i < n; ++i) factor[i] *= core::finish_factor(state[i]);
}

/// The row's log-sum-exp, where it is wanted. By one thread.
template <class V>
__device__ __forceinline__ void store_lse(const forward_arguments& a, index_t b, index_t h, index_t i,
                                          const row_state<V>& state) {
    if (a.lse != nullptr) static_cast<V*>(a.lse)[a.lse_layout.place(b, h, i)] = core::finish_lse(state);
}
/// The same, or the row's {max, sum} as part `split` of a partial result.
template <class V>
__device__ __forceinline__ void store_statistics(const forward_arguments& a, index_t b, index_t h, index_t i,
                                                 index_t split, const row_state<V>& state) {
    if (a.kind != out_kind::partial) return store_lse(a, b, h, i, state);
    const index_t part = split * a.split_stride_rows;
    static_cast<V*>(a.max)[part + a.max_layout.place(b, h, i)] = state.max;
    static_cast<V*>(a.lse)[part + a.lse_layout.place(b, h, i)] = state.sum;
}

} // namespace pantile::inline v0::cuda
