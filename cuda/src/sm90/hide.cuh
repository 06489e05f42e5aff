#pragma once

#include "../tile/softmax.cuh"

// Masks of a Hopper key tile: cut on one side mostly.

namespace pantile::inline v0::cuda {

/// Minus infinity for the scores of row r's columns before begin[r], or from end[r] on, counted from this thread's first
/// column.
template <int n>
__device__ __forceinline__ void hide_before(float (&s)[n], const int (&begin)[2]) {
#pragma unroll
    for (int i = 0; i < n; ++i) {
        if (fragment::key(i) < begin[fragment::row(i)]) s[i] = row_ops<float>::lowest();
    }
}
template <int n>
__device__ __forceinline__ void hide_from(float (&s)[n], const int (&end)[2]) {
#pragma unroll
    for (int i = 0; i < n; ++i) {
        if (fragment::key(i) >= end[fragment::row(i)]) s[i] = row_ops<float>::lowest();
    }
}

} // namespace pantile::inline v0::cuda
