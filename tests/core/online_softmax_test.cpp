// The running softmax against the one-pass definition, however the keys are cut and whatever the logits are.
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <pantile/core/online_softmax.hpp>

#include <support/generators.hpp>

namespace pantile::inline v0::core {
namespace {

using softmax = online_softmax<scalar_ops<double>>;
using state = softmax::state;

static_assert(log2_e == std::numbers::log2e && ln_2 == std::numbers::ln2);

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Base-2 exponents of a row: ordinary, huge, or minus infinity (hidden).
std::vector<double> any_exponents(index_t n) {
    std::vector<double> y(static_cast<std::size_t>(n));
    const double range = *rc::gen::element(1.0, 50.0, 5000.0);
    for (double& x : y) {
        x = test::detail::chance(15) ? -infinity : range * (*rc::gen::inRange(-1000, 1000)) / 1000.0;
    }
    return y;
}

/// Folds [begin, end) of a row into a state, as one tile.
void fold(state& s, double& out, const std::vector<double>& y, const std::vector<double>& v, index_t begin,
          index_t end) {
    double tile_max = -infinity;
    for (index_t j = begin; j < end; ++j) tile_max = std::max(tile_max, y[static_cast<std::size_t>(j)]);
    const double before = s.max;
    const double factor = softmax::raise(s, tile_max);
    RC_ASSERT(factor >= 0.0 && factor <= 1.0); // never NaN, never grows what was accumulated
    RC_ASSERT(s.max == std::max(before, tile_max));
    double sum = 0.0;
    double tile_out = 0.0;
    for (index_t j = begin; j < end; ++j) {
        const double p = std::exp2(y[static_cast<std::size_t>(j)] - softmax::reference(s));
        RC_ASSERT(p >= 0.0 && p <= 1.0);
        sum += p;
        tile_out += p * v[static_cast<std::size_t>(j)];
    }
    s.sum = s.sum * factor + sum;
    out = out * factor + tile_out;
}

struct row_result {
    double out;
    double lse;
};

row_result by_definition(const std::vector<double>& y, const std::vector<double>& v) {
    const double top = y.empty() ? -infinity : *std::max_element(y.begin(), y.end());
    if (top == -infinity) return {0.0, -infinity};
    double sum = 0.0;
    double out = 0.0;
    for (std::size_t j = 0; j < y.size(); ++j) {
        sum += std::exp2(y[j] - top);
        out += std::exp2(y[j] - top) * v[j];
    }
    return {out / sum, (top + std::log2(sum)) * ln_2};
}

void expect_near(double actual, double expected) {
    if (expected == -infinity) {
        RC_ASSERT(actual == expected);
    } else {
        RC_ASSERT(std::abs(actual - expected) <= 1e-13 * (1.0 + std::abs(expected)));
    }
}

RC_GTEST_PROP(online_softmax, folding_tiles_gives_the_softmax, ()) {
    const index_t n = test::detail::pick(0, 40);
    const std::vector<double> y = any_exponents(n);
    const std::vector<double> v(y.size(), 1.0);
    std::vector<double> values(y.size());
    std::iota(values.begin(), values.end(), -3.0);
    state s = softmax::start();
    double out = 0.0;
    for (index_t begin = 0; begin < n;) {
        const index_t end = begin + test::detail::pick(1, n - begin);
        fold(s, out, y, values, begin, end);
        begin = end;
    }
    const row_result expected = by_definition(y, values);
    expect_near(out * finish_factor(s), expected.out);
    expect_near(finish_lse(s), expected.lse);
}

RC_GTEST_PROP(online_softmax, merging_parts_in_any_grouping_gives_the_whole, ()) {
    const index_t n = test::detail::pick(0, 40);
    const std::vector<double> y = any_exponents(n);
    std::vector<double> values(y.size());
    std::iota(values.begin(), values.end(), 1.0);
    struct part {
        state s;
        double out;
    };
    std::vector<part> parts;
    for (index_t begin = 0; begin < n;) {
        const index_t end = begin + test::detail::pick(1, n - begin);
        part p{softmax::start(), 0.0};
        fold(p.s, p.out, y, values, begin, end);
        parts.push_back(p);
        begin = end;
    }
    parts.push_back({softmax::start(), 0.0}); // a part that saw no key changes nothing
    while (parts.size() > 1) {
        const auto at = *rc::gen::inRange<std::size_t>(0, parts.size() - 1);
        double factor_a = -1.0;
        double factor_b = -1.0;
        const state merged = softmax::merge(parts[at].s, parts[at + 1].s, factor_a, factor_b);
        RC_ASSERT(factor_a >= 0.0 && factor_a <= 1.0 && factor_b >= 0.0 && factor_b <= 1.0);
        parts[at] = {merged, parts[at].out * factor_a + parts[at + 1].out * factor_b};
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
    const row_result expected = by_definition(y, values);
    expect_near(parts[0].out * finish_factor(parts[0].s), expected.out);
    expect_near(finish_lse(parts[0].s), expected.lse);
}

// A row that sees keys has a mark where all its logits are minus infinity, and what it sees beside that decides.
TEST(online_softmax, overflow_and_nan_outlive_a_merge) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const state none = softmax::start();
    const state overflow = mark_overflow(none, true);
    const state all_nan = mark_overflow(state{-infinity, nan}, true); // a maximum passes over NaN
    const state usual{3.0, 1.5};
    EXPECT_EQ(mark_overflow(none, false).sum, 0.0);
    EXPECT_EQ(mark_overflow(usual, true).sum, 1.5);
    const auto lse = [](const state& a, const state& b) {
        double fa = -1.0;
        double fb = -1.0;
        const state merged = softmax::merge(a, b, fa, fb);
        EXPECT_EQ(std::isnan(finish_factor(merged)), std::isnan(finish_lse(merged)));
        return finish_lse(merged);
    };
    EXPECT_EQ(lse(none, none), -infinity);
    EXPECT_EQ(lse(overflow, usual), finish_lse(usual));
    EXPECT_EQ(lse(usual, overflow), finish_lse(usual));
    for (const state& other : {none, overflow, all_nan}) {
        EXPECT_TRUE(std::isnan(lse(overflow, other)));
        EXPECT_TRUE(std::isnan(lse(other, overflow)));
        EXPECT_TRUE(std::isnan(lse(all_nan, other)));
        EXPECT_TRUE(std::isnan(lse(other, all_nan)));
    }
    EXPECT_TRUE(std::isnan(lse(usual, all_nan)));
    // A logit above the range, whose own weight was lost against an infinite reference.
    const state above{infinity, 0.0};
    EXPECT_TRUE(std::isnan(finish_lse(above)));
    EXPECT_TRUE(std::isnan(finish_factor(above)));
    EXPECT_TRUE(std::isnan(lse(above, usual)));
    EXPECT_TRUE(std::isnan(lse(none, above)));
}

TEST(online_softmax, merge_commutes_bit_by_bit) {
    const state a{3.25, 1.75};
    const state b{-7.5, 1.0625};
    double fa = 0.0, fb = 0.0, ga = 0.0, gb = 0.0;
    const state ab = softmax::merge(a, b, fa, fb);
    const state ba = softmax::merge(b, a, gb, ga);
    EXPECT_EQ(ab.max, ba.max);
    EXPECT_EQ(ab.sum, ba.sum);
    EXPECT_EQ(fa, ga);
    EXPECT_EQ(fb, gb);
}

RC_GTEST_PROP(online_softmax, a_sink_joins_the_denominator_only, ()) {
    const index_t n = test::detail::pick(0, 20);
    const std::vector<double> y = any_exponents(n);
    const double sink = 7.0 * *rc::gen::inRange(-10, 10);
    std::vector<double> values(y.size(), 1.0);
    state s = softmax::start(sink, 1.0);
    double out = 0.0;
    if (n > 0) fold(s, out, y, values, 0, n);
    std::vector<double> with_sink = y;
    with_sink.push_back(sink);
    values.push_back(0.0); // the sink's value
    const row_result expected = by_definition(with_sink, values);
    expect_near(out * finish_factor(s), expected.out);
    expect_near(finish_lse(s), expected.lse);
}

TEST(online_softmax, rows_without_keys_stay_clean) {
    state s = softmax::start();
    EXPECT_EQ(softmax::raise(s, -infinity), 0.0);
    EXPECT_EQ(s.max, -infinity);
    EXPECT_EQ(softmax::reference(s), 0.0);
    EXPECT_EQ(finish_factor(s), 0.0);
    EXPECT_EQ(finish_lse(s), -infinity);
    EXPECT_EQ(softmax::raise(s, 5.0), 0.0); // the first key after hidden ones
    double fa = -1.0;
    double fb = -1.0;
    const state none = softmax::merge(softmax::start(), softmax::start(), fa, fb);
    EXPECT_EQ(none.sum, 0.0);
    EXPECT_EQ(none.max, -infinity);
    EXPECT_EQ(fa, 0.0);
    EXPECT_EQ(fb, 0.0);
}

} // namespace
} // namespace pantile::inline v0::core
