#include <support/tensor.hpp>

#include <cstring>

namespace pantile::test {

const char* name(layout l) {
    switch (l) {
    case layout::bhsd:
        return "bhsd";
    case layout::bshd:
        return "bshd";
    case layout::padded:
        return "padded";
    case layout::reversed:
        return "reversed";
    case layout::strided_dim:
        return "strided_dim";
    case layout::transposed:
        return "transposed";
    case layout::reversed_dim:
        return "reversed_dim";
    case layout::broadcast_batch:
        return "broadcast_batch";
    case layout::broadcast_heads:
        return "broadcast_heads";
    case layout::broadcast_length:
        return "broadcast_length";
    }
    return "?";
}

namespace {

constexpr index_t margin = 37; // elements before and behind, not a multiple of any vector

/// A signalling pattern that no computation writes: a NaN with a payload of its own.
template <class T>
T poison() {
    T p;
    if constexpr (sizeof(T) == 2) {
        p.bits = 0x7fa5;
    } else if constexpr (sizeof(T) == 4) {
        p = __builtin_bit_cast(float, 0x7fc5a5a5U);
    } else {
        p = __builtin_bit_cast(double, 0x7ff85a5a5a5a5a5aULL);
    }
    return p;
}

template <class T>
bool is_poison(const T& x) {
    const T p = poison<T>();
    return std::memcmp(static_cast<const void*>(&x), static_cast<const void*>(&p), sizeof(T)) == 0;
}

/// Dense strides with the axes in this order, outermost first.
extents dense_strides(const extents& e, std::array<std::size_t, 4> order, index_t innermost = 1) {
    extents s{};
    index_t step = innermost;
    for (std::size_t n = 4; n-- > 0;) {
        s[order[n]] = step;
        step *= std::max<index_t>(e[order[n]], 1);
    }
    return s;
}

extents strides_of(const extents& e, layout l) {
    extents s = dense_strides(e, {0, 1, 2, 3});
    switch (l) {
    case layout::bhsd:
        break;
    case layout::bshd:
        s = dense_strides(e, {0, 2, 1, 3});
        break;
    case layout::padded:
        s[2] = e[3] + 5;
        s[1] = e[2] * s[2] + 7;
        s[0] = e[1] * s[1] + 11;
        break;
    case layout::reversed:
        s[2] = -s[2];
        break;
    case layout::strided_dim:
        s = dense_strides(e, {0, 1, 2, 3}, 3);
        break;
    case layout::transposed:
        s = dense_strides(e, {0, 1, 3, 2});
        break;
    case layout::reversed_dim:
        s[3] = -1;
        break;
    case layout::broadcast_batch:
        s[0] = 0;
        break;
    case layout::broadcast_heads:
        s[1] = 0;
        break;
    case layout::broadcast_length:
        s[2] = 0;
        break;
    }
    return s;
}

} // namespace

template <class T>
stored<T>::stored(extents extent, layout l) : extent_(extent), stride_(strides_of(extent, l)) {
    index_t lowest = 0;
    index_t highest = 0;
    for (std::size_t a = 0; a < 4; ++a) {
        const index_t reach = std::max<index_t>(extent[a] - 1, 0) * stride_[a];
        (reach < 0 ? lowest : highest) += reach;
    }
    origin_ = margin - lowest;
    memory_.assign(static_cast<std::size_t>(origin_ + highest + 1 + margin), poison<T>());
}

template <class T>
stored<T>::stored(const tensor<double>& from, layout l) : stored(from.extent, l) {
    const tensor<T> rounded = converted<T>(from);
    const tensor_view<T> out = view();
    tensor<double> walk(from);
    walk.for_each([&](index_t b, index_t h, index_t i, index_t x) { out(b, h, i, x) = rounded(b, h, i, x); });
}

template <class T>
tensor<double> stored<T>::values() const {
    tensor<double> out(extent_);
    const tensor_view<const T> in = view();
    out.for_each([&](index_t b, index_t h, index_t i, index_t x) {
        if constexpr (sizeof(T) == 2) {
            out(b, h, i, x) = static_cast<double>(static_cast<float>(in(b, h, i, x)));
        } else {
            out(b, h, i, x) = static_cast<double>(in(b, h, i, x));
        }
    });
    return out;
}

template <class T>
bool stored<T>::gaps_are_untouched() const {
    std::vector<bool> element(memory_.size(), false);
    tensor<char> walk(extent_);
    walk.for_each([&](index_t b, index_t h, index_t i, index_t x) {
        element[static_cast<std::size_t>(origin_ + b * stride_[0] + h * stride_[1] + i * stride_[2] + x * stride_[3])] =
            true;
    });
    for (std::size_t n = 0; n < memory_.size(); ++n) {
        if (!element[n] && !is_poison(memory_[n])) return false;
    }
    return true;
}

template class stored<float>;
template class stored<double>;
template class stored<float16>;
template class stored<bfloat16>;

} // namespace pantile::test
