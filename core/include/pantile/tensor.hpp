/// \file
/// Views of the caller's memory. A view's type says where the memory lives: tensor_view is host memory.
#pragma once

#include <array>
#include <type_traits>

#include <pantile/core/band.hpp>
#include <pantile/core/macros.hpp>
#include <pantile/float16.hpp>

namespace pantile {

/// A view of a (batch, heads, length, dim) tensor in host memory. Strides are in elements and may be anything for
/// inputs: 0 broadcasts, negative reverses, and the last one need not be 1. Outputs must not overlap themselves.
template <class T>
struct tensor_view {
    T* data = nullptr;
    std::array<index_t, 4> extent{};
    std::array<index_t, 4> stride{};

    [[nodiscard]] constexpr index_t batch() const { return extent[0]; }
    [[nodiscard]] constexpr index_t heads() const { return extent[1]; }
    [[nodiscard]] constexpr index_t length() const { return extent[2]; }
    [[nodiscard]] constexpr index_t dim() const { return extent[3]; }
    [[nodiscard]] constexpr bool empty() const {
        return extent[0] == 0 || extent[1] == 0 || extent[2] == 0 || extent[3] == 0;
    }
    /// Element (b, h, i, x); no check.
    [[nodiscard]] constexpr T& operator()(index_t b, index_t h, index_t i, index_t x) const {
        return data[b * stride[0] + h * stride[1] + i * stride[2] + x * stride[3]];
    }
    /// A view of T is a view of const T.
    template <class U>
        requires(std::is_same_v<U, const T> && !std::is_const_v<T>)
    constexpr operator tensor_view<U>() const { // NOLINT(google-explicit-constructor)
        return {data, extent, stride};
    }
};

/// A view of one number a query row, (batch, heads, length): the log-sum-exp, and the statistics of partial results.
template <class T>
struct row_view {
    T* data = nullptr;
    std::array<index_t, 3> extent{};
    std::array<index_t, 3> stride{};

    [[nodiscard]] constexpr T& operator()(index_t b, index_t h, index_t i) const {
        return data[b * stride[0] + h * stride[1] + i * stride[2]];
    }
    /// A view of T is a view of const T.
    template <class U>
        requires(std::is_same_v<U, const T> && !std::is_const_v<T>)
    constexpr operator row_view<U>() const { // NOLINT(google-explicit-constructor)
        return {data, extent, stride};
    }
};

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

} // namespace pantile
