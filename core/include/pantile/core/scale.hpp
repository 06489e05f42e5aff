/// \file
/// The scale of the scores, split between q and the exponent: sums of products must not overflow before the scale has
/// made them small, and a scale that is too small for the type must not become 0 times infinity.
#pragma once

#include <bit>
#include <cstdint>

#include <pantile/core/macros.hpp>
#include <pantile/core/online_softmax.hpp>

namespace pantile::inline v0::core {

/// logit · log2(e) = exponent · Σ (query · q) · k. The factor of q is a power of two, so that it changes no digit of q
/// (unless query · q is below the smallest normal number).
struct scale_split {
    double query;    ///< sign · 2^p with p <= 0, or 0: every logit is 0
    double exponent; ///< above 0, so that the largest score is that of the largest logit
};

/// The smallest power of two that T (float or double) holds, 2^least_power.
template <class T>
inline constexpr int least_power = sizeof(T) == sizeof(double) ? -1074 : -149;

/// 2^n for -1074 <= n <= 1023.
PANTILE_FN double power_of_two(int n) {
    return n >= -1022 ? std::bit_cast<double>(static_cast<std::uint64_t>(n + 1023) << 52)
                      : std::bit_cast<double>(std::uint64_t{1} << (n + 1074));
}

/// The e with 2^e <= x < 2^(e + 1), for finite x > 0.
PANTILE_FN int exponent_of(double x) {
    auto bits = std::bit_cast<std::uint64_t>(x);
    if (bits >> 52 != 0) return static_cast<int>(bits >> 52) - 1023;
    int e = -1074;
    while ((bits >>= 1) != 0) ++e;
    return e;
}

/// Splits a finite scale. With |scale| = m · 2^e, 1 <= m < 2, the factor of q is sign · 2^p with p = min(e, 0), but at least
/// `least_query` (least_power of the type in which q is multiplied; 0 where q stays as it is and its factor, 1, -1 or 0, is
/// that of the scores). The factor of the exponent is |scale| · 2^-p · log2(e), rounded once. A factor below
/// 2^least_exponent (least_power of the type in which scores are multiplied), which no logit that is worth a digit can
/// have, and a scale of 0 give {0, log2(e)}. A scale above 1 leaves q alone: 2^p · q cannot overflow.
PANTILE_FN scale_split split_scale(double scale, int least_query, int least_exponent) {
    const double size = scale < 0.0 ? -scale : scale;
    if (size == 0.0) return {0.0, log2_e};
    const int e = exponent_of(size);
    const int p = e > 0 ? 0 : e < least_query ? least_query : e;
    const int half = -p / 2; // 2^-p itself may be too large for a double
    const double exponent = size * power_of_two(half) * power_of_two(-p - half) * log2_e;
    if (exponent < power_of_two(least_exponent)) return {0.0, log2_e};
    return {scale < 0.0 ? -power_of_two(p) : power_of_two(p), exponent};
}

/// Of a call that multiplies q and the scores in T.
template <class T>
PANTILE_FN scale_split split_scale(double scale) {
    return split_scale(scale, least_power<T>, least_power<T>);
}

} // namespace pantile::inline v0::core
