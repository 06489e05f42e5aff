// Both 16-bit types, every bit pattern and every float that matters, against the definition in double arithmetic.
#include <bit>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include <pantile/float16.hpp>

namespace pantile::inline v0 {
namespace {

/// The value of a binary format with this many fraction bits and this exponent bias, by its definition.
double value_of(std::uint16_t bits, int fraction_bits, int bias) {
    const int exponent_bits = 15 - fraction_bits;
    const int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
    const int fraction = bits & ((1 << fraction_bits) - 1);
    const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
    if (exponent == (1 << exponent_bits) - 1) return fraction != 0 ? std::nan("") : sign * HUGE_VAL;
    const double significand = fraction + (exponent != 0 ? 1 << fraction_bits : 0);
    return sign * std::ldexp(significand, std::max(exponent, 1) - bias - fraction_bits);
}

struct half_format {
    using type = float16;
    static constexpr int fraction_bits = 10;
    static constexpr int bias = 15;
};
struct bfloat_format {
    using type = bfloat16;
    static constexpr int fraction_bits = 7;
    static constexpr int bias = 127;
};

template <class Format>
class sixteen_bits : public testing::Test {};
using formats = testing::Types<half_format, bfloat_format>;
TYPED_TEST_SUITE(sixteen_bits, formats);

TYPED_TEST(sixteen_bits, widen_exactly) {
    using type = typename TypeParam::type;
    for (unsigned bits = 0; bits < 0x10000; ++bits) {
        type x;
        x.bits = static_cast<std::uint16_t>(bits);
        const double expected = value_of(x.bits, TypeParam::fraction_bits, TypeParam::bias);
        const float wide = x;
        if (std::isnan(expected)) {
            ASSERT_TRUE(std::isnan(wide)) << bits;
        } else {
            ASSERT_EQ(static_cast<double>(wide), expected) << bits;
            ASSERT_EQ(std::signbit(wide), (bits & 0x8000) != 0) << bits;
            ASSERT_EQ(type(wide).bits, x.bits) << bits; // and back
        }
    }
}

/// Between neighbours a and b lies one change of rounding: below the middle a, above it b, at it the even one.
TYPED_TEST(sixteen_bits, round_to_nearest_ties_to_even) {
    using type = typename TypeParam::type;
    const unsigned infinity = ((1U << (15 - TypeParam::fraction_bits)) - 1U) << TypeParam::fraction_bits;
    for (unsigned bits = 0; bits < infinity; ++bits) {
        const auto low = static_cast<std::uint16_t>(bits);
        const double a = value_of(low, TypeParam::fraction_bits, TypeParam::bias);
        // Beyond the largest number the next step of the same size would be infinity's place.
        const double step =
            bits + 1 == infinity
                ? a - value_of(static_cast<std::uint16_t>(bits - 1), TypeParam::fraction_bits, TypeParam::bias)
                : value_of(static_cast<std::uint16_t>(bits + 1), TypeParam::fraction_bits, TypeParam::bias) - a;
        const auto middle = static_cast<float>(a + step / 2.0);
        ASSERT_EQ(static_cast<double>(middle), a + step / 2.0); // exact: float has more bits than both
        const auto even = static_cast<std::uint16_t>((bits & 1U) == 0 ? bits : bits + 1);
        ASSERT_EQ(type(middle).bits, even) << bits;
        ASSERT_EQ(type(std::nextafter(middle, 0.0F)).bits, low) << bits;
        ASSERT_EQ(type(std::nextafter(middle, HUGE_VALF)).bits, bits + 1) << bits;
        ASSERT_EQ(type(-middle).bits, even | 0x8000) << bits;
        ASSERT_EQ(type(-std::nextafter(middle, HUGE_VALF)).bits, (bits + 1) | 0x8000) << bits;
    }
}

TYPED_TEST(sixteen_bits, keep_infinities_and_nan) {
    using type = typename TypeParam::type;
    EXPECT_EQ(static_cast<float>(type(HUGE_VALF)), HUGE_VALF);
    EXPECT_EQ(static_cast<float>(type(-HUGE_VALF)), -HUGE_VALF);
    EXPECT_EQ(static_cast<float>(type(std::numeric_limits<float>::max())), HUGE_VALF);
    for (const std::uint32_t bits : {0x7fc00000U, 0x7f800001U, 0xffc00000U, 0xff800001U, 0x7fffffffU, 0xffffffffU}) {
        EXPECT_TRUE(std::isnan(static_cast<float>(type(std::bit_cast<float>(bits))))) << std::hex << bits;
    }
    EXPECT_EQ(type(0.0F).bits, 0x0000);
    EXPECT_EQ(type(-0.0F).bits, 0x8000);
}

#if defined(__FLT16_MANT_DIG__)
/// The compiler's own type, where it has one, over all 2^32 floats in steps that hit every exponent and many fractions.
TEST(float16, agrees_with_the_compiler) {
    for (std::uint64_t u = 0; u < (std::uint64_t{1} << 32); u += 509) {
        const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(u));
        if (std::isnan(x)) continue;
        __extension__ const _Float16 expected = static_cast<_Float16>(x);
        ASSERT_EQ(float16(x).bits, __builtin_bit_cast(std::uint16_t, expected)) << std::hex << u;
    }
}
#endif

static_assert(float16(1.0F).bits == 0x3c00 && bfloat16(1.0F).bits == 0x3f80);
static_assert(float16(65504.0F).bits == 0x7bff && float16(65520.0F).bits == 0x7c00);
static_assert(static_cast<float>(float16(0x1p-24F)) == 0x1p-24F);
static_assert(sizeof(float16) == 2 && sizeof(bfloat16) == 2);

} // namespace
} // namespace pantile::inline v0
