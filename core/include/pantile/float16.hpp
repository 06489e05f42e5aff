/// \file
/// 16-bit floating-point numbers as storage: they convert to and from float, arithmetic happens in float.
#pragma once

#include <cstdint>

#include <pantile/core/macros.hpp>

namespace pantile::inline v0 {

// __builtin_bit_cast and not std::bit_cast: nvcc allows no call of an unmarked constexpr function on the device.

/// bfloat16: the upper half of an IEEE binary32.
struct bfloat16 {
    std::uint16_t bits = 0;

    bfloat16() = default;
    /// Rounds to nearest, ties to even; NaN stays NaN (quiet).
    PANTILE_FN explicit bfloat16(float x) : bits(round(__builtin_bit_cast(std::uint32_t, x))) {}
    PANTILE_FN operator float() const { return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16); }

  private:
    static PANTILE_FN std::uint16_t round(std::uint32_t u) {
        if ((u & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((u >> 16) | 0x40U);
        return static_cast<std::uint16_t>((u + 0x7fffU + ((u >> 16) & 1U)) >> 16);
    }
};

/// IEEE binary16, with subnormals and infinities.
struct float16 {
    std::uint16_t bits = 0;

    float16() = default;
    /// Rounds to nearest, ties to even; overflow gives infinity, NaN stays NaN (quiet).
    PANTILE_FN explicit float16(float x) : bits(round(__builtin_bit_cast(std::uint32_t, x))) {}
    PANTILE_FN operator float() const { return widen(bits); }

  private:
    static PANTILE_FN std::uint16_t round(std::uint32_t u) {
        const auto sign = static_cast<std::uint16_t>((u >> 16) & 0x8000U);
        const std::uint32_t magnitude = u & 0x7fffffffU;
        if (magnitude > 0x7f800000U) return static_cast<std::uint16_t>(sign | 0x7e00U);
        if (magnitude >= 0x477ff000U) return static_cast<std::uint16_t>(sign | 0x7c00U); // 65520 and more: infinity
        if (magnitude < 0x38800000U) {
            // Below 2^-14: adding 0.5 puts the unit of a half subnormal (2^-24) at the last bit of the sum, so that the
            // float addition does the rounding.
            const float shifted = __builtin_bit_cast(float, magnitude) + 0.5F;
            return static_cast<std::uint16_t>(sign | (__builtin_bit_cast(std::uint32_t, shifted) - 0x3f000000U));
        }
        const std::uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
        return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
    }
    static PANTILE_FN float widen(std::uint16_t h) {
        const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000U) << 16;
        const std::uint32_t magnitude = h & 0x7fffU;
        if (magnitude >= 0x7c00U) return __builtin_bit_cast(float, sign | 0x7f800000U | ((magnitude & 0x3ffU) << 13));
        if (magnitude >= 0x0400U) return __builtin_bit_cast(float, sign | ((magnitude << 13) + 0x38000000U));
        // Subnormal: magnitude · 2^-24 is exact in float.
        const float value = static_cast<float>(magnitude) * 5.9604644775390625e-8F;
        return __builtin_bit_cast(float, sign | __builtin_bit_cast(std::uint32_t, value));
    }
};

} // namespace pantile::inline v0
