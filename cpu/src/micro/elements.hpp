/// \file
/// The elements of a tensor_ref, by the type that it names.
#pragma once

#include <pantile/core/dtype.hpp>
#include <pantile/core/tensor_ref.hpp>
#include <pantile/float16.hpp>

#include "inline.hpp"

namespace pantile::inline v0::cpu {

/// f(pointer of the element's type); only the types that compute in T.
template <class T, class F>
PANTILE_INLINE inline void with_elements(void* data, dtype type, F&& f) {
    if constexpr (sizeof(T) == 8) {
        f(static_cast<double*>(data));
    } else {
        switch (type) {
        case dtype::fp16:
            return f(static_cast<float16*>(data));
        case dtype::bf16:
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

} // namespace pantile::inline v0::cpu
