#pragma once

#include "../arguments.hpp"
#include "../ptx/convert.cuh"
#include "../tile/finish.cuh"

// Parts of a row over disjoint keys: merged, and stored.

namespace pantile::inline v0::cuda {

/// Four neighbouring columns of one row of O, not normalised, with the row's softmax.
struct row_piece {
    row_state<float> state = row_softmax<float>::start();
    float o[4] = {};

    /// Folds in parts 0 to count - 1, in this order: state_of(n) and columns_of(n), `depth` of them under way at a time,
    /// which share a reference, so that their factors do not wait for each other.
    template <int depth, class States, class Columns>
    __device__ __forceinline__ void add(int count, const States& state_of, const Columns& columns_of) {
        for (int first = 0; first < count; first += depth) {
            row_state<float> part[depth];
            float4 x[depth];
#pragma unroll
            for (int i = 0; i < depth; ++i) {
                const bool exists = first + i < count;
                part[i] = exists ? state_of(first + i) : row_softmax<float>::start();
                x[i] = exists ? columns_of(first + i) : make_float4(0.0F, 0.0F, 0.0F, 0.0F);
            }
            float top = part[0].max;
#pragma unroll
            for (int i = 1; i < depth; ++i) top = row_ops<float>::max(top, part[i].max);
            const float kept = row_softmax<float>::raise(state, top);
            const float reference = row_softmax<float>::reference(state);
            state.sum *= kept;
#pragma unroll
            for (float& c : o) c *= kept;
#pragma unroll
            for (int i = 0; i < depth; ++i) {
                const float factor = row_ops<float>::exp2(part[i].max - reference);
                state.sum = fmaf(part[i].sum, factor, state.sum);
                o[0] = fmaf(x[i].x, factor, o[0]);
                o[1] = fmaf(x[i].y, factor, o[1]);
                o[2] = fmaf(x[i].z, factor, o[2]);
                o[3] = fmaf(x[i].w, factor, o[3]);
            }
        }
    }

    /// Stores the columns from `column` on as the call wants them, and with the first ones the row's statistics.
    template <class T>
    __device__ __forceinline__ void store(const forward_arguments& a, index_t b, index_t h, index_t i, int column,
                                          const row_state<float>& finished, float factor) const {
        const index_t place = a.out_layout.place(b, h, i) + column;
        if (column < static_cast<int>(a.shape.value_dim)) {
            if (a.kind == out_kind::same) {
                T* out = static_cast<T*>(a.out) + place;
                const uint2 bits = {ptx::pack<T>(o[0] * factor, o[1] * factor),
                                    ptx::pack<T>(o[2] * factor, o[3] * factor)};
                if (a.out_vectors) {
                    *reinterpret_cast<uint2*>(out) = bits;
                } else {
                    for (int c = 0; c < 4; ++c) out[c] = static_cast<T>(o[c] * factor);
                }
            } else {
                for (int c = 0; c < 4; ++c) static_cast<float*>(a.out)[place + c] = o[c] * factor;
            }
        }
        if (column == 0) store_statistics(a, b, h, i, 0, finished);
    }
};

} // namespace pantile::inline v0::cuda
