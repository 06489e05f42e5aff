// tanh: relative to the exact value everywhere, also where it is x itself and where it is 1.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "micro/each_isa.hpp"

namespace pantile_test {
namespace {

using tanh = each_isa;
PANTILE_FOR_EACH_ISA(tanh);

constexpr double allowed_ulps = 3.0;

template <class T>
double worst_ulps(const micro_kernels<T>& kernels, const std::vector<T>& x, T& at) {
    using wide = std::conditional_t<sizeof(T) == 8, long double, double>;
    std::vector<T> y(x.size());
    kernels.tanh(x.data(), y.data(), static_cast<index_t>(x.size()));
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const wide exact = std::tanh(static_cast<wide>(x[i]));
        // Below the smallest normal number all units are alike.
        const int exponent = std::max(exact == 0 ? -9999 : std::ilogb(exact), std::numeric_limits<T>::min_exponent - 1);
        const wide unit = std::ldexp(wide(1), exponent - std::numeric_limits<T>::digits + 1);
        const auto error = static_cast<double>(std::abs(static_cast<wide>(y[i]) - exact) / unit);
        if (!(error <= worst)) worst = error, at = x[i];
    }
    return worst;
}

/// Numbers of every size and both signs: equally many in each octave.
template <class T, class Bits>
std::vector<T> numbers_of_all_sizes(unsigned seed, std::size_t count, T largest) {
    std::mt19937_64 random(seed);
    std::uniform_int_distribution<Bits> bits(0, std::bit_cast<Bits>(largest));
    std::vector<T> x(count);
    for (T& v : x) {
        v = std::bit_cast<T>(bits(random));
        if (random() % 2 == 0) v = -v;
    }
    return x;
}

TEST_P(tanh, is_good_relative_to_its_size_in_f32) {
    float at = 0;
    EXPECT_LE(worst_ulps(micro().f32, numbers_of_all_sizes<float, std::uint32_t>(1, 1 << 20, 20.0F), at), allowed_ulps)
        << "at " << at;
    // Every float of the octaves in which it bends.
    std::vector<float> x(1 << 16);
    for (std::uint32_t first = std::bit_cast<std::uint32_t>(0.0625F); first < std::bit_cast<std::uint32_t>(10.0F);
         first += 1 << 20) {
        for (std::uint32_t i = 0; i < x.size(); ++i) x[i] = std::bit_cast<float>(first + i * 16);
        EXPECT_LE(worst_ulps(micro().f32, x, at), allowed_ulps) << "at " << at;
    }
}

TEST_P(tanh, is_good_relative_to_its_size_in_f64) {
    if (std::numeric_limits<long double>::digits < 64) GTEST_SKIP() << "long double is no finer than double here";
    double at = 0;
    EXPECT_LE(worst_ulps(micro().f64, numbers_of_all_sizes<double, std::uint64_t>(2, 1 << 17, 40.0), at), allowed_ulps)
        << "at " << at;
    std::mt19937_64 random(3);
    std::uniform_real_distribution<double> in_range(-20.0, 20.0);
    std::vector<double> x(1 << 17);
    for (double& v : x) v = in_range(random);
    EXPECT_LE(worst_ulps(micro().f64, x, at), allowed_ulps) << "at " << at;
}

template <class T>
void check_edges(const micro_kernels<T>& kernels) {
    constexpr T inf = std::numeric_limits<T>::infinity();
    constexpr T subnormal = std::numeric_limits<T>::denorm_min();
    std::vector<T> x(64, T(0)), y(64);
    const T points[] = {T(0),
                        -T(0),
                        inf,
                        -inf,
                        subnormal,
                        -T(5) * subnormal,
                        T(100),
                        T(-1e6),
                        std::numeric_limits<T>::max(),
                        T(20),
                        T(-40),
                        std::numeric_limits<T>::quiet_NaN(),
                        T(3) * subnormal,
                        std::numeric_limits<T>::min(),
                        std::numeric_limits<T>::lowest()};
    std::copy(std::begin(points), std::end(points), x.begin());
    kernels.tanh(x.data(), y.data(), 64);
    EXPECT_EQ(y[0], T(0));
    EXPECT_FALSE(std::signbit(y[0]));
    EXPECT_TRUE(y[1] == T(0) && std::signbit(y[1]));
    EXPECT_EQ(y[2], T(1));
    EXPECT_EQ(y[3], T(-1));
    EXPECT_EQ(y[4], subnormal);
    EXPECT_EQ(y[5], -T(5) * subnormal);
    EXPECT_EQ(y[6], T(1));
    EXPECT_EQ(y[7], T(-1));
    EXPECT_EQ(y[8], T(1));
    EXPECT_EQ(y[9], T(1));
    EXPECT_EQ(y[10], T(-1));
    EXPECT_TRUE(std::isnan(y[11]));
    EXPECT_EQ(y[12], T(3) * subnormal);
    EXPECT_EQ(y[13], std::numeric_limits<T>::min());
    EXPECT_EQ(y[14], T(-1));
}
TEST_P(tanh, edges_f32) { check_edges(micro().f32); }
TEST_P(tanh, edges_f64) { check_edges(micro().f64); }

} // namespace
} // namespace pantile_test
