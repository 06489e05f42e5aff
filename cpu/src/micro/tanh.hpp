/// \file
/// tanh for vectors: what a soft cap bends scores with.
///
/// The error is at most 3 units in the last place everywhere (tests/cpu measures it), also near 0 and for subnormal numbers, which
/// stay what they are; infinities give ±1, NaN stays NaN, and the sign of 0 stays.
///
/// With m = e^(-2|x|) - 1, which lies in (-1, 0], tanh|x| = -m / (2 + m): no digit is lost where m is known well. With
/// -2|x| = n·ln 2 + r, |r| <= ln 2 / 2,
///     m = 2^n·(e^r - 1) + (2^n - 1),     e^r - 1 = r + r²·P(r)
/// which near 0, where n is 0, is r + r²·P(r) itself. P interpolates in Chebyshev points. ln 2 is taken off in two parts, the first
/// of so few digits that its products with n are exact also without fused operations.
#pragma once

#include <limits>

#include "exp2.hpp"

namespace pantile::inline v0::cpu {

namespace detail {

/// (e^r - 1 - r) / r² on [-ln 2 / 2, ln 2 / 2]: leaves a relative error of 1.9e-9 in e^r - 1.
inline constexpr float expm1_f32[] = {0x1p-1F,       0x1.555556p-3F,  0x1.5554e8p-5F,
                                      0x1.1110ep-7F, 0x1.6d434ep-10F, 0x1.a12516p-13F};
/// Relative error 8.4e-19.
inline constexpr double expm1_f64[] = {0x1p-1,
                                       0x1.5555555555557p-3,
                                       0x1.5555555555556p-5,
                                       0x1.11111111100d3p-7,
                                       0x1.6c16c16c162cfp-10,
                                       0x1.a01a01abeccc3p-13,
                                       0x1.a01a01a6db488p-16,
                                       0x1.71de02225a2f3p-19,
                                       0x1.27e4db5bb725ap-22,
                                       0x1.af4e092e1705bp-26,
                                       0x1.1f7315649f2d7p-29};

/// Numbers of tanh in T.
template <class T>
struct tanh_numbers {
    static constexpr bool wide = sizeof(T) == 8;
    static constexpr T limit = wide ? T(20) : T(10); ///< from here on tanh rounds to 1
    static constexpr T ln_2_high = wide ? static_cast<T>(0x1.62e4p-1) : static_cast<T>(0x1.63p-1);
    static constexpr T ln_2_low = wide ? static_cast<T>(0x1.7f7d1cf79abcap-20) : static_cast<T>(-0x1.bd0106p-13);
    static constexpr T minus_two_log2_e = static_cast<T>(-0x1.71547652b82fep+1);
};

/// a / b for finite numbers, b in [1, 2].
template <class V>
struct quotient_of {
    static PANTILE_INLINE V apply(const V& a, const V& b) { return a / b; }
};

#if XSIMD_WITH_AVX512F
/// The divider takes 16 clocks for 16 numbers. Instead: 14 bits of 1/b, doubled once, and the quotient corrected by what it leaves.
template <class Arch>
    requires std::is_base_of_v<xsimd::avx512f, Arch>
struct quotient_of<xsimd::batch<float, Arch>> {
    using V = xsimd::batch<float, Arch>;
    static PANTILE_INLINE V apply(const V& a, const V& b) {
        V reciprocal = _mm512_rcp14_ps(b);
        reciprocal = xsimd::fma(reciprocal, xsimd::fnma(b, reciprocal, V(1.0F)), reciprocal);
        const V quotient = a * reciprocal;
        return xsimd::fma(xsimd::fnma(quotient, b, a), reciprocal, quotient);
    }
};
#endif

} // namespace detail

/// tanh x. Not named tanh: an unqualified call would find xsimd's by its argument.
template <class V>
PANTILE_INLINE inline V hyperbolic_tangent(const V& x) {
    using T = number_t<V>;
    using numbers = detail::tanh_numbers<T>;
    using integer = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
    constexpr int mantissa = std::numeric_limits<T>::digits - 1;
    constexpr T bias = static_cast<T>(std::numeric_limits<T>::max_exponent - 1);
    constexpr T magic = static_cast<T>(integer{3} << (mantissa - 1)) + bias; // as in exp2.hpp
    const V sign = x & V(T(-0.0));
    // min returns its second operand where either is NaN.
    const V size = xsimd::min(V(numbers::limit), xsimd::abs(x));
    const V rounded = xsimd::fma(size, V(numbers::minus_two_log2_e), V(magic));
    const V n = rounded - V(magic);
    const V power =
        xsimd::bitwise_cast<V>(xsimd::bitwise_cast<xsimd::batch<integer, typename V::arch_type>>(rounded) << mantissa);
    V r = xsimd::fma(n, V(-numbers::ln_2_high), size * V(T(-2)));
    r = xsimd::fma(n, V(-numbers::ln_2_low), r);
    V p(T(0));
    if constexpr (sizeof(T) == 4) {
        p = detail::polynomial<V>(detail::expm1_f32, r);
    } else {
        p = detail::polynomial<V>(detail::expm1_f64, r);
    }
    const V m = xsimd::fma(power, xsimd::fma(r * r, p, r), power - V(T(1)));
    return xsimd::abs(detail::quotient_of<V>::apply(m, V(T(2)) + m)) | sign;
}

} // namespace pantile::inline v0::cpu
