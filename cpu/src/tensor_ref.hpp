/// \file
/// Tensors as the kernels receive them: plain data, the element type known at run time.
#pragma once

#include <pantile/core/macros.hpp>
#include <pantile/float16.hpp>

#include "micro/inline.hpp"

namespace pantile::cpu {

enum class element : unsigned char { f32, f64, f16, bf16 };

/// f(pointer of the element's type); only the types that compute in T.
template <class T, class F>
PANTILE_INLINE inline void with_elements(void* data, element type, F&& f) {
    if constexpr (sizeof(T) == 8) {
        f(static_cast<double*>(data));
    } else {
        switch (type) {
        case element::f16:
            return f(static_cast<float16*>(data));
        case element::bf16:
            return f(static_cast<bfloat16*>(data));
        default:
            return f(static_cast<float*>(data));
        }
    }
}

/// Rows a page or more apart, as with many heads side by side: each lies in a page, and often in a cache set, of its own.
/// Products that walk down such rows more than once take a copy of them.
PANTILE_FN bool rows_far_apart(index_t row_stride, index_t number_bytes) {
    constexpr index_t page = 4096;
    return row_stride * number_bytes >= page || row_stride * number_bytes <= -page;
}

/// A (batch, heads, length, dim) tensor of any element type; strides in elements.
struct tensor_ref {
    void* data = nullptr;
    element type = element::f32;
    index_t stride[4] = {0, 0, 0, 0};
};

/// One number a query row, in compute precision; data may be null: not wanted.
struct row_ref {
    void* data = nullptr;
    index_t stride[3] = {0, 0, 0};
};

} // namespace pantile::cpu
