/// \file
/// What the calls of the public pages accept, said where a call is compiled: one sentence, and which part of it does not hold,
/// instead of a list of candidates. The functions of the pages assert these facts themselves, so that a compiler's way from the
/// caller's line to the sentence is short (tests/must_not_compile counts the lines).
#pragma once

#include <type_traits>

#include <pantile/results.hpp>
#include <pantile/tensor.hpp>

// The sentences, written once; static_assert takes nothing but literals.
#define PANTILE_SAYS_INPUTS                                                                                            \
    "pantile: q, k and v are views of tensors (bshd, bhsd, strided), all of the same type of number "                  \
    "(float, double, float16, bfloat16), all in host memory; or all on a device (on_device), where "                   \
    "calls take a stream"
#define PANTILE_SAYS_RESULT                                                                                            \
    "pantile: what a call writes are views of tensors (bshd, bhsd, strided), not of const, of q's type "               \
    "of number (where that is float16 or bfloat16, also of float), in q's memory"
#define PANTILE_SAYS_LSE                                                                                               \
    "pantile: after out comes lse, a view of rows (bhs) of float, of double where q is, in q's memory; "               \
    "or options, {.mask = causal()}; and a stream in calls on a device alone"
#define PANTILE_SAYS_GIVEN                                                                                             \
    "pantile: out and dout are views of tensors of q's type of number, lse is a view of rows of float, "               \
    "of double where q is, all in q's memory"
#define PANTILE_SAYS_GRADIENTS                                                                                         \
    "pantile: dq, dk and dv are views of tensors, not of const, all of q's type of number (where that "                \
    "is float16 or bfloat16, also all of float), in q's memory"
#define PANTILE_SAYS_PART                                                                                              \
    "pantile: a partial result is a partial_view, on a device a device_partial_view, of float, of "                    \
    "double where q is, not of const"
#define PANTILE_SAYS_PARTS                                                                                             \
    "pantile: merge takes three partial results (partial_view), all of float or all of double; or all "                \
    "on a device (device_partial_view), where calls take a stream; the last is not of const"
#define PANTILE_SAYS_FINISH                                                                                            \
    "pantile: finish takes a partial result, a view of tensors (out) and a view of rows (lse), all of "                \
    "float or all of double; or all on a device, where calls take a stream; out and lse are not of "                   \
    "const"
#define PANTILE_SAYS_OUT                                                                                               \
    "pantile: attention writes out: attention(q, k, v, out), or by name attention(q, k, v, {.out = "                   \
    "out}); on a device a stream follows"
#define PANTILE_SAYS_PARTIAL                                                                                           \
    "pantile: attention_partial(q, k, v, part), part a partial_view; on a device a device_partial_view, "              \
    "and a stream follows"
#define PANTILE_SAYS_BACKWARD                                                                                          \
    "pantile: attention_backward(q, k, v, out, lse, dout, dq, dk, dv), or by name "                                    \
    "attention_backward(q, k, v, out, lse, {.dout = dout}, {.dq = dq, .dk = dk, .dv = dv})"

