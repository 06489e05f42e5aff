#pragma once

#include <pantile/core/macros.hpp>

#include <bit>
#include <cmath>
#include <cstdint>

// 2^x in fp64 for exponents of a softmax, x <= 0. Plain C++, so that a host proves it.

namespace pantile::inline v0::cuda {

/// 2^f - 1 over f, for |f| <= 1/2: a polynomial of degree 10 (Chebyshev; f times it, plus 1, has a relative error of 2^-58).
PANTILE_FN double exp2_slope(double f) {
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
    return std::fma(p, f, 0x1.62e42fefa39efp-1);
}

/// 2^x within 1 ulp for -1022 <= x < 1024; 0 below (subnormal results flush), NaN for NaN. x = n + f with n the nearest
/// integer: a polynomial of degree 11 in f (Chebyshev, relative error 2^-58 on [-1/2, 1/2]), times 2^n. 16 fp64 operations.
PANTILE_FN double exp2_f64(double x) {
    constexpr double round_to_integer = 0x1.8p52; // adding it leaves the nearest integer in the low bits
    const double shifted = x + round_to_integer;
    const auto n = static_cast<std::uint64_t>(std::bit_cast<std::uint64_t>(shifted) << 32 >> 32);
    const double f = x - (shifted - round_to_integer);
    const double p = std::fma(exp2_slope(f), f, 1.0);
    const double power = std::bit_cast<double>((n + 1023) << 52);
    return x < -1022.0 ? 0.0 : p * power; // a product, so that NaN stays NaN
}

/// 2^x - 1 for 0 <= x < 1000, relative error 2^-52: 2^n·(2^f - 1) + (2^n - 1).
PANTILE_FN double exp2_less_one(double x) {
    constexpr double round_to_integer = 0x1.8p52;
    const double shifted = x + round_to_integer;
    const auto n = static_cast<std::uint64_t>(std::bit_cast<std::uint64_t>(shifted) << 32 >> 32);
    const double f = x - (shifted - round_to_integer);
    const double power = std::bit_cast<double>((n + 1023) << 52);
    return std::fma(exp2_slope(f) * f, power, power - 1.0);
}

} // namespace pantile::inline v0::cuda
