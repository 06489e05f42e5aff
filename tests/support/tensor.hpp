/// \file
/// Dense (batch, heads, length, dim) tensors that own their memory, and the same numbers in any layout.
#pragma once

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <pantile/tensor.hpp>

namespace pantile::test {

using extents = std::array<index_t, 4>;

/// Dense, C order. An axis of extent 1 broadcasts in `at`.
template <class T>
struct tensor {
    extents extent{};
    std::vector<T> data;

    tensor() = default;
    explicit tensor(extents e, T value = T(0))
        : extent(e), data(static_cast<std::size_t>(e[0] * e[1] * e[2] * e[3]), value) {}

    [[nodiscard]] index_t place(index_t b, index_t h, index_t i, index_t x) const {
        return ((b * extent[1] + h) * extent[2] + i) * extent[3] + x;
    }
    T& operator()(index_t b, index_t h, index_t i, index_t x = 0) {
        return data[static_cast<std::size_t>(place(b, h, i, x))];
    }
    const T& operator()(index_t b, index_t h, index_t i, index_t x = 0) const {
        return data[static_cast<std::size_t>(place(b, h, i, x))];
    }
    [[nodiscard]] const T& at(index_t b, index_t h, index_t i, index_t x) const {
        return (*this)(extent[0] == 1 ? 0 : b, extent[1] == 1 ? 0 : h, extent[2] == 1 ? 0 : i, extent[3] == 1 ? 0 : x);
    }
    [[nodiscard]] bool empty() const { return data.empty(); }
    [[nodiscard]] T* row(index_t b, index_t h, index_t i) { return data.data() + place(b, h, i, 0); }
    [[nodiscard]] const T* row(index_t b, index_t h, index_t i) const { return data.data() + place(b, h, i, 0); }

    template <class F>
    void for_each(F f) {
        for (index_t b = 0; b < extent[0]; ++b)
            for (index_t h = 0; h < extent[1]; ++h)
                for (index_t i = 0; i < extent[2]; ++i)
                    for (index_t x = 0; x < extent[3]; ++x) f(b, h, i, x);
    }
};

/// The same numbers in another type; each is rounded once.
template <class To, class From>
[[nodiscard]] tensor<To> converted(const tensor<From>& in) {
    tensor<To> out(in.extent);
    for (std::size_t n = 0; n < in.data.size(); ++n) {
        if constexpr (std::is_same_v<To, float16> || std::is_same_v<To, bfloat16>) {
            out.data[n] = To(static_cast<float>(in.data[n]));
        } else if constexpr (std::is_same_v<From, float16> || std::is_same_v<From, bfloat16>) {
            out.data[n] = static_cast<To>(static_cast<float>(in.data[n]));
        } else {
            out.data[n] = static_cast<To>(in.data[n]);
        }
    }
    return out;
}

/// How a tensor lies in memory.
enum class layout : unsigned char {
    bhsd,         ///< dense
    bshd,         ///< dense, tokens outside heads
    padded,       ///< gaps after every row, every head and every batch
    reversed,     ///< negative stride over the length
    strided_dim,  ///< every third number: the last stride is 3
    transposed,   ///< dim outside length: the last stride is the length
    reversed_dim, ///< last stride -1
    broadcast_batch,
    broadcast_heads,
    broadcast_length, ///< stride 0: inputs only
};
inline constexpr layout output_layouts[] = {layout::bhsd,        layout::bshd,        layout::padded,
                                            layout::reversed,    layout::strided_dim, layout::transposed,
                                            layout::reversed_dim};
inline constexpr layout input_layouts[] = {layout::bhsd,
                                           layout::bshd,
                                           layout::padded,
                                           layout::reversed,
                                           layout::strided_dim,
                                           layout::transposed,
                                           layout::reversed_dim,
                                           layout::broadcast_batch,
                                           layout::broadcast_heads,
                                           layout::broadcast_length};
[[nodiscard]] const char* name(layout l);

/// A tensor of T in a layout. The memory between its elements, and before and behind them, is poisoned, and so are the
/// elements until they are written.
template <class T>
class stored {
  public:
    stored(extents extent, layout l);
    /// Writes `values` (rounded to T). Where the layout broadcasts, those of the last index stay: read them with `values`.
    stored(const tensor<double>& from, layout l);

    [[nodiscard]] tensor_view<T> view() { return {memory_.data() + origin_, extent_, stride_}; }
    [[nodiscard]] tensor_view<const T> view() const { return {memory_.data() + origin_, extent_, stride_}; }
    [[nodiscard]] row_view<T> rows() {
        return {memory_.data() + origin_, {extent_[0], extent_[1], extent_[2]}, {stride_[0], stride_[1], stride_[2]}};
    }
    [[nodiscard]] row_view<const T> rows() const {
        return {memory_.data() + origin_, {extent_[0], extent_[1], extent_[2]}, {stride_[0], stride_[1], stride_[2]}};
    }
    /// The elements, exactly.
    [[nodiscard]] tensor<double> values() const;
    /// Bits of all the memory, gaps included.
    [[nodiscard]] const std::vector<T>& memory() const { return memory_; }
    /// Nothing but elements was written since the memory was poisoned.
    [[nodiscard]] bool gaps_are_untouched() const;

  private:
    extents extent_{};
    extents stride_{};
    index_t origin_ = 0;
    std::vector<T> memory_;
};

} // namespace pantile::test
