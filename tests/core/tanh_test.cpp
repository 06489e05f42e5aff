// The polynomials of core/tanh.hpp against a wider tanh.
#include <pantile/core/tanh.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace pantile::inline v0::core {
namespace {

double ulp_of(double x) {
    const auto near = static_cast<float>(x);
    return static_cast<double>(std::nextafter(near, std::numeric_limits<float>::infinity())) -
           static_cast<double>(near);
}

/// The largest error over steps through all floats from `least` to `most`, in units in the last place.
template <class F>
double worst_ulp(F f, float least, float most) {
    double worst = 0.0;
    for (float x = least; x <= most; x *= 1.00003F) {
        for (const float signed_x : {x, -x}) {
            const double exact = std::tanh(static_cast<double>(signed_x));
            worst = std::max(worst, std::fabs(static_cast<double>(f(signed_x)) - exact) / ulp_of(std::fabs(exact)));
        }
    }
    return worst;
}

TEST(tanh, is_right_to_a_unit_in_the_last_place_where_it_is_a_polynomial) {
    EXPECT_LE(worst_ulp([](float x) { return score::tanh_within_one(x); }, 1e-30F, 1.0F), 1.0);
    EXPECT_GT(worst_ulp([](float x) { return score::tanh_within_one(x); }, 1.5F, 1.6F), 16.0) << "not beyond";
}

TEST(tanh, keeps_zero_subnormals_and_nan) {
    constexpr auto f = score::tanh_within_one;
    constexpr float smallest = std::numeric_limits<float>::denorm_min();
    EXPECT_EQ(f(0.0F), 0.0F);
    EXPECT_EQ(f(smallest), smallest);
    EXPECT_TRUE(std::isnan(f(std::numeric_limits<float>::quiet_NaN())));
}

} // namespace
} // namespace pantile::inline v0::core
