// Score functions against their definition in long double, their derivative against differences, and the edges: caps that nothing
// comes near, caps that everything passes, rows that start with a sink.
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <pantile/core/score.hpp>

#include <support/generators.hpp>

namespace pantile::inline v0::core {
namespace {

using exact = long double;
constexpr exact log2_e_exact = 1.442695040888963407359924681001892137L;

/// A call's numbers, as its kernels get them.
struct score_case {
    double exponent = log2_e; ///< scale · log2(e)
    double softcap = 0.0;
    double slope = 0.0; ///< given where it is not 0
    index_t distance = 0;

    [[nodiscard]] features made() const {
        features f;
        f.softcap = softcap;
        if (slope != 0.0) f.slopes.wide = &slope;
        return f;
    }
    /// The capped logit in base 2, of the definition.
    [[nodiscard]] exact capped(exact s) const {
        const exact x = s * exponent / log2_e_exact;
        return log2_e_exact * (softcap > 0.0 ? softcap * std::tanh(x / softcap) : x);
    }
    [[nodiscard]] exact bias() const { return log2_e_exact * slope * std::abs(static_cast<exact>(distance)); }
    [[nodiscard]] exact exponent_of(exact s) const { return capped(s) - bias(); }
};

score_case any_score_case() {
    using test::detail::chance;
    using test::detail::pick;
    const auto power = [](index_t from, index_t to) {
        return std::ldexp(1.0 + static_cast<double>(pick(0, 1 << 20)) / (1 << 20), static_cast<int>(pick(from, to)));
    };
    score_case c;
    c.exponent = power(-8, 8);
    if (chance(70)) c.softcap = power(-6, 10);
    if (chance(60)) c.slope = power(-16, 2) * (chance(30) ? -1.0 : 1.0);
    c.distance = pick(-100000, 100000);
    return c;
}

template <class T>
struct evaluated {
    T y;
    T derivative;
};
template <class T>
evaluated<T> evaluate(const score_case& c, T s) {
    const features f = c.made();
    const auto score = score_function<T>::of(f, c.exponent);
    const pair_place<T> at{static_cast<T>(c.distance), score_function<T>::slope_of(f, 0, 0)};
    const T y = score(s, at);
    return {y, score.derivative(y, at)};
}

/// What roundings may do to y: a few units in the last place of each of its two terms.
template <class T>
exact error_of_y(const score_case& c, exact s) {
    constexpr auto unit = static_cast<exact>(std::numeric_limits<T>::epsilon());
    return unit * (6 * std::abs(c.capped(s)) + 3 * std::abs(c.bias()));
}

template <class T>
void is_its_definition() {
    const score_case c = any_score_case();
    const T s = static_cast<T>(static_cast<double>(test::detail::pick(-1000000, 1000000)) / 1024.0);
    const auto [y, derivative] = evaluate(c, s);
    const exact bound = error_of_y<T>(c, s);
    RC_ASSERT(std::abs(y - c.exponent_of(s)) <= bound);
    if (c.softcap <= 0.0) {
        RC_ASSERT(derivative == T(1));
        return;
    }
    // The derivative against differences of the definition; ALiBi's term has none.
    constexpr auto unit = static_cast<exact>(std::numeric_limits<T>::epsilon());
    const exact outer = c.softcap * log2_e_exact;
    const exact step = 1e-5L * c.softcap / static_cast<exact>(c.exponent);
    const exact difference = (c.capped(s + step) - c.capped(s - step)) / (2 * step) / c.exponent;
    RC_ASSERT(std::abs(derivative - difference) <= 2 * bound / outer + 8 * unit + 1e-9L);
}
RC_GTEST_PROP(score_function, is_its_definition_in_fp32, ()) { is_its_definition<float>(); }
RC_GTEST_PROP(score_function, is_its_definition_in_fp64, ()) { is_its_definition<double>(); }

TEST(score_function, by_hand) {
    const score_case capped{.exponent = 0.5 * log2_e, .softcap = 30.0};
    EXPECT_NEAR(evaluate(capped, 120.0).y, 30.0 * std::tanh(2.0) * log2_e, 1e-13);
    EXPECT_NEAR(evaluate(capped, 120.0).derivative, 1.0 - std::tanh(2.0) * std::tanh(2.0), 1e-14);
    // The cap comes before ALiBi: what distance takes is not capped.
    const score_case both{.exponent = log2_e, .softcap = 1.0, .slope = 0.25, .distance = -80};
    EXPECT_NEAR(evaluate(both, 50.0).y, (1.0 - 20.0) * log2_e, 1e-13);
    EXPECT_EQ((evaluate(score_case{.exponent = 2.0, .slope = 0.5, .distance = 3}, 7.0).y), 14.0 - 1.5 * log2_e);
    EXPECT_EQ((evaluate(score_case{.exponent = 2.0, .slope = 0.5, .distance = 3}, 7.0).derivative), 1.0);
}

TEST(score_function, without_features_is_a_product) {
    const auto score = score_function<float>::of({}, 0.75);
    EXPECT_FALSE(score.capped || score.sloped);
    const pair_place<float> nowhere{NAN, NAN}; // not looked at
    EXPECT_EQ(score(3.0F, nowhere), 2.25F);
    EXPECT_EQ(score.derivative(2.25F, nowhere), 1.0F);
}

/// A cap so large that its factor is below the type's smallest number is none: it must not become 0.
template <class T>
void caps_that_nothing_comes_near() {
    const double smallest = std::numeric_limits<T>::min();
    features f;
    f.softcap = 0.9 * ln_2 / smallest;
    EXPECT_TRUE(score_function<T>::of(f, 1.0).capped);
    for (const double exponent : {1.0, 1e-3}) {
        f.softcap = 1.1 * ln_2 * exponent / smallest;
        const auto score = score_function<T>::of(f, exponent);
        EXPECT_FALSE(score.capped);
        EXPECT_EQ(score(T(40), {}), T(40) * static_cast<T>(exponent));
        EXPECT_EQ(score.derivative(T(40), {}), T(1));
    }
}
TEST(score_function, caps_that_nothing_comes_near) {
    caps_that_nothing_comes_near<float>();
    caps_that_nothing_comes_near<double>();
}

/// A cap so small that every score but 0 passes it, and that its own factors leave the type's range.
template <class T>
void caps_that_everything_passes() {
    for (const double cap : {1e-36, 1e-38, 1e-45, 1e-300, 5e-324}) {
        if (sizeof(T) == 8 && cap > 1e-300) continue;
        const score_case c{.exponent = log2_e, .softcap = cap};
        const auto score = score_function<T>::of(c.made(), c.exponent);
        EXPECT_LE(score.inner, std::numeric_limits<T>::max());
        EXPECT_GE(score.outer, std::numeric_limits<T>::min());
        for (const T s : {T(1), T(-1), T(1e30), -std::numeric_limits<T>::infinity()}) {
            const auto [y, derivative] = evaluate(c, s);
            EXPECT_EQ(y, s > T(0) ? score.outer : -score.outer) << cap;
            EXPECT_EQ(derivative, T(0)) << cap;
        }
        EXPECT_EQ(evaluate(c, T(0)).y, T(0));
        EXPECT_EQ(evaluate(c, T(0)).derivative, T(1));
    }
}
TEST(score_function, caps_that_everything_passes) {
    caps_that_everything_passes<float>();
    caps_that_everything_passes<double>();
}

TEST(score_function, keeps_what_is_no_number) {
    const score_case c{.softcap = 2.0};
    EXPECT_TRUE(std::isnan(evaluate(c, std::nanf("")).y));
    EXPECT_EQ(evaluate(c, HUGE_VALF).y, static_cast<float>(2.0 * log2_e)); // a capped infinity is a number
}

TEST(score_function, slopes_of_heads) {
    const float narrow[] = {1, 2, 3, 4, 5, 6};
    const double wide[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6};
    features f;
    EXPECT_EQ(score_function<float>::slope_of(f, 1, 2), 0.0F);
    EXPECT_FALSE(f.arithmetic());
    f.slopes = {narrow, nullptr, 0};
    EXPECT_TRUE(f.arithmetic());
    EXPECT_EQ(score_function<double>::slope_of(f, 1, 2), 3.0 * log2_e); // one a head: whatever the batch
    f.slopes = {narrow, nullptr, 3};
    EXPECT_EQ(score_function<double>::slope_of(f, 1, 2), 6.0 * log2_e);
    f.slopes = {nullptr, wide, 3};
    EXPECT_EQ(score_function<double>::slope_of(f, 1, 0), 0.4 * log2_e);
    EXPECT_EQ(score_function<float>::slope_of(f, 0, 1), static_cast<float>(0.2 * log2_e)); // rounded once
    EXPECT_TRUE(score_function<float>::of(f, 1.0).sloped);
}

TEST(features, sinks_are_no_arithmetic) {
    const double sink = 1.0;
    features f;
    f.sinks = {nullptr, &sink, 0};
    EXPECT_TRUE(f.sinks.given());
    EXPECT_FALSE(f.arithmetic());
    EXPECT_EQ(f.sinks.data(), &sink);
    EXPECT_EQ(f.sinks.element_bytes(), 8);
    f.softcap = 0.5;
    EXPECT_TRUE(f.arithmetic());
    const float narrow = 2.0F;
    f.sinks = {&narrow, nullptr, 0};
    EXPECT_EQ(f.sinks.data(), &narrow);
    EXPECT_EQ(f.sinks.element_bytes(), 4);
    EXPECT_EQ(f.sinks(7, 0), 2.0);
    EXPECT_EQ(head_numbers_ref{}.data(), nullptr);
}

/// Two numbers with mathematics of their own, found by their namespace: all that a batch needs.
struct two {
    double a, b;
    two(double x, double y) : a(x), b(y) {}
    explicit two(double x) : two(x, x) {}
    friend two operator+(two x, two y) { return {x.a + y.a, x.b + y.b}; }
    friend two operator-(two x, two y) { return {x.a - y.a, x.b - y.b}; }
    friend two operator*(two x, two y) { return {x.a * y.a, x.b * y.b}; }
    friend two tanh(two x) { return {std::tanh(x.a), std::tanh(x.b)}; }
    friend two abs(two x) { return {std::fabs(x.a), std::fabs(x.b)}; }
};

RC_GTEST_PROP(score_function, of_a_batch_is_that_of_its_numbers, ()) {
    const score_case c = any_score_case();
    const features f = c.made();
    const auto score = score_function<double>::of(f, c.exponent);
    const double slope = score_function<double>::slope_of(f, 0, 0);
    const auto distance = static_cast<double>(c.distance);
    const pair_place<two> at{{distance, -distance - 1.0}, two(slope)};
    const two s(7.5, -3.25);
    const two y = score(s, at);
    const two derivative = score.derivative(y, at);
    const pair_place<double> first{distance, slope}, second{-distance - 1.0, slope};
    RC_ASSERT(y.a == score(s.a, first) && y.b == score(s.b, second));
    RC_ASSERT(derivative.a == score.derivative(y.a, first) && derivative.b == score.derivative(y.b, second));
}

TEST(start_row, with_a_sink_or_without) {
    const float sinks[] = {0.5F, -HUGE_VALF, 3.0F};
    constexpr float none = -HUGE_VALF;
    features f;
    const auto start = [&](bool carries, index_t b, index_t h) { return start_row<float>(f, carries, b, h); };
    EXPECT_EQ(start(true, 0, 0).max, none);
    EXPECT_EQ(start(true, 0, 0).sum, 0.0F);
    f.sinks = {sinks, nullptr, 0};
    EXPECT_EQ(start(false, 0, 0).max, none); // of another part
    EXPECT_EQ(start(false, 0, 0).sum, 0.0F);
    for (const index_t b : {0, 5}) {
        EXPECT_EQ(start(true, b, 0).max, static_cast<float>(0.5 * log2_e));
        EXPECT_EQ(start(true, b, 0).sum, 1.0F);
        EXPECT_EQ(start(true, b, 1).max, none); // a sink of minus infinity is none
        EXPECT_EQ(start(true, b, 1).sum, 0.0F);
        EXPECT_EQ(start(true, b, 2).max, static_cast<float>(3.0 * log2_e));
    }
    const double wide[] = {-2.0};
    f.sinks = {nullptr, wide, 0};
    EXPECT_EQ(start_row<double>(f, true, 0, 0).max, -2.0 * log2_e);
}

/// A row that starts with its sink ends with a denominator that holds it once, before and after merges with parts that do not.
RC_GTEST_PROP(start_row, adds_the_sink_to_the_denominator_once, (std::vector<std::int16_t> drawn)) {
    using softmax = online_softmax<scalar_ops<double>>;
    const double sink = static_cast<double>(test::detail::pick(-4000, 4000)) / 256.0;
    features f;
    f.sinks = {nullptr, &sink, 0};
    const auto carrier = static_cast<std::size_t>(test::detail::pick(0, 2));
    softmax::state parts[3];
    for (std::size_t n = 0; n < 3; ++n) parts[n] = start_row<double>(f, n == carrier, 0, 0);
    exact expected = std::exp(static_cast<exact>(sink));
    for (std::size_t n = 0; n < drawn.size(); ++n) {
        const double logit = drawn[n] / 1024.0;
        expected += std::exp(static_cast<exact>(logit));
        softmax::state& s = parts[n % 3];
        const double y = logit * log2_e;
        const double factor = softmax::raise(s, y);
        s.sum = s.sum * factor + std::exp2(y - softmax::reference(s));
    }
    double of_a = 0.0, of_b = 0.0;
    const softmax::state all = softmax::merge(softmax::merge(parts[0], parts[1], of_a, of_b), parts[2], of_a, of_b);
    RC_ASSERT(std::abs(finish_lse(all) - static_cast<double>(std::log(expected))) < 1e-12);
}

} // namespace
} // namespace pantile::inline v0::core
