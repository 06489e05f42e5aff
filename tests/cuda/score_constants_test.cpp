// What the kernels' score stage is told: in units of raw scores it is the core's score function. And 2^x - 1, of which tanh is made
// in fp64.

#include "score_constants.hpp"
#include "tile/exp2.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace pantile::inline v0::cuda {
namespace {

/// The stage's formulas, in long double.
template <class V>
long double staged(const score_constants<V>& f, long double score, long double slope, long double distance) {
    if (f.capped) score = std::tanh(score * f.inner) * f.outer;
    if (f.multiplies) score *= f.multiplier;
    if (f.sloped) score -= slope * std::fabs(distance);
    return score;
}

template <class V>
void expect_the_cores_function(double softcap, bool with_slope, double exponent) {
    const double slope = 0.25;
    core::features features;
    features.softcap = softcap;
    if (with_slope) features.slopes.wide = &slope;
    const auto wanted = core::score_function<double>::of(features, exponent);
    double factor = exponent;
    const auto found = score_constants<V>::of(features, factor);
    ASSERT_GT(factor, 0.0);
    ASSERT_TRUE(std::isfinite(found.slope_of(features, 0, 0)));
    const double unit = (softcap > 0.0 ? softcap : 1.0) / (exponent * core::ln_2); // a score about as high as the cap
    constexpr double error = sizeof(V) == 8 ? 1e-14 : 1e-6;
    for (const double size : {-30.0, -1.1, -0.3, -1e-4, 0.0, 1e-4, 0.1, 0.9, 5.0}) {
        const double score = size * unit;
        if (std::fabs(score) > static_cast<double>(std::numeric_limits<V>::max())) continue;
        const core::pair_place<double> at{-37.0, core::score_function<double>::slope_of(features, 0, 0)};
        const double want = wanted(score, at);
        const long double found_slope = found.slope_of(features, 0, 0);
        const auto got = static_cast<double>(staged(found, score, found_slope, at.distance) * factor);
        const double scale = std::fabs(want) + (with_slope ? at.slope * 37.0 : 0.0);
        EXPECT_NEAR(got, want, error * scale + 1e-300)
            << "softcap " << softcap << " slope " << with_slope << " exponent " << exponent << " score " << score;
    }
}

TEST(score_constants, are_the_cores_score_function_in_raw_scores) {
    for (const bool slope : {false, true}) {
        for (const double softcap : {0.0, 1e-3, 1.5, 50.0, 1e6}) {
            for (const double exponent : {1e-35, 1e-20, 0.18, 1.44, 300.0}) {
                expect_the_cores_function<float>(softcap, slope, exponent);
                expect_the_cores_function<double>(softcap, slope, exponent);
            }
        }
    }
}

/// Up to `far` four operations are as good as tanh: what cap_scores does there.
TEST(score_constants, near_zero_a_polynomial_of_raw_scores_serves) {
    for (const double softcap : {1e-3, 1.5, 50.0, 1e6}) {
        core::features features;
        features.softcap = softcap;
        double exponent = 0.18;
        const auto f = score_constants<float>::of(features, exponent);
        ASSERT_GT(f.far, 0.0F);
        EXPECT_NEAR(f.far * f.inner, 0.125, 1e-6);
        for (float share = -1.0F; share <= 1.0F; share += 0.01F) {
            const float s = share * f.far;
            const float w = s * s;
            const float got = std::fma(w * std::fma(w, f.fifth, f.third), s, s);
            const double want =
                std::tanh(static_cast<double>(s) * static_cast<double>(f.inner)) / static_cast<double>(f.inner);
            ASSERT_NEAR(got, want, 1.2e-7 * std::fabs(want)) << softcap << ' ' << share;
        }
    }
    core::features features;
    features.softcap = 1e30; // the fourth power of 1 / cap has no digits
    double exponent = 0.18;
    EXPECT_LT(score_constants<float>::of(features, exponent).far, 0.0F);
}

TEST(exp2_less_one, is_good_to_the_last_digits_near_zero_too) {
    for (double x = 1e-300; x < 60.0; x *= 1.7) {
        const long double exact = std::expm1(static_cast<long double>(x) * 0.693147180559945309417232121458L);
        ASSERT_NEAR(exp2_less_one(x), static_cast<double>(exact), 3e-16 * static_cast<double>(exact)) << x;
    }
    for (int n = 0; n < 60; ++n) EXPECT_EQ(exp2_less_one(n), std::exp2(n) - 1.0);
}

} // namespace
} // namespace pantile::inline v0::cuda
