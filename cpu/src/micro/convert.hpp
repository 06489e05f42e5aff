/// \file
/// Vectors in and out of memory of another precision: fp16 and bf16 are read exactly into fp32 and rounded to nearest even
/// on the way out, as the scalar conversions of pantile/float16.hpp do.
#pragma once

#include <pantile/float16.hpp>

#include "simd.hpp"

namespace pantile::inline v0::cpu {

namespace detail {

template <class V>
inline constexpr bool has_avx512 = std::is_base_of_v<xsimd::avx512bw, typename V::arch_type>;
template <class V>
inline constexpr bool has_avx2 = std::is_base_of_v<xsimd::avx2, typename V::arch_type>;

} // namespace detail

/// lanes<V> numbers from p, converted to V's precision.
template <class V, class From>
PANTILE_INLINE inline V load_as(const From* p) {
    if constexpr (std::is_same_v<From, number_t<V>>) {
        return V::load_unaligned(p);
    } else {
#if XSIMD_WITH_AVX512BW
        if constexpr (detail::has_avx512<V> && std::is_same_v<From, bfloat16>) {
            const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
            return V(_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)));
        } else if constexpr (detail::has_avx512<V> && std::is_same_v<From, float16>) {
            return V(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
        } else
#endif
#if XSIMD_WITH_AVX2 && defined(__F16C__)
            if constexpr (detail::has_avx2<V> && std::is_same_v<From, bfloat16>) {
            const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
            return V(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16)));
        } else if constexpr (detail::has_avx2<V> && std::is_same_v<From, float16>) {
            return V(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
        } else
#endif
        {
            number_t<V> wide[V::size];
            for (int i = 0; i < lanes<V>; ++i) wide[i] = static_cast<number_t<V>>(p[i]);
            return V::load_unaligned(wide);
        }
    }
}

/// The reverse; rounds to nearest, ties to even.
template <class V, class To>
PANTILE_INLINE inline void store_as(const V& x, To* p) {
    if constexpr (std::is_same_v<To, number_t<V>>) {
        x.store_unaligned(p);
    } else {
#if XSIMD_WITH_AVX512BW
        if constexpr (detail::has_avx512<V> && std::is_same_v<To, bfloat16>) {
            const __m512i u = _mm512_castps_si512(x);
            const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
            const __m512i rounded = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            const __m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
            const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
            const __m512i upper = _mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(upper));
        } else if constexpr (detail::has_avx512<V> && std::is_same_v<To, float16>) {
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
        } else
#endif
#if XSIMD_WITH_AVX2 && defined(__F16C__)
            if constexpr (detail::has_avx2<V> && std::is_same_v<To, bfloat16>) {
            const __m256i u = _mm256_castps_si256(x);
            const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
            const __m256i rounded = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            const __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
            const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
            const __m256i upper = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
            const __m128i low = _mm256_castsi256_si128(upper);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packus_epi32(low, _mm256_extracti128_si256(upper, 1)));
        } else if constexpr (detail::has_avx2<V> && std::is_same_v<To, float16>) {
            _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
        } else
#endif
        {
            number_t<V> wide[V::size];
            x.store_unaligned(wide);
            for (int i = 0; i < lanes<V>; ++i) p[i] = To(wide[i]);
        }
    }
}

/// The first n numbers only; the other lanes are 0.
template <class V, class From>
PANTILE_INLINE inline V load_some(const From* p, index_t n) {
    number_t<V> wide[V::size] = {};
    for (index_t i = 0; i < n; ++i) wide[i] = static_cast<number_t<V>>(p[i]);
    return V::load_unaligned(wide);
}
template <class V, class To>
PANTILE_INLINE inline void store_some(const V& x, To* p, index_t n) {
    number_t<V> wide[V::size];
    x.store_unaligned(wide);
    for (index_t i = 0; i < n; ++i) p[i] = To(wide[i]);
}

} // namespace pantile::inline v0::cpu
