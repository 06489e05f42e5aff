/// \file
/// Lengths, one a batch, as a call's options name them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include <pantile/core/tensor_ref.hpp>

// Said where a call is compiled.
#define PANTILE_SAYS_LENGTHS "pantile: lengths are numbers of type std::int64_t or std::int32_t, one a batch"

namespace pantile::inline v0 {

namespace detail {

/// Numbers in one piece of memory: std::vector, std::array, std::span, an Eigen vector.
template <class R>
concept has_data_and_size = requires(R&& r) {
    r.data();
    r.size();
};
/// All that a view of numbers is made of, where it is made of one thing.
template <class R>
concept refers_to_numbers = has_data_and_size<R> || std::is_array_v<std::remove_reference_t<R>> ||
    std::is_pointer_v<std::remove_cvref_t<R>> || std::is_null_pointer_v<std::remove_cvref_t<R>>;

} // namespace detail

/// Whole numbers, one a batch, in the caller's memory: 64 or 32 bits each (std::int64_t, std::int32_t). From anything that lies in
/// one piece of host memory (std::vector, std::array, std::span, an Eigen vector with data() and size()), or from device memory by
/// on_device(span), or by a bare pointer: one number a batch on the device.
class lengths_view {
  public:
    constexpr lengths_view() = default;
    template <class R>
        requires detail::has_data_and_size<const R&>
    constexpr lengths_view(const R& numbers) { // NOLINT(google-explicit-constructor)
        static_assert(accepts<decltype(numbers.data())>, PANTILE_SAYS_LENGTHS);
        refer(numbers.data(), static_cast<index_t>(numbers.size()), memory::host);
    }
    template <class T, std::size_t n>
    constexpr lengths_view(const T (&numbers)[n]) { // NOLINT(google-explicit-constructor)
        static_assert(accepts<const T*>, PANTILE_SAYS_LENGTHS);
        refer(numbers, static_cast<index_t>(n), memory::host);
    }
    template <class T>
    constexpr lengths_view(T* numbers, std::size_t count, memory place = memory::host) {
        static_assert(accepts<T*>, PANTILE_SAYS_LENGTHS);
        refer(numbers, static_cast<index_t>(count), place);
    }
    /// Device memory, one number a batch; null: none.
    template <class P>
        requires std::is_pointer_v<P>
    constexpr lengths_view(const P& on_the_device) { // NOLINT(google-explicit-constructor)
        static_assert(accepts<P>, PANTILE_SAYS_LENGTHS);
        refer(on_the_device, on_the_device != nullptr ? one_a_batch : 0, memory::device);
    }
    constexpr lengths_view(std::nullptr_t) {} // NOLINT(google-explicit-constructor)
    /// What is none of these is refused by a sentence instead of a list of candidates.
    template <class Other>
        requires(!detail::refers_to_numbers<const Other&> && !std::is_base_of_v<lengths_view, Other>)
    lengths_view(const Other&) { // NOLINT(google-explicit-constructor)
        static_assert(sizeof(Other) == 0, PANTILE_SAYS_LENGTHS);
    }

    static constexpr index_t one_a_batch = -1;
    /// How many; one_a_batch where only that is known.
    [[nodiscard]] constexpr index_t size() const { return size_; }
    [[nodiscard]] constexpr bool empty() const { return size_ == 0; }
    [[nodiscard]] constexpr memory where() const { return where_; }
    [[nodiscard]] constexpr const core::lengths_ref& ref() const { return ref_; }
    /// Of host memory; no check.
    [[nodiscard]] constexpr index_t operator[](index_t b) const { return ref_[b]; }

  private:
    template <class P>
    using number = std::remove_const_t<std::remove_pointer_t<P>>;
    template <class P>
    static constexpr bool accepts = std::is_same_v<number<P>, index_t> || std::is_same_v<number<P>, std::int32_t>;

    template <class P>
    constexpr void refer(P numbers, index_t count, memory place) {
        if constexpr (std::is_same_v<number<P>, index_t>) ref_.wide = numbers;
        if constexpr (std::is_same_v<number<P>, std::int32_t>) ref_.narrow = numbers;
        size_ = count;
        where_ = place;
    }

    core::lengths_ref ref_{};
    index_t size_ = 0;
    memory where_ = memory::host;
};

/// Says of numbers that they lie in the device's memory.
template <class T, std::size_t n>
    requires std::is_integral_v<std::remove_const_t<T>> // floating-point ones are slopes and sinks
[[nodiscard]] constexpr lengths_view on_device(std::span<T, n> numbers) {
    return {numbers.data(), numbers.size(), memory::device};
}

} // namespace pantile::inline v0
