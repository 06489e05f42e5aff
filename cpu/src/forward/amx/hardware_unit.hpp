/// \file
/// The processor's matrix unit, AMX: eight tile registers of 16 rows × 64 bytes, and a product of bf16 tiles that adds in
/// fp32. Compiled only by isa/amx.cpp.
///
/// The instructions are written as assembly: a tile number can then be a template argument with every compiler, and the
/// compiler knows that loads and stores touch memory (g++ 12's own intrinsic for the load does not say so).
#pragma once

#include <immintrin.h>

#include <pantile/float16.hpp>

#include "../../micro/simd.hpp"

namespace pantile::inline v0::cpu::amx {

/// AVX-512 as it comes with AMX. A tag of its own, so that nothing compiled with AMX is linked in place of other code.
struct arch : xsimd::avx512bw {};

} // namespace pantile::inline v0::cpu::amx

namespace xsimd::types {

template <class T>
struct get_bool_simd_register<T, pantile::cpu::amx::arch> : get_bool_simd_register<T, avx512bw> {};
XSIMD_DECLARE_SIMD_REGISTER_ALIAS(pantile::cpu::amx::arch, avx512bw);

} // namespace xsimd::types

namespace pantile::inline v0::cpu::amx {

/// The unit is this thread's as long as the object lives; between calls no tile state is left that a task switch would
/// have to save.
class hardware_unit {
  public:
    using vector = xsimd::batch<float, arch>;

    PANTILE_INLINE hardware_unit() {
        // Intel's Software Developer's Manual, LDTILECFG: palette 1, every tile 16 rows of 64 bytes.
        struct alignas(64) {
            std::uint8_t palette = 1;
            std::uint8_t start_row = 0;
            std::uint8_t reserved[14] = {};
            std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
            std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
        } const configuration;
        static_assert(sizeof(configuration) == 64);
        __asm__ volatile("ldtilecfg %0" : : "m"(configuration));
    }
    PANTILE_INLINE ~hardware_unit() { __asm__ volatile("tilerelease"); }
    hardware_unit(const hardware_unit&) = delete;
    hardware_unit& operator=(const hardware_unit&) = delete;

    /// tile = 0
    template <int tile>
    PANTILE_INLINE void zero() {
        __asm__ volatile("tilezero %%tmm%c0" : : "i"(tile));
    }
    /// 16 rows of 64 bytes, `stride` bytes apart.
    template <int tile>
    PANTILE_INLINE void load(const void* from, index_t stride) {
        __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(tile) : "memory");
    }
    template <int tile>
    PANTILE_INLINE void store(void* to, index_t stride) {
        __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(tile) : "memory");
    }
    /// c[i][j] += Σ_k a[i][k] · b[k/2][j][k%2] for 32 k: c in fp32, a and b in bf16.
    template <int c, int a, int b>
    PANTILE_INLINE void dot() {
        __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
    }

    /// to[i] = {even[i], odd[i]}, rounded to nearest even.
    static PANTILE_INLINE void store_pairs(const vector& even, const vector& odd, bfloat16* to) {
        const auto rounded = (__m512i)_mm512_cvtne2ps_pbh(odd, even); // the 16 of `even`, then the 16 of `odd`
        const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        const __m512i pairs =
            _mm512_or_si512(lane, _mm512_slli_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(16)), 16));
        _mm512_storeu_si512(to, _mm512_permutexvar_epi16(pairs, rounded));
    }
};

} // namespace pantile::inline v0::cpu::amx
