// exp2 over every float of the reduced range, and at the edges.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "micro/each_isa.hpp"
#include "micro/exp2.hpp"

namespace pantile_test {
namespace {

using exp2 = each_isa;
PANTILE_FOR_EACH_ISA(exp2);

/// Distance of `got` from `exact` in units in the last place of float at `exact`. Where the exact value is just below a
/// power of two, the smaller unit counts.
double ulps_f32(float got, double exact) {
    const int exponent = std::ilogb(exact);
    return std::abs(double(got) - exact) / std::ldexp(1.0, exponent - 23);
}

/// 2^x in double for one octave: fp64 exp2 is a function of libm, correct to less than 1 ulp of double.
TEST_P(exp2, within_2_ulp_for_every_float_of_an_octave) {
    // Every float in [-2, -1): 2^23 of them, all fractions of this exponent; and the floats in [-1, 0) down to -2^-24,
    // whose fractions are finer.
    constexpr std::uint32_t chunk = 4096;
    std::vector<float> x(chunk), y(chunk);
    double worst = 0;
    float worst_x = 0;
    const auto visit = [&](std::uint32_t first_bits, std::uint32_t step) {
        for (index_t i = 0; i < chunk; ++i)
            x[i] = std::bit_cast<float>(first_bits + static_cast<std::uint32_t>(i) * step);
        micro().f32.exp2(x.data(), y.data(), chunk);
        for (std::uint32_t i = 0; i < chunk; ++i) {
            const double error = ulps_f32(y[i], std::exp2(double(x[i])));
            if (!(error <= worst)) worst = error, worst_x = x[i];
        }
    };
    const auto minus_one = std::bit_cast<std::uint32_t>(-1.0F);
    for (std::uint32_t i = 0; i < 1U << 23; i += chunk) visit(minus_one + i, 1);
    for (int octave = 1; octave <= 24; ++octave) {
        const std::uint32_t first = minus_one - (static_cast<std::uint32_t>(octave) << 23);
        const std::uint32_t step = octave < 3 ? 1 : 16;
        for (std::uint32_t i = 0; i < 1U << 23; i += chunk * step) visit(first + i, step);
    }
    EXPECT_LE(worst, 2.0) << "at x = " << worst_x;
    RecordProperty("worst_ulp", std::to_string(worst));
}

TEST_P(exp2, within_2_ulp_over_the_whole_range) {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> in_range(-126.0F, 127.0F);
    std::vector<float> x(1 << 16), y(x.size());
    for (float& v : x) v = in_range(random);
    micro().f32.exp2(x.data(), y.data(), static_cast<index_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i) {
        ASSERT_LE(ulps_f32(y[i], std::exp2(double(x[i]))), 2.0) << "at x = " << x[i];
    }
}

TEST_P(exp2, within_2_ulp_in_f64) {
    std::mt19937_64 random(2);
    std::vector<double> x(1 << 18), y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = i % 2 == 0 ? std::uniform_real_distribution<double>(-1.0, 0.0)(random)
                          : std::uniform_real_distribution<double>(-1022.0, 1023.0)(random);
    }
    micro().f64.exp2(x.data(), y.data(), static_cast<index_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i) {
        const long double exact = std::exp2(static_cast<long double>(x[i]));
        const long double unit = std::ldexp(1.0L, std::ilogb(exact) - 52);
        ASSERT_LE(static_cast<double>(std::abs(static_cast<long double>(y[i]) - exact) / unit), 2.0)
            << "at x = " << x[i];
    }
}

/// The largest error of 2^f as a polynomial on [low, high], computed without rounding to speak of.
template <class T, std::size_t n, class Value, class Error>
double worst_of(const T (&c)[n], double low, double high, Value value, Error error) {
    constexpr int steps = 20'000;
    double worst = 0;
    for (int i = 0; i <= steps; ++i) {
        const long double f = low + (high - low) * i / steps;
        long double p = c[n - 1];
        for (std::size_t k = n - 1; k-- > 0;) p = p * f + c[k];
        const long double exact = std::exp2(f);
        worst = std::max(worst, static_cast<double>(error(value(p, f), exact)));
    }
    return worst;
}

/// The coefficients of all forms, also of those that this machine does not run, have the errors that exp2.hpp names: a digit
/// that matters cannot change. (What it changes may still be less than the 2 ulp that the kernels are held to.)
TEST(exp2_coefficients, have_the_errors_of_the_fit) {
    if (std::numeric_limits<long double>::digits < 64) GTEST_SKIP() << "long double is no finer than double here";
    namespace fit = pantile::cpu::detail;
    const auto itself = [](long double p, long double) { return p; };
    const auto in_ulp = [](long double p, long double exact) {
        return std::abs(p - exact) / std::ldexp(1.0L, std::ilogb(exact) - 23);
    };
    const auto relative = [](long double p, long double exact) { return std::abs(p / exact - 1.0L); };
    EXPECT_LE(worst_of(fit::exp2_floor_f32, 0.0, 1.0 - 1e-6, itself, in_ulp), 1.31);
    EXPECT_LE(worst_of(fit::exp2_nearest_f32, -0.5, 0.5, itself, in_ulp), 1.155);
    EXPECT_LE(worst_of(fit::exp2_nearest_f64, -0.5, 0.5, itself, relative), 5.8e-18);
    const auto of_sixteenth = [](long double p, long double f) { return 1.0L + f * p; };
    EXPECT_LE(worst_of(fit::exp2_sixteenth_f64, 0.0, 1.0 / 16, of_sixteenth, relative), 2.85e-17);
    for (int j = 0; j < 16; ++j) {
        EXPECT_EQ(fit::exp2_of_sixteenths[j], static_cast<double>(std::exp2(static_cast<long double>(j) / 16))) << j;
    }
}

template <class T>
void check_edges(const micro_kernels<T>& kernels) {
    constexpr T inf = std::numeric_limits<T>::infinity();
    constexpr T lowest_exponent = T(std::numeric_limits<T>::min_exponent - 1); // -126, -1022
    const std::vector<T> points{T(0),
                                -T(0),
                                -inf,
                                std::numeric_limits<T>::quiet_NaN(),
                                T(-1),
                                T(-2),
                                lowest_exponent,
                                T(-1e6),
                                std::numeric_limits<T>::lowest(),
                                T(1),
                                T(10),
                                std::numeric_limits<T>::denorm_min(),
                                -std::numeric_limits<T>::denorm_min()};
    std::vector<T> x((points.size() + 63) / 64 * 64, T(0)), y(x.size());
    std::copy(points.begin(), points.end(), x.begin());
    kernels.exp2(x.data(), y.data(), static_cast<index_t>(x.size()));
    EXPECT_EQ(y[0], T(1));
    EXPECT_EQ(y[1], T(1));
    EXPECT_EQ(y[2], T(0));
    EXPECT_TRUE(std::isnan(y[3]));
    EXPECT_EQ(y[4], T(0.5));
    EXPECT_EQ(y[5], T(0.25));
    EXPECT_EQ(y[6], std::numeric_limits<T>::min());
    EXPECT_EQ(y[7], T(0));
    EXPECT_EQ(y[8], T(0));
    EXPECT_EQ(y[9], T(2));
    EXPECT_EQ(y[10], T(1024));
    EXPECT_EQ(y[11], T(1));
    EXPECT_NEAR(y[12], T(1), std::numeric_limits<T>::epsilon());
    // Between the last normal result and 0 nothing is larger than the first or negative.
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = lowest_exponent - T(i) / T(2);
    kernels.exp2(x.data(), y.data(), static_cast<index_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i) {
        EXPECT_GE(y[i], T(0)) << "at x = " << x[i];
        EXPECT_LE(y[i], std::numeric_limits<T>::min()) << "at x = " << x[i];
    }
}

TEST_P(exp2, edges_f32) { check_edges(micro().f32); }
TEST_P(exp2, edges_f64) { check_edges(micro().f64); }

} // namespace
} // namespace pantile_test
