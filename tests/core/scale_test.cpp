// How a scale is split between q and the exponent.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <pantile/core/scale.hpp>

#include <support/generators.hpp>

namespace pantile::inline v0::core {
namespace {

// Usable where the compiler computes.
static_assert(split_scale<float>(0.125).query == 0.125 && split_scale<float>(0.125).exponent == log2_e);
static_assert(power_of_two(-1074) == std::numeric_limits<double>::denorm_min());

TEST(scale, powers_and_exponents_are_those_of_the_library) {
    for (int n = -1074; n <= 1023; ++n) {
        EXPECT_EQ(power_of_two(n), std::ldexp(1.0, n));
        EXPECT_EQ(exponent_of(std::ldexp(1.0, n)), n);
    }
    for (int n = -1073; n <= 1023; ++n) EXPECT_EQ(exponent_of(std::nextafter(std::ldexp(1.0, n), 0.0)), n - 1);
    EXPECT_EQ(exponent_of(std::numeric_limits<double>::max()), 1023);
}

/// Any finite scale but 0, of either sign.
double any_scale(int least, int most) {
    const double mantissa = 1.0 + static_cast<double>(*rc::gen::inRange(0, 1 << 20)) / (1 << 20);
    const double size = std::ldexp(mantissa, static_cast<int>(test::detail::pick(least, most)));
    return test::detail::chance(50) ? -size : size;
}

template <class T>
void splits_without_losing_a_digit() {
    const double scale = any_scale(sizeof(T) == 8 ? -1074 : -300, sizeof(T) == 8 ? 1022 : 126);
    if (scale == 0.0) return; // below the smallest double
    const scale_split s = split_scale<T>(scale);
    RC_ASSERT(s.exponent > 0.0);
    if (std::abs(scale) < std::ldexp(1.0, -300)) RC_ASSERT(sizeof(T) == 8);
    RC_ASSERT(static_cast<double>(static_cast<T>(s.query)) == s.query); // T holds it
    RC_ASSERT(static_cast<T>(s.exponent) > T(0));
    if (s.query == 0.0) { // every logit is 0 to the last digit
        RC_ASSERT(s.exponent == log2_e);
        RC_ASSERT(std::abs(scale) < std::ldexp(1.0, 2 * least_power<T>));
        return;
    }
    RC_ASSERT(std::signbit(s.query) == std::signbit(scale));
    RC_ASSERT(std::abs(s.query) <= 1.0); // query · q cannot overflow
    int exponent = 0;
    RC_ASSERT(std::frexp(std::abs(s.query), &exponent) == 0.5); // a power of two
    // The product is scale · log2(e) with one rounding; where a double cannot hold it, times 2^200.
    const double up = std::ldexp(1.0, std::abs(scale) < 1e-200 ? 200 : 0);
    RC_ASSERT(s.query * up * s.exponent == scale * up * log2_e);
    // q is made as small as the scale, where the type allows: products of the largest numbers stay as far from overflow as
    // the logits.
    if (std::abs(scale) < 2.0 && std::abs(s.query) > std::ldexp(1.0, least_power<T>)) {
        RC_ASSERT(s.exponent >= log2_e && s.exponent < 2.0 * log2_e);
    }
    if (std::abs(scale) >= 1.0) RC_ASSERT(std::abs(s.query) == 1.0);
}
RC_GTEST_PROP(scale, splits_without_losing_a_digit_in_fp32, ()) { splits_without_losing_a_digit<float>(); }
RC_GTEST_PROP(scale, splits_without_losing_a_digit_in_fp64, ()) { splits_without_losing_a_digit<double>(); }

TEST(scale, is_split_at_the_edges) {
    const double least = std::ldexp(1.0, -149);
    EXPECT_EQ(split_scale<float>(0.0).query, 0.0);
    EXPECT_EQ(split_scale<float>(-0.0).exponent, log2_e);
    EXPECT_EQ(split_scale<float>(1e-40).query, std::ldexp(1.0, -133));
    EXPECT_EQ(split_scale<float>(1e-46).query, least); // clamped: the exponent takes the rest
    EXPECT_EQ(split_scale<float>(1e-46).exponent, 1e-46 * std::ldexp(1.0, 149) * log2_e);
    EXPECT_EQ(split_scale<float>(-1e-100).query, 0.0); // below 2^-298
    EXPECT_EQ(split_scale<float>(3.5).query, 1.0);
    EXPECT_EQ(split_scale<float>(-3.5).query, -1.0);
    EXPECT_EQ(split_scale<double>(-1e-310).query, -std::ldexp(1.0, -1030));
    EXPECT_EQ(split_scale<double>(std::numeric_limits<double>::denorm_min()).exponent, log2_e);
}

TEST(scale, may_leave_q_alone) {
    const scale_split usual = split_scale(-0.1, 0, least_power<float>);
    EXPECT_EQ(usual.query, -1.0);
    EXPECT_EQ(usual.exponent, 0.1 * log2_e);
    EXPECT_EQ(split_scale(1e-45, 0, least_power<float>).query, 1.0);
    EXPECT_EQ(split_scale(1e-46, 0, least_power<float>).query, 0.0);
    EXPECT_EQ(split_scale(1e-46, 0, least_power<float>).exponent, log2_e);
}

} // namespace
} // namespace pantile::inline v0::core
