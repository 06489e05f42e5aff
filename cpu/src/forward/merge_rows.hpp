/// \file
/// Partial results of one row: merged and finished with the core's online softmax.
#pragma once

#include <pantile/core/online_softmax.hpp>

namespace pantile::inline v0::cpu {

/// part = a ∪ b. The arrays are out rows of `dim` numbers at the given element strides; `part` may be a.
template <class T>
core::softmax_state<T> merge_row(const core::softmax_state<T>& a, const T* a_out, index_t a_stride,
                                 const core::softmax_state<T>& b, const T* b_out, index_t b_stride, T* out,
                                 index_t out_stride, index_t dim) {
    T factor_a = T(0);
    T factor_b = T(0);
    const auto merged = core::online_softmax<core::scalar_ops<T>>::merge(a, b, factor_a, factor_b);
    for (index_t x = 0; x < dim; ++x) {
        out[x * out_stride] = a_out[x * a_stride] * factor_a + b_out[x * b_stride] * factor_b;
    }
    return merged;
}

} // namespace pantile::inline v0::cpu
