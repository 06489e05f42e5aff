/// \file
/// The vector type that every kernel is a template of, and the facts about it that decide block sizes.
///
/// V is xsimd::batch<T, Arch>: the arch tag is part of the mangled name of whatever is instantiated with it, so code for
/// one instruction set can never be linked in place of another's.
#pragma once

#include <type_traits>
#include <utility>

#include <pantile/core/macros.hpp>
#include <xsimd/xsimd.hpp>

#include "inline.hpp"

namespace pantile::inline v0::cpu {

template <class V>
using number_t = typename V::value_type;

/// Numbers in a vector.
template <class V>
inline constexpr int lanes = static_cast<int>(V::size);

/// Architectural vector registers: 32 with AVX-512, 16 before.
template <class V>
inline constexpr int registers = std::is_base_of_v<xsimd::avx512f, typename V::arch_type> ? 32 : 16;

/// The widest panel, in vectors of queries. Each value of A that is broadcast serves so many multiply-adds.
template <class V>
inline constexpr int panel_vectors = registers<V> == 32 ? 4 : 2;

/// Rows of a register block whose B side is `vectors` wide. The accumulators, one row of B and one broadcast must fit
/// the registers: 6 × 4 + 4 + 1 = 29 of 32, 6 × 2 + 2 + 1 = 15 of 16.
template <class V, int vectors>
inline constexpr int block_rows = registers<V> == 32 ? (vectors == 4 ? 6 : 8) : (vectors == 2 ? 6 : 8);

/// f(0), f(1), … f(count - 1), each argument a compile-time constant.
template <int count, class F>
PANTILE_INLINE inline void unroll(F&& f) {
    [&]<int... i>(std::integer_sequence<int, i...>) PANTILE_INLINE { (f(std::integral_constant<int, i>{}), ...); }
    (std::make_integer_sequence<int, count>{});
}

} // namespace pantile::inline v0::cpu