namespace pantile::inline v0::detail {

/// What a type is as an argument.
template <class V>
struct view_facts {
    static constexpr bool is_view = false, is_partial = false, writable = false;
    static constexpr int rank = 0;
    static constexpr memory where = memory::host;
    using value = void;
};
template <class T, int r, memory m>
struct view_facts<basic_view<T, r, m>> {
    static constexpr bool is_view = true, is_partial = false, writable = !std::is_const_v<T>;
    static constexpr int rank = r;
    static constexpr memory where = m;
    using value = std::remove_const_t<T>;
};
template <class T, memory m>
struct view_facts<basic_partial_view<T, m>> {
    static constexpr bool is_view = false, is_partial = true, writable = !std::is_const_v<T>;
    static constexpr int rank = 0;
    static constexpr memory where = m;
    using value = std::remove_const_t<T>;
};

/// The first of these views that a class of the caller's converts to; itself if there is none. (0.1 took views by value.)
template <class V, class... Views>
struct first_view {
    using type = V;
};
template <class V, class View, class... Views>
struct first_view<V, View, Views...>
    : std::conditional_t<std::is_convertible_v<const V&, View>, std::type_identity<View>, first_view<V, Views...>> {};
template <class V, int r, memory m>
using first_of_types =
    typename first_view<V, basic_view<float, r, m>, basic_view<double, r, m>, basic_view<float16, r, m>,
                        basic_view<bfloat16, r, m>, basic_view<const float, r, m>, basic_view<const double, r, m>,
                        basic_view<const float16, r, m>, basic_view<const bfloat16, r, m>>::type;
template <class V>
struct view_behind {
    using type = first_of_types<
        first_of_types<first_of_types<first_of_types<V, 4, memory::host>, 3, memory::host>, 4, memory::device>, 3,
        memory::device>;
};
template <class T, int r, memory m>
struct view_behind<basic_view<T, r, m>> {
    using type = basic_view<T, r, m>;
};
template <class V>
using view_of = typename view_behind<V>::type;

template <class V>
using argument_facts = view_facts<view_of<V>>;

template <class V>
inline constexpr bool is_view = argument_facts<V>::is_view;
template <class V>
inline constexpr bool is_partial = argument_facts<V>::is_partial;
/// Is it a view of device memory, or a partial result there?
template <class V>
concept on_a_device = (is_view<V> || is_partial<V>)&&argument_facts<V>::where == memory::device;
template <class... A>
concept any_on_a_device = (on_a_device<A> || ...);
template <class V>
using value_of = typename argument_facts<V>::value;

/// The type computed in: of lse, sums, partial results.
template <class T>
using computed = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class... V>
inline constexpr bool are_tensors = ((is_view<V> && argument_facts<V>::rank == 4) && ...);
template <class... V>
inline constexpr bool are_rows = ((is_view<V> && argument_facts<V>::rank == 3) && ...);
template <class... V>
inline constexpr bool are_partial = (is_partial<V> && ...);
template <class... V>
inline constexpr bool can_be_written = (argument_facts<V>::writable && ...);
template <class A, class... B>
inline constexpr bool same_type_of_number = number<value_of<A>> && (std::is_same_v<value_of<A>, value_of<B>> && ...);
/// Are all of the type that a call on Q computes in?
template <class Q, class... V>
inline constexpr bool of_computed_type = (std::is_same_v<value_of<V>, computed<value_of<Q>>> && ...);
/// May results of these types come from inputs of that one?
template <class Q, class... V>
inline constexpr bool of_results_type = ((std::is_same_v<value_of<V>, value_of<Q>> ||
                                          std::is_same_v<value_of<V>, computed<value_of<Q>>>)&&...);
template <class A, class... B>
inline constexpr bool same_memory = ((argument_facts<A>::where == argument_facts<B>::where) && ...);
template <class... V>
inline constexpr bool in_host_memory = ((argument_facts<V>::where == memory::host) && ...);
template <class... V>
inline constexpr bool on_the_device = ((argument_facts<V>::where == memory::device) && ...);

/// Are q, k and v right? If not, that is said, and nothing of the other arguments.
template <class Q, class K, class V>
inline constexpr bool inputs_fit = are_tensors<Q, K, V>&& same_type_of_number<Q, K, V>&& same_memory<Q, K, V>;

template <class... A>
concept any_partial = (is_partial<A> || ...);

template <class V>
inline constexpr bool of_numbers = number<value_of<V>>;

/// An argument as the erased call takes it; an empty one where its type has been refused already.
template <class V>
[[nodiscard]] constexpr tensor_ref in(const V& v) {
    if constexpr (is_view<V> && of_numbers<V>) return static_cast<const view_of<V>&>(v);
    return {};
}
template <class V>
[[nodiscard]] constexpr partial_ref part(const V& v) {
    if constexpr (is_partial<V> && of_numbers<V>) return static_cast<const view_of<V>&>(v);
    return {};
}
template <int rank, class V>
[[nodiscard]] constexpr result_ref<rank> out(const V& v) {
    if constexpr (is_view<V> && of_numbers<V> && argument_facts<V>::rank == rank && can_be_written<V>) {
        return static_cast<const view_of<V>&>(v);
    }
    return {};
}

} // namespace pantile::inline v0::detail
