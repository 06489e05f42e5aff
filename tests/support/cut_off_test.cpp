// The error rule for scores whose sums are cut off, against a unit that does so.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <support/generators.hpp>

namespace pantile::test {
namespace {

/// x without what lies below 2^lowest.
double cut_below(double x, int lowest) { return std::ldexp(std::trunc(std::ldexp(x, -lowest)), lowest); }

/// The m16n8k16 product of an H100, as found there: products and the sum so far lose what lies 25 binary places below the
/// largest of them, their sum what 24 places do not hold.
double cut_off_sum(double sum, const double* q, const double* k, index_t n) {
    const int none = -2000;
    int top = sum == 0.0 ? none : std::ilogb(sum);
    for (index_t x = 0; x < n; ++x) {
        if (q[x] * k[x] != 0.0) top = std::max(top, std::ilogb(q[x]) + std::ilogb(k[x]));
    }
    if (top == none) return 0.0;
    double r = cut_below(sum, top - 25);
    for (index_t x = 0; x < n; ++x) r += cut_below(q[x] * k[x], top - 25);
    return r == 0.0 ? 0.0 : cut_below(r, std::ilogb(r) - 23);
}

/// The log-sum-exp of row i of head 0, exact but for the scores' sums.
double cut_off_lse(const attention_case& c, const attention_inputs& in, index_t i) {
    std::vector<double> logits;
    for (index_t j = 0; j < c.k_len; ++j) {
        if (!c.visible(0, 0, i, j)) continue;
        double sum = 0.0;
        for (index_t x = 0; x < c.head_dim; x += cut_off_step) {
            sum = cut_off_sum(sum, &in.q(0, 0, i, x), &in.k(0, 0, j, x), std::min(cut_off_step, c.head_dim - x));
        }
        logits.push_back(c.scale * sum);
    }
    const double max = *std::max_element(logits.begin(), logits.end());
    double sum = 0.0;
    for (const double x : logits) sum += std::exp(x - max);
    return max + std::log(sum);
}

attention_case case_of(index_t rows, index_t keys, index_t dim) {
    attention_case c;
    c.q_len = rows;
    c.k_len = keys;
    c.head_dim = dim;
    c.value_dim = 1;
    c.scale = 1.0 / std::sqrt(static_cast<double>(dim));
    return c;
}

TEST(cut_off, sums_by_hand) {
    const auto sum = [](double start, std::vector<double> q, std::vector<double> k) {
        return cut_off_sum(start, q.data(), k.data(), static_cast<index_t>(q.size()));
    };
    // What the GPU gave for these.
    EXPECT_EQ(sum(1.0, {0x1.8p-13}, {0x1p-11}), 1.0);          // 1 + 1.5·2^-24: nearest would be 1 + 2^-23
    EXPECT_EQ(sum(-1.0, {0x1.8p-13}, {-0x1p-11}), -1.0);       // towards zero on both sides
    EXPECT_EQ(sum(1.0, {0x1p-12}, {-0x1p-13}), 1.0 - 0x1p-24); // 1 - 2^-25
    EXPECT_EQ(sum(1.0, {0x1p-13}, {-0x1p-13}), 1.0);           // 2^-26 is lost before the sum
    EXPECT_EQ(sum(1.0, {0x1p-12, 0x1p-12}, {0x1p-12, 0x1p-12}), 1.0 + 0x1p-23);
    EXPECT_EQ(sum(1.0, {0x1p-13, 0x1.cp-12}, {0x1p-13, 0x1p-12}), 1.0); // 2^-26 twice: exactly 1 + 2^-23
}

RC_GTEST_PROP(cut_off, lies_within_the_rule, (std::uint64_t seed)) {
    const attention_case c = case_of(*rc::gen::inRange<index_t>(1, 20), *rc::gen::inRange<index_t>(1, 100),
                                     *rc::gen::inRange<index_t>(1, 257));
    const dtype t = *rc::gen::element(dtype::fp16, dtype::bf16);
    const auto in = make_inputs(c, t, *any_data_kind(), seed);
    const forward_bounds bounds = bound_forward(c, in, t, t, p_rounding::none, score_sums::cut_off);
    for (index_t i = 0; i < c.q_len; ++i) {
        RC_ASSERT(std::abs(cut_off_lse(c, in, i) - bounds.lse.expected(0, 0, i)) <= bounds.lse.allowed(0, 0, i));
    }
}

/// a·b as the tf32 unit has it: high parts rounded to 11 significant bits, low parts cut to 11, the product of low parts left out.
double product_of_three(float a, float b) {
    const auto high = [](float x) {
        return __builtin_bit_cast(float, (__builtin_bit_cast(std::uint32_t, x) + 0x1000U) & 0xffffe000U);
    };
    const auto low = [&](float x) {
        return static_cast<double>(
            __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, x - high(x)) & 0xffffe000U));
    };
    return static_cast<double>(high(a)) * static_cast<double>(high(b)) + static_cast<double>(high(a)) * low(b) +
           low(a) * static_cast<double>(high(b));
}

// Each product is off by 8 units of its roundoff at most; 5 are four standard deviations.
TEST(three_tf32, products_are_as_exact_as_the_rule_takes_them_to_be) {
    std::mt19937 random(3);
    const auto mantissa = [&] { // every bit of it random
        return __builtin_bit_cast(float, 0x3f800000U | (static_cast<std::uint32_t>(random()) & 0x7fffffU));
    };
    constexpr int count = 200000;
    const double u = unit_roundoff(dtype::fp32);
    double worst = 0.0, squares = 0.0;
    for (int n = 0; n < count; ++n) {
        const float a = mantissa(), b = mantissa();
        const double exact = static_cast<double>(a) * static_cast<double>(b);
        const double off = (product_of_three(a, b) - exact) / exact / u;
        worst = std::max(worst, std::abs(off));
        squares += off * off;
    }
    EXPECT_LE(worst, 8.0);
    EXPECT_NEAR(4.0 * std::sqrt(squares / count), three_tf32_error, 0.3);
}

// Why the rule has a term of its own for them: errors of one sign do not average out over the keys of a row.
TEST(cut_off, is_more_than_rounding_allows) {
    const attention_case c = case_of(50, 100, 256);
    const auto in = make_inputs(c, dtype::fp16, data_kind::uniform, 1);
    const forward_bounds rounded = bound_forward(c, in, dtype::fp16, dtype::fp16);
    index_t beyond = 0;
    for (index_t i = 0; i < c.q_len; ++i) {
        const double lse = cut_off_lse(c, in, i);
        EXPECT_LT(lse, rounded.lse.expected(0, 0, i));
        beyond += rounded.lse.expected(0, 0, i) - lse > rounded.lse.allowed(0, 0, i) ? 1 : 0;
    }
    EXPECT_GT(beyond, 0);
}

} // namespace
} // namespace pantile::test
