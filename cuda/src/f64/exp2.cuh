#pragma once

#include "../tile/exp2.cuh"

#include <bit>
#include <cmath>
#include <cstdint>

// 2^(scale·score - reference) for many scores of one row, by a table. Plain C++, so that a host proves it.

namespace pantile::inline v0::cuda {

/// Entries of the table of 2^(i/256).
inline constexpr int f64_steps = 256;
/// Adding it leaves the nearest multiple of 1/256 in the low bits. A reference is a multiple of 1/256 itself, below
/// f64_largest_reference, so that f64_round - reference is exact.
inline constexpr double f64_round = 0x1.8p44;
inline constexpr double f64_largest_reference = 0x1p40;
/// Exponents below this are taken for minus infinity.
inline constexpr double f64_least_exponent = -1020.0;

/// 2^(i/256), lowered so that adding i·2^-8 to its exponent, as if i counted whole steps, gives it back.
PANTILE_FN double f64_table_entry(int i) {
    const auto bits = std::bit_cast<std::uint64_t>(exp2_f64(static_cast<double>(i) / f64_steps));
    return std::bit_cast<double>(bits - (static_cast<std::uint64_t>(i) << 44));
}

PANTILE_FN std::uint32_t lower_half(double x) {
#if defined(__CUDA_ARCH__)
    return static_cast<std::uint32_t>(__double2loint(x));
#else
    return static_cast<std::uint32_t>(std::bit_cast<std::uint64_t>(x));
#endif
}

/// x with `more` added to the upper half of its bits.
PANTILE_FN double with_upper_half_raised(double x, std::uint32_t more) {
#if defined(__CUDA_ARCH__) // an addition of 64 bits would be two instructions
    return __hiloint2double(__double2hiint(x) + static_cast<int>(more), __double2loint(x));
#else
    return std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) + (static_cast<std::uint64_t>(more) << 32));
#endif
}

/// 2^(score·scale - reference) within 1.5 ulp in 8 operations, with base = f64_round - reference and `table(n)` entry n mod 256. The
/// exponent is n/256 + f: the entry with n added to its exponent, times 2^f = 1 + f·q(f), q of degree 3 (Chebyshev,
/// relative error 2^-57.5 on [-1/512, 1/512]). For exponents from f64_least_exponent to 1000, and NaN for NaN; anything
/// beyond.
template <class Table>
PANTILE_FN double f64_exp2(double score, double scale, double base, const Table& table) {
    const double shifted = std::fma(score, scale, base);
    const std::uint32_t n = lower_half(shifted);
    const double f = std::fma(score, scale, base - shifted);
    double q = 0x1.3b2ab83eadfb0p-7;
    q = std::fma(q, f, 0x1.c6b0902b5a0abp-5);
    q = std::fma(q, f, 0x1.ebfbdff82c585p-3);
    q = std::fma(q, f, 0x1.62e42fefa39d9p-1);
    const double power = with_upper_half_raised(table(n), n << 12);
    return std::fma(power * f, q, power);
}

} // namespace pantile::inline v0::cuda
