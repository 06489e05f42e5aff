// Each logits policy of the plain machine: its value by definition, its derivative against finite differences.
#include <cmath>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <support/generators.hpp>
#include <support/plain_logits.hpp>

namespace pantile::test {
namespace {

constexpr double slopes[] = {0.5, 0.0625};
constexpr double bias[] = {0.25, -1.5, 3.0, 0.0, 2.0, -0.5};

template <class Policy>
void derivative_is_the_slope(const Policy& policy) {
    const double s = *rc::gen::inRange(-4000, 4000) / 200.0;
    const pair_index at{*rc::gen::inRange<index_t>(0, 3), *rc::gen::inRange<index_t>(0, 2),
                        *rc::gen::inRange<index_t>(0, 2), *rc::gen::inRange<index_t>(0, 3)};
    const double step = 1e-5;
    const double slope = (policy.value(s + step, at) - policy.value(s - step, at)) / (2.0 * step);
    RC_ASSERT(std::abs(policy.derivative(s, at) - slope) < 1e-7 * (1.0 + std::abs(slope)));
}

RC_GTEST_PROP(logits, derivatives_are_slopes, ()) {
    const double scale = *rc::gen::element(0.125, -1.0, 3.0);
    const double cap = *rc::gen::element(0.5, 30.0);
    const scaled<double> linear{scale};
    const softcapped<double> capped{scale, cap};
    derivative_is_the_slope(linear);
    derivative_is_the_slope(capped);
    derivative_is_the_slope(with_alibi<double>{linear, slopes, 4});
    derivative_is_the_slope(with_bias<double>{linear, bias, {0, 0, 3, 1}});
    derivative_is_the_slope(
        with_bias<double, with_alibi<double, softcapped<double>>>{{capped, slopes, -2}, bias, {0, 0, 3, 1}});
}

TEST(logits, follow_their_order) {
    const pair_index at{0, 1, 1, 2};
    const double s = 3.0;
    EXPECT_EQ(scaled<double>{0.5}.value(s, at), 1.5);
    const softcapped<double> capped{0.5, 2.0};
    EXPECT_DOUBLE_EQ(capped.value(s, at), 2.0 * std::tanh(0.75)); // scale first, then the cap
    const with_alibi<double, softcapped<double>> sloped{capped, slopes, 10};
    EXPECT_DOUBLE_EQ(sloped.value(s, at), 2.0 * std::tanh(0.75) - 0.0625 * 9.0); // row 1 stands at key 11
    const with_alibi<double> ahead{{1.0}, slopes, -4};
    EXPECT_DOUBLE_EQ(ahead.value(0.0, {0, 0, 1, 2}), -0.5 * 5.0); // the distance has no sign
    const with_bias<double, decltype(sloped)> biased{sloped, bias, {0, 0, 3, 1}};
    EXPECT_DOUBLE_EQ(biased.value(s, at), sloped.value(s, at) - 0.5);
    EXPECT_EQ(biased.place(at), 5);
    const with_bias<double> per_head{{1.0}, bias, {0, 1, 0, 0}}; // strides 0 broadcast
    EXPECT_DOUBLE_EQ(per_head.value(0.0, at), -1.5);
}

TEST(logits, a_bias_of_minus_infinity_hides) {
    const double hidden[] = {-std::numeric_limits<double>::infinity()};
    const with_bias<double> policy{{1.0}, hidden, {0, 0, 0, 0}};
    EXPECT_EQ(policy.value(5.0, {}), hidden[0]);
    EXPECT_EQ(policy.derivative(5.0, {}), 1.0); // P is 0: dS is 0 whatever this is, as long as it is finite
}

static_assert(scaled<float>{0.5F}.value(3.0F, {}) == 1.5F && scaled<float>{0.5F}.derivative(3.0F, {}) == 0.5F);
static_assert(unit_weight{}({}) == 1);

} // namespace
} // namespace pantile::test
