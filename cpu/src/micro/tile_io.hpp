/// \file
/// Tiles in and out of the caller's tensors: any strides, any element type. Contiguous rows and contiguous columns go
/// through whole vectors, other strides number by number.
#pragma once

#include <pantile/core/tensor_ref.hpp>

#include "elements.hpp"
#include "transpose.hpp"

namespace pantile::inline v0::cpu {

/// A matrix of one (batch, head): rows of the length, columns of the dim.
struct matrix_ref {
    void* data = nullptr;
    dtype type = dtype::fp32;
    index_t row_stride = 0;
    index_t col_stride = 0;
};

template <class T>
PANTILE_INLINE inline matrix_ref matrix_of(const tensor_ref& t, index_t batch, index_t head, index_t first_row) {
    matrix_ref m{t.data, t.type, t.stride[2], t.stride[3]};
    with_elements<T>(t.data, t.type, [&](auto* p) PANTILE_INLINE {
        m.data = p + (batch * t.stride[0] + head * t.stride[1] + first_row * t.stride[2]);
    });
    return m;
}

/// to[c][r] = from(first_row + r, c) · factor: a tile whose rows run through the lanes.
template <class V>
void load_transposed(const matrix_ref& from, index_t first_row, index_t rows, index_t cols, number_t<V> factor,
                     number_t<V>* to, index_t to_stride) {
    using T = number_t<V>;
    with_elements<T>(from.data, from.type, [&](auto* data) PANTILE_INLINE {
        const auto* p = data + first_row * from.row_stride;
        if (from.col_stride == 1) {
            transpose_copy<V>(rows, cols, p, from.row_stride, to, to_stride, scaled_by<T>{factor});
            return;
        }
        for (index_t c = 0; c < cols; ++c) {
            for (index_t r = 0; r < rows; ++r) {
                to[c * to_stride + r] = static_cast<T>(p[r * from.row_stride + c * from.col_stride]) * factor;
            }
        }
    });
}

/// to[r][c] = from(first_row + r, c): a tile in natural order, contiguous and in compute precision.
template <class V>
void load_rows(const matrix_ref& from, index_t first_row, index_t rows, index_t cols, number_t<V>* to,
               index_t to_stride) {
    using T = number_t<V>;
    with_elements<T>(from.data, from.type, [&](auto* data) PANTILE_INLINE {
        const auto* p = data + first_row * from.row_stride;
        if (from.col_stride == 1) {
            for (index_t r = 0; r < rows; ++r) {
                const auto* source = p + r * from.row_stride;
                T* target = to + r * to_stride;
                index_t c = 0;
                for (; c + lanes<V> <= cols; c += lanes<V>) load_as<V>(source + c).store_unaligned(target + c);
                for (; c < cols; ++c) target[c] = static_cast<T>(source[c]);
            }
        } else if (from.row_stride == 1) {
            transpose_copy<V>(cols, rows, p, from.col_stride, to, to_stride, unscaled{});
        } else {
            for (index_t r = 0; r < rows; ++r) {
                for (index_t c = 0; c < cols; ++c) {
                    to[r * to_stride + c] = static_cast<T>(p[r * from.row_stride + c * from.col_stride]);
                }
            }
        }
    });
}

/// to(first_row + r, c) = from[c][r] · factor[r]: the way back. `factor` and each row of `from` are readable to the end of
/// their last vector.
/// A sum of -0 becomes +0: which of the two it is depends on whether hidden pairs, computed beside it, added zeros.
template <class V>
void store_transposed(const number_t<V>* from, index_t from_stride, const number_t<V>* factor, const matrix_ref& to,
                      index_t first_row, index_t rows, index_t cols) {
    using T = number_t<V>;
    with_elements<T>(to.data, to.type, [&](auto* data) PANTILE_INLINE {
        using number = std::remove_pointer_t<decltype(data)>;
        number* p = data + first_row * to.row_stride;
        if (to.col_stride == 1) {
            transpose_copy<V>(cols, rows, from, from_stride, p, to.row_stride, scaled_by_column<T>{factor});
            return;
        }
        // The same operation on the same vectors: what rounds to 0 keeps the same sign.
        const scaled_by_column<T> scale{factor};
        for (index_t c = 0; c < cols; ++c) {
            for (index_t r0 = 0; r0 < rows; r0 += lanes<V>) {
                T numbers[V::size];
                scale(V::load_unaligned(from + c * from_stride + r0), r0).store_unaligned(numbers);
                const index_t count = core::min(rows - r0, static_cast<index_t>(lanes<V>));
                for (index_t r = 0; r < count; ++r) {
                    p[(r0 + r) * to.row_stride + c * to.col_stride] = number(numbers[r]);
                }
            }
        }
    });
}

/// One factor for all.
template <class T>
struct times {
    T factor;
    template <class X>
    PANTILE_INLINE X operator()(const X& x) const {
        return x * X(factor);
    }
};

/// factor(number or vector) of `count` rows, stored over or added to a matrix of any strides and type. By value: a reference
/// might lie where the rows are stored, and would be read again for each vector.
template <class V, class Factor>
void store_rows(const number_t<V>* from, index_t from_stride, index_t count, index_t dims, Factor factor,
                bool accumulate, const matrix_ref& to) {
    using T = number_t<V>;
    with_elements<T>(to.data, to.type, [&](auto* data) PANTILE_INLINE {
        using number = std::remove_pointer_t<decltype(data)>;
        for (index_t i = 0; i < count; ++i) {
            const T* source = from + i * from_stride;
            number* target = data + i * to.row_stride;
            index_t x = 0;
            for (; to.col_stride == 1 && x + lanes<V> <= dims; x += lanes<V>) {
                V value = factor(V::load_unaligned(source + x));
                if (accumulate) value += load_as<V>(target + x);
                store_as(value, target + x);
            }
            for (; x < dims; ++x) {
                number& at = target[x * to.col_stride];
                const T value = factor(source[x]);
                at = static_cast<number>(accumulate ? static_cast<T>(at) + value : value);
            }
        }
    });
}

} // namespace pantile::inline v0::cpu
