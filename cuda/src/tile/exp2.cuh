#pragma once

#include <pantile/core/macros.hpp>

#include <bit>
#include <cmath>
#include <cstdint>

// 2^x in fp64 for exponents of a softmax, x <= 0. Plain C++, so that a host proves it.

namespace pantile::cuda {

/// 2^x within 1 ulp for -1022 <= x < 1024; 0 below (subnormal results flush), NaN for NaN. x = n + f with n the nearest
/// integer: a polynomial of degree 11 in f (Chebyshev, relative error 2^-58 on [-1/2, 1/2]), times 2^n. 16 fp64 operations.
PANTILE_FN double exp2_f64(double x) {
    constexpr double round_to_integer = 0x1.8p52; // adding it leaves the nearest integer in the low bits
    const double shifted = x + round_to_integer;
    const auto n = static_cast<std::uint64_t>(std::bit_cast<std::uint64_t>(shifted) << 32 >> 32);
    const double f = x - (shifted - round_to_integer);
    double p = 0x1.e9ec1fcb69a7fp-32;
    p = std::fma(p, f, 0x1.e6228acd1c6e5p-28);
    p = std::fma(p, f, 0x1.b524ebd13a55fp-24);
    p = std::fma(p, f, 0x1.62bfc2c86d700p-20);
    p = std::fma(p, f, 0x1.ffcbfc6da6ed1p-17);
    p = std::fma(p, f, 0x1.430913112c61bp-13);
    p = std::fma(p, f, 0x1.5d87fe78a3f9cp-10);
    p = std::fma(p, f, 0x1.3b2ab6fb9f1a5p-7);
    p = std::fma(p, f, 0x1.c6b08d704a0c6p-5);
    p = std::fma(p, f, 0x1.ebfbdff82c5aep-3);
    p = std::fma(p, f, 0x1.62e42fefa39efp-1);
    p = std::fma(p, f, 1.0);
    const double power = std::bit_cast<double>((n + 1023) << 52);
    return x < -1022.0 ? 0.0 : p * power; // a product, so that NaN stays NaN
}

/// Entries of the table of 2^(i/64).
inline constexpr int exp2_table_size = 64;
PANTILE_FN double exp2_table_entry(int i) { return exp2_f64(static_cast<double>(i) / exp2_table_size); }

/// 2^x within 2 ulp in 9 fp64 operations, with `table(i)` the entries above. x = n + i/64 + f: 2^(i/64) with n added to its
/// exponent, times 2^f = 1 + f·q(f), q of degree 4 (Chebyshev, relative error 2^-58 on [-1/128, 1/128]). 0 from -inf up to
/// -1022, NaN for NaN.
template <class Table>
PANTILE_FN double exp2_f64(double x, const Table& table) {
    constexpr double round_to_step = 0x1.8p46; // adding it leaves the nearest multiple of 1/64 in the low bits
    const double shifted = x + round_to_step;
    const auto steps = static_cast<std::uint32_t>(std::bit_cast<std::uint64_t>(shifted));
    const double f = x - (shifted - round_to_step);
    double q = 0x1.5d8812769ed72p-10;
    q = std::fma(q, f, 0x1.3b2ad0385b409p-7);
    q = std::fma(q, f, 0x1.c6b08d70496c1p-5);
    q = std::fma(q, f, 0x1.ebfbdff82ac52p-3);
    q = std::fma(q, f, 0x1.62e42fefa39efp-1);
    // Whole steps go into the exponent, bits 20 up of the upper half. Integers on halves: 64-bit ones are two instructions.
    constexpr std::uint32_t parts = exp2_table_size - 1;
    const auto entry = std::bit_cast<std::uint64_t>(table(steps & parts));
    const std::uint32_t upper = static_cast<std::uint32_t>(entry >> 32) + ((steps & ~parts) << 14);
    const auto power =
        std::bit_cast<double>(static_cast<std::uint64_t>(upper) << 32 | static_cast<std::uint32_t>(entry));
    // From -inf up to -1022, and no NaN, as a range of the upper half of x.
    const auto sign_and_size = static_cast<std::uint32_t>(std::bit_cast<std::uint64_t>(x) >> 32);
    const bool vanishes = sign_and_size - 0xc08ff001U < 0xfff00001U - 0xc08ff001U;
    const double result =
        std::fma(power, f * q, power); // before the choice: a branch would keep numbers from overlapping
    return vanishes ? 0.0 : result;
}

} // namespace pantile::cuda
