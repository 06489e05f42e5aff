/// \file
/// 2^x for vectors: the customisation point of the softmax, one form an instruction set.
///
/// For x in [-126, 127] (fp64: [-1022, 1023]) the error is at most 2 units in the last place (tests/cpu measures it over
/// every float of an octave), and 2^0 = 1 exactly. Below, results that would be subnormal may be flushed to 0;
/// 2^-inf = 0 exactly; NaN stays NaN. x above the range is outside the contract without AVX-512.
///
/// x = n + f with n an integer (AVX-512 in fp64: a multiple of 1/16). 2^f is a polynomial whose constant is 1, minimax
/// (fp32 in units in the last place, fp64 in relative error), fitted by linear programming on a Chebyshev grid;
/// coefficients were rounded one after the other and the rest refitted. [0, 1/16] is interpolated in Chebyshev points.
#pragma once

#include <limits>

#include "simd.hpp"

namespace pantile::inline v0::cpu {

namespace detail {

/// c[0] + c[1]·f + …, Horner: fewest instructions; callers keep several vectors in flight to hide its latency.
template <class V, int n>
PANTILE_INLINE inline V polynomial(const number_t<V> (&c)[n], const V& f) {
    V p(c[n - 1]);
    unroll<n - 1>([&](auto i) PANTILE_INLINE { p = xsimd::fma(p, f, V(c[n - 2 - i])); });
    return p;
}

/// 2^f on [0, 1], fp32: 1.3 units in the last place before rounding, least near 1, where rounding adds most.
inline constexpr float exp2_floor_f32[] = {0x1p+0F,        0x1.62e50ep-1F, 0x1.ebcddep-3F,
                                           0x1.c9c70ap-5F, 0x1.243324p-7F, 0x1.f4776p-10F};
/// (2^f - 1) / f on [0, 1/16], fp64: leaves a relative error of 2.8e-17 in 2^f.
inline constexpr double exp2_sixteenth_f64[] = {0x1.62e42fefa39ebp-1, 0x1.ebfbdff830eb4p-3,  0x1.c6b08d62f5e7p-5,
                                                0x1.3b2ac53057331p-7, 0x1.5d7a510a65329p-10, 0x1.49182b11a8828p-13};
/// 2^(j/16)
alignas(64) inline constexpr double exp2_of_sixteenths[] = {0x1p+0,
                                                            0x1.0b5586cf9890fp+0,
                                                            0x1.172b83c7d517bp+0,
                                                            0x1.2387a6e756238p+0,
                                                            0x1.306fe0a31b715p+0,
                                                            0x1.3dea64c123422p+0,
                                                            0x1.4bfdad5362a27p+0,
                                                            0x1.5ab07dd485429p+0,
                                                            0x1.6a09e667f3bcdp+0,
                                                            0x1.7a11473eb0187p+0,
                                                            0x1.8ace5422aa0dbp+0,
                                                            0x1.9c49182a3f09p+0,
                                                            0x1.ae89f995ad3adp+0,
                                                            0x1.c199bdd85529cp+0,
                                                            0x1.d5818dcfba487p+0,
                                                            0x1.ea4afa2a490dap+0};
/// 2^f on [-1/2, 1/2]: fp32 1.2 units in the last place before rounding (also good without fused operations);
/// fp64 relative error 5.6e-18.
inline constexpr float exp2_nearest_f32[] = {0x1p+0F,        0x1.62e422p-1F, 0x1.ebf9aap-3F,
                                             0x1.c6bdc4p-5F, 0x1.3cef94p-7F, 0x1.594d24p-10F};
inline constexpr double exp2_nearest_f64[] = {0x1p+0,
                                              0x1.62e42fefa39efp-1,
                                              0x1.ebfbdff82c5a5p-3,
                                              0x1.c6b08d704a122p-5,
                                              0x1.3b2ab6fb9ffb3p-7,
                                              0x1.5d87fe78a111cp-10,
                                              0x1.4309130f139cbp-13,
                                              0x1.ffcbfc595bcf6p-17,
                                              0x1.62bfc71ea7788p-20,
                                              0x1.b5253f6036401p-24,
                                              0x1.e61c1058a1947p-28,
                                              0x1.e9471c875b804p-32};

} // namespace detail

/// Portable form: adding 1.5·2^23 + 127 (fp64: 1.5·2^52 + 1023) rounds x to an integer n and leaves n + bias in the low
/// bits, which a shift turns into the number 2^n. At n = -bias that number is 0.
template <class V>
struct exp2_of {
    static PANTILE_INLINE V apply(V x) {
        using T = number_t<V>;
        using integer = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
        constexpr int mantissa = std::numeric_limits<T>::digits - 1;
        constexpr T bias = static_cast<T>(std::numeric_limits<T>::max_exponent - 1);
        constexpr T magic = static_cast<T>(integer{3} << (mantissa - 1)) + bias;
        // max returns its second operand where either is NaN.
        x = xsimd::max(V(-bias), x);
        const V rounded = x + V(magic);
        const V f = x - (rounded - V(magic));
        const auto bits = xsimd::bitwise_cast<xsimd::batch<integer, typename V::arch_type>>(rounded);
        const V power = xsimd::bitwise_cast<V>(bits << mantissa);
        if constexpr (sizeof(T) == 4) {
            return detail::polynomial<V>(detail::exp2_nearest_f32, f) * power;
        } else {
            return detail::polynomial<V>(detail::exp2_nearest_f64, f) * power;
        }
    }
};

#if XSIMD_WITH_AVX512F
/// AVX-512, fp32: vreduce takes the fraction, vscalef multiplies by 2^floor(x) with the right underflow, overflow and
/// infinities: 9 instructions with the scaling before and the sum after.
template <class Arch>
    requires std::is_base_of_v<xsimd::avx512dq, Arch>
struct exp2_of<xsimd::batch<float, Arch>> {
    using V = xsimd::batch<float, Arch>;
    static PANTILE_INLINE V apply(V x) {
        const V f = _mm512_reduce_ps(x, 0x01); // x - floor(x); 0 for an infinite x
        return _mm512_scalef_ps(detail::polynomial<V>(detail::exp2_floor_f32, f), x);
    }
};

/// AVX-512, fp64: x = n + j/16 + f; 2^(j/16) comes from a table in two registers, so that the polynomial is short: 13
/// instructions, 7 clocks a vector. Degree 11 on all of [0, 1] has 15, in a chain that fills the scheduler: 10 clocks.
template <class Arch>
    requires std::is_base_of_v<xsimd::avx512dq, Arch>
struct exp2_of<xsimd::batch<double, Arch>> {
    using V = xsimd::batch<double, Arch>;
    static PANTILE_INLINE V apply(V x) {
        const V f = _mm512_reduce_pd(x, 0x41); // x - floor(16·x)/16; 0 for an infinite x
        // 16·x rounded down in the low bits of the mantissa; the permutation looks at four of them. -inf has 0 there.
        const __m512d magic = _mm512_set1_pd(0x1.8p+48);
        const __m512d sixteenths = _mm512_add_round_pd(x, magic, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
        const __m512d low = _mm512_load_pd(detail::exp2_of_sixteenths);
        const __m512d high = _mm512_load_pd(detail::exp2_of_sixteenths + 8);
        const __m512d root = _mm512_permutex2var_pd(low, _mm512_castpd_si512(sixteenths), high);
        const V power = _mm512_scalef_pd(root, x);
        return xsimd::fma(power * f, detail::polynomial<V>(detail::exp2_sixteenth_f64, f), power);
    }
};
#endif

/// 2^x. Not named exp2: an unqualified call would find xsimd::exp2, half as fast, by its argument.
template <class V>
PANTILE_INLINE inline V power_of_two(const V& x) {
    return exp2_of<V>::apply(x);
}

} // namespace pantile::inline v0::cpu
