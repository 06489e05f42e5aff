/// \file
/// Views of the caller's memory. A view's type says what the numbers are and whose memory holds them.
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

#include <pantile/core/dtype.hpp>
#include <pantile/core/macros.hpp>
#include <pantile/core/tensor_ref.hpp>
#include <pantile/float16.hpp>

namespace pantile::inline v0 {

/// The dtype of a number's type; const or not. Only of the types that calls take.
template <class T>
inline constexpr dtype dtype_of = dtype_of<std::remove_const_t<T>>;
template <>
inline constexpr dtype dtype_of<float> = dtype::fp32;
template <>
inline constexpr dtype dtype_of<double> = dtype::fp64;
template <>
inline constexpr dtype dtype_of<float16> = dtype::fp16;
template <>
inline constexpr dtype dtype_of<bfloat16> = dtype::bf16;

/// The types of number that a call takes.
template <class T>
concept number =
    std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>;

/// A view of a tensor: of rank 4, (batch, heads, length, dim); of rank 3, (batch, heads, length), one number a row: the
/// log-sum-exp, and the statistics of partial results. Strides are in elements and may be anything for inputs in host memory:
/// 0 broadcasts, negative reverses, and the last one need not be 1. In device memory the last one of rank 4 must be 1, and float16
/// and bfloat16 have the bits of __half and __nv_bfloat16. Outputs must not overlap themselves.
template <class T, int rank, memory where>
struct basic_view {
    T* data = nullptr;
    std::array<index_t, rank> extent{};
    std::array<index_t, rank> stride{};

    [[nodiscard]] constexpr index_t batch() const { return extent[0]; }
    [[nodiscard]] constexpr index_t heads() const { return extent[1]; }
    [[nodiscard]] constexpr index_t length() const { return extent[2]; }
    [[nodiscard]] constexpr index_t dim() const requires(rank == 4) { return extent[3]; }
    [[nodiscard]] constexpr bool empty() const {
        for (const index_t n : extent) {
            if (n == 0) return true;
        }
        return false;
    }
    /// Element (b, h, i, x); no check.
    [[nodiscard]] constexpr T& operator()(index_t b, index_t h, index_t i, index_t x) const
        requires(rank == 4 && where == memory::host) {
        return data[b * stride[0] + h * stride[1] + i * stride[2] + x * stride[3]];
    }
    /// Element (b, h, i); no check.
    [[nodiscard]] constexpr T& operator()(index_t b, index_t h, index_t i) const
        requires(rank == 3 && where == memory::host) {
        return data[b * stride[0] + h * stride[1] + i * stride[2]];
    }
    /// A view of T is a view of const T.
    template <class U>
        requires(std::is_same_v<U, const T> && !std::is_const_v<T>)
    constexpr operator basic_view<U, rank, where>() const { // NOLINT(google-explicit-constructor)
        return {data, extent, stride};
    }
    /// The same with a type that is known at run time.
    constexpr operator tensor_ref() const // NOLINT(google-explicit-constructor)
        requires number<std::remove_const_t<T>> {
        tensor_ref r;
        // An input's numbers are only read.
        r.data = const_cast<std::remove_const_t<T>*>(data); // NOLINT(cppcoreguidelines-pro-type-const-cast)
        r.type = dtype_of<T>;
        r.where = where;
        r.rank = rank;
        for (int i = 0; i < rank; ++i) {
            r.extent[i] = extent[static_cast<std::size_t>(i)];
            r.stride[i] = stride[static_cast<std::size_t>(i)];
        }
        return r;
    }
};

/// In host memory.
template <class T>
using tensor_view = basic_view<T, 4, memory::host>;
template <class T>
using row_view = basic_view<T, 3, memory::host>;
/// In the memory of a CUDA device.
template <class T>
using device_view = basic_view<T, 4, memory::device>;
template <class T>
using device_row_view = basic_view<T, 3, memory::device>;

/// Memory laid out as [batch][length][heads][dim], dense: what a projection X·W gives.
template <class T>
[[nodiscard]] constexpr tensor_view<T> bshd(T* data, index_t batch, index_t length, index_t heads, index_t dim) {
    return {data, {batch, heads, length, dim}, {length * heads * dim, dim, heads * dim, 1}};
}

/// Memory laid out as [batch][heads][length][dim], dense.
template <class T>
[[nodiscard]] constexpr tensor_view<T> bhsd(T* data, index_t batch, index_t heads, index_t length, index_t dim) {
    return {data, {batch, heads, length, dim}, {heads * length * dim, length * dim, dim, 1}};
}

/// Any layout: extents and strides (in elements) in the order batch, heads, length, dim.
template <class T>
[[nodiscard]] constexpr tensor_view<T> strided(T* data, std::array<index_t, 4> extent, std::array<index_t, 4> stride) {
    return {data, extent, stride};
}

/// One number a row, laid out as [batch][heads][length], dense.
template <class T>
[[nodiscard]] constexpr row_view<T> bhs(T* data, index_t batch, index_t heads, index_t length) {
    return {data, {batch, heads, length}, {heads * length, length, 1}};
}

/// Says of a layout that its memory is the device's: on_device(bshd(pointer, batch, length, heads, dim)).
template <class T, int rank>
[[nodiscard]] constexpr basic_view<T, rank, memory::device> on_device(const basic_view<T, rank, memory::host>& v) {
    return {v.data, v.extent, v.stride};
}

/// Attention over some of the keys, not yet normalised. In base 2, with y = logit · log2(e):
///     max = max y,   sum = Σ 2^(y - max),   out = Σ 2^(y - max) · v          (max = -inf, sum = 0, out = 0: no key seen;
///     max = -inf, sum > 0, out = 0: keys were seen, but all their logits are below the type's range: finish gives NaN)
/// Parts over disjoint keys merge exactly, in any grouping: splits of long keys, ring attention, a shared prefix. The same
/// numbers mean the same on the host and on a device.
/// Kept in base 2 because that is what the kernels hold: a change of base would cost abs(max)·2^-24.
template <class T, memory where>
struct basic_partial_view {
    basic_view<T, 4, where> out; ///< (B, Hq, Sq, E); on a device with its last dim contiguous
    basic_view<T, 3, where> max; ///< (B, Hq, Sq)
    basic_view<T, 3, where> sum; ///< (B, Hq, Sq)

    /// A view of T is a view of const T.
    template <class U>
        requires(std::is_same_v<U, const T> && !std::is_const_v<T>)
    constexpr operator basic_partial_view<U, where>() const { // NOLINT(google-explicit-constructor)
        return {out, max, sum};
    }
};
template <class T>
using partial_view = basic_partial_view<T, memory::host>;
template <class T>
using device_partial_view = basic_partial_view<T, memory::device>;

} // namespace pantile::inline v0
