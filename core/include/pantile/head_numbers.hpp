/// \file
/// Numbers, one a query head, as a call's options and gradients name them.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include <pantile/core/features.hpp>
#include <pantile/core/tensor_ref.hpp>
#include <pantile/lengths.hpp>

// Said where a call is compiled.
#define PANTILE_SAYS_HEAD_NUMBERS                                                                                      \
    "pantile: slopes and sinks are numbers of type float or double, one a query head (slopes also one a batch and "    \
    "query head)"
#define PANTILE_SAYS_HEAD_GRADIENTS                                                                                    \
    "pantile: dslopes and dsinks are numbers of type float or double, not const, one a query head"

namespace pantile::inline v0 {

namespace detail {

template <class T>
inline constexpr bool is_head_number = std::is_same_v<T, float> || std::is_same_v<T, double>;

} // namespace detail

/// Numbers of fp32 or fp64 in the caller's memory, one a query head; slopes also (batch, query head). From anything that lies in
/// one piece of host memory (std::vector, std::array, std::span, an Eigen vector with data() and size()), or from device memory by
/// on_device(span), or by a bare pointer: one number a query head on the device.
class head_numbers {
  public:
    constexpr head_numbers() = default;
    template <class R>
        requires detail::has_data_and_size<const R&>
    constexpr head_numbers(const R& numbers) { // NOLINT(google-explicit-constructor)
        static_assert(accepts<decltype(numbers.data())>, PANTILE_SAYS_HEAD_NUMBERS);
        refer(numbers.data(), static_cast<index_t>(numbers.size()), memory::host);
    }
    template <class T, std::size_t n>
    constexpr head_numbers(const T (&numbers)[n]) { // NOLINT(google-explicit-constructor)
        static_assert(accepts<const T*>, PANTILE_SAYS_HEAD_NUMBERS);
        refer(numbers, static_cast<index_t>(n), memory::host);
    }
    template <class T>
    constexpr head_numbers(T* numbers, std::size_t count, memory place = memory::host) {
        static_assert(accepts<T*>, PANTILE_SAYS_HEAD_NUMBERS);
        refer(numbers, static_cast<index_t>(count), place);
    }
    /// Device memory, one number a query head; null: none.
    template <class P>
        requires std::is_pointer_v<P>
    constexpr head_numbers(const P& on_the_device) { // NOLINT(google-explicit-constructor)
        static_assert(accepts<P>, PANTILE_SAYS_HEAD_NUMBERS);
        refer(on_the_device, on_the_device != nullptr ? one_a_head : 0, memory::device);
    }
    constexpr head_numbers(std::nullptr_t) {} // NOLINT(google-explicit-constructor)
    /// What is none of these is refused by a sentence instead of a list of candidates.
    template <class Other>
        requires(!detail::refers_to_numbers<const Other&> && !std::is_base_of_v<head_numbers, Other>)
    head_numbers(const Other&) { // NOLINT(google-explicit-constructor)
        static_assert(sizeof(Other) == 0, PANTILE_SAYS_HEAD_NUMBERS);
    }

    static constexpr index_t one_a_head = -1;
    /// How many; one_a_head where only that is known.
    [[nodiscard]] constexpr index_t size() const { return size_; }
    [[nodiscard]] constexpr bool empty() const { return size_ == 0; }
    [[nodiscard]] constexpr memory where() const { return where_; }
    /// As if all batches shared them.
    [[nodiscard]] constexpr const core::head_numbers_ref& ref() const { return ref_; }

  private:
    template <class P>
    using number = std::remove_const_t<std::remove_pointer_t<P>>;
    template <class P>
    static constexpr bool accepts = detail::is_head_number<number<P>>;

    template <class P>
    constexpr void refer(P numbers, index_t count, memory place) {
        if constexpr (std::is_same_v<number<P>, float>) ref_.narrow = numbers;
        if constexpr (std::is_same_v<number<P>, double>) ref_.wide = numbers;
        size_ = count;
        where_ = place;
    }

    core::head_numbers_ref ref_{};
    index_t size_ = 0;
    memory where_ = memory::host;
};

/// Says of numbers that they lie in the device's memory.
template <class T, std::size_t n>
    requires(!std::is_integral_v<std::remove_const_t<T>>) // which are lengths
[[nodiscard]] constexpr head_numbers on_device(std::span<T, n> numbers) {
    static_assert(detail::is_head_number<std::remove_const_t<T>>, PANTILE_SAYS_HEAD_NUMBERS);
    if constexpr (detail::is_head_number<std::remove_const_t<T>>) {
        return {numbers.data(), numbers.size(), memory::device};
    }
    return {};
}

/// One number a query head that a call writes, from anything that lies in one piece of host memory, or from a pointer, a count and
/// the memory. By default: not wanted.
struct head_gradients {
    void* data = nullptr;
    dtype type = dtype::fp32; ///< fp32 or fp64
    memory where = memory::host;
    index_t count = 0;
    bool wanted = false;

    constexpr head_gradients() = default;
    // NOLINTBEGIN(google-explicit-constructor,bugprone-forwarding-reference-overload)
    template <class R>
        requires detail::has_data_and_size<R>
    constexpr head_gradients(R&& numbers) {
        static_assert(accepts<decltype(numbers.data())>, PANTILE_SAYS_HEAD_GRADIENTS);
        refer(numbers.data(), static_cast<index_t>(numbers.size()), memory::host);
    }
    template <class T, std::size_t n>
    constexpr head_gradients(T (&numbers)[n]) {
        static_assert(accepts<T*>, PANTILE_SAYS_HEAD_GRADIENTS);
        refer(&numbers[0], static_cast<index_t>(n), memory::host);
    }
    // NOLINTEND(google-explicit-constructor,bugprone-forwarding-reference-overload)
    template <class T>
    constexpr head_gradients(T* numbers, std::size_t size, memory place = memory::host) {
        static_assert(accepts<T*>, PANTILE_SAYS_HEAD_GRADIENTS);
        refer(numbers, static_cast<index_t>(size), place);
    }
    /// What is none of these is refused by a sentence instead of a list of candidates; so is a bare pointer, which says nothing of
    /// how much may be written.
    template <class Other>
        requires(!detail::has_data_and_size<const Other&> && !std::is_array_v<Other> &&
                 !std::is_base_of_v<head_gradients, Other>)
    head_gradients(const Other&) { // NOLINT(google-explicit-constructor)
        static_assert(sizeof(Other) == 0, PANTILE_SAYS_HEAD_GRADIENTS);
    }

  private:
    template <class P>
    static constexpr bool accepts = detail::is_head_number<std::remove_pointer_t<P>>; // which no const type is

    template <class T>
    constexpr void refer(T* numbers, index_t size, memory place) {
        if constexpr (accepts<T*>) {
            data = numbers;
            type = std::is_same_v<T, double> ? dtype::fp64 : dtype::fp32;
        }
        where = place;
        count = size;
        wanted = true;
    }
};

} // namespace pantile::inline v0
