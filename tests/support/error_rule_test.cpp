// The error rule itself: its numbers against ones worked out by hand, what it must refuse, and stores that cut off.
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <support/generators.hpp>

namespace pantile::test {
namespace {

using testing::HasSubstr;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr dtype all_types[] = {dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16};

TEST(error_rule, types_by_hand) {
    struct row {
        dtype type;
        const char* name;
        double roundoff, smallest, normal;
    };
    for (const row& r :
         {row{dtype::fp64, "f64", 0x1p-53, 0x1p-1074, 0x1p-1022}, row{dtype::fp32, "f32", 0x1p-24, 0x1p-149, 0x1p-126},
          row{dtype::fp16, "f16", 0x1p-11, 0x1p-24, 0x1p-14}, row{dtype::bf16, "bf16", 0x1p-8, 0x1p-133, 0x1p-126}}) {
        EXPECT_STREQ(name(r.type), r.name);
        EXPECT_EQ(unit_roundoff(r.type), r.roundoff) << r.name;
        EXPECT_EQ(smallest(r.type), r.smallest) << r.name;
        EXPECT_EQ(smallest_normal(r.type), r.normal) << r.name;
    }
    EXPECT_EQ(compute_dtype(dtype::fp64), dtype::fp64);
    for (const dtype t : {dtype::fp32, dtype::fp16, dtype::bf16}) EXPECT_EQ(compute_dtype(t), dtype::fp32);
}

/// To nearest, ties to even, in every type, on both sides of 0, among subnormals, and over the top.
TEST(error_rule, rounds_to_each_type) {
    for (const dtype t : {dtype::fp32, dtype::fp16, dtype::bf16}) {
        const double u = unit_roundoff(t);
        const double s = smallest(t);
        for (const double sign : {1.0, -1.0}) {
            EXPECT_EQ(rounded(sign * (1.0 + 2.0 * u), t), sign * (1.0 + 2.0 * u)) << name(t);
            EXPECT_EQ(rounded(sign * (1.0 + u), t), sign) << name(t);
            EXPECT_EQ(rounded(sign * (1.0 + 1.01 * u), t), sign * (1.0 + 2.0 * u)) << name(t);
            EXPECT_EQ(rounded(sign * (1.0 + 3.0 * u), t), sign * (1.0 + 4.0 * u)) << name(t);
            EXPECT_EQ(rounded(sign * (1.0 - 0.51 * u), t), sign * (1.0 - u)) << name(t);
            EXPECT_EQ(rounded(sign * s, t), sign * s) << name(t);
            EXPECT_EQ(rounded(sign * 0.75 * s, t), sign * s) << name(t);
            EXPECT_EQ(rounded(sign * 0.25 * s, t), 0.0) << name(t);
            EXPECT_EQ(rounded(sign * infinity, t), sign * infinity) << name(t);
        }
        EXPECT_TRUE(std::signbit(rounded(-0.0, t))) << name(t);
        EXPECT_TRUE(std::isnan(rounded(nan, t))) << name(t);
    }
    EXPECT_EQ(rounded(65519.0, dtype::fp16), 65504.0);
    EXPECT_EQ(rounded(65520.0, dtype::fp16), infinity);
    EXPECT_EQ(rounded(1e30, dtype::bf16), 0x1.94p99);
    EXPECT_EQ(rounded(1e39, dtype::fp32), infinity);
    EXPECT_EQ(rounded(0.1, dtype::fp64), 0.1);
    tensor<double> x({1, 1, 1, 2});
    x.data = {1.0 + 0x1p-11, 3.0};
    EXPECT_EQ(rounded(x, dtype::fp16).data, (std::vector<double>{1.0, 3.0}));
}

TEST(error_rule, half_steps_by_hand) {
    EXPECT_EQ(half_step(1.0, dtype::fp16), 0x1p-11);
    EXPECT_EQ(half_step(-1.9990234375, dtype::fp16), 0x1p-11);
    EXPECT_EQ(half_step(2.0, dtype::fp16), 0x1p-10);
    EXPECT_EQ(half_step(0.75, dtype::bf16), 0x1p-9);
    EXPECT_EQ(half_step(0x1p-14, dtype::fp16), 0x1p-25);
    EXPECT_EQ(half_step(0x1p-15, dtype::fp16), 0x1p-25); // subnormal
    EXPECT_EQ(half_step(0.0, dtype::bf16), 0x1p-134);
    EXPECT_EQ(half_step(8.0, dtype::fp32), 0x1p-21);
}

/// Rows (0, 0, 0) and (0, 0, 1) of two numbers, the second with twice the first's bound.
row_bounds two_rows() {
    row_bounds r{tensor<double>({1, 1, 2, 2}), tensor<double>({1, 1, 2, 1})};
    r.expected.data = {1.0, 2.0, -3.0, 4.0};
    r.allowed.data = {0.25, 0.5};
    return r;
}

TEST(error_rule, judges_each_element_by_its_row) {
    const row_bounds bounds = two_rows();
    const auto judged = [&](std::size_t place, double value) {
        tensor<double> x = bounds.expected;
        x.data[place] = value;
        return within(x, bounds, "x");
    };
    EXPECT_TRUE(within(bounds.expected, bounds, "x").ok);
    EXPECT_EQ(within(bounds.expected, bounds, "x").worst, 0.0);
    EXPECT_EQ(within(bounds.expected, bounds, "x").text, "");
    for (const std::size_t place : {0U, 1U, 2U, 3U}) {
        const double e = bounds.expected.data[place];
        const double allowed = place < 2 ? 0.25 : 0.5;
        for (const double sign : {1.0, -1.0}) {
            EXPECT_TRUE(judged(place, e + sign * allowed).ok) << place;
            EXPECT_EQ(judged(place, e + sign * allowed).worst, 1.0) << place;
            EXPECT_FALSE(judged(place, e + sign * (allowed + 1e-9)).ok) << place;
            EXPECT_EQ(judged(place, e + sign * 3.0 * allowed).worst, 3.0) << place;
        }
        for (const double bad : {nan, infinity, -infinity}) {
            EXPECT_FALSE(judged(place, bad).ok) << place << ' ' << bad;
            EXPECT_EQ(judged(place, bad).worst, infinity) << place << ' ' << bad;
        }
    }
    EXPECT_EQ(judged(3, 5.0).text, "x(0, 0, 1, 1) is 5, expected 4, off by 1, allowed 0.5");
    EXPECT_THAT(judged(0, nan).text, HasSubstr("x(0, 0, 0, 0) is nan, expected 1"));
    EXPECT_TRUE(static_cast<bool>(judged(0, 1.1)));
    EXPECT_FALSE(static_cast<bool>(judged(0, 1.5)));

    tensor<double> two_wrong = bounds.expected; // the worst speaks, not the first or the last
    two_wrong.data = {1.5, 2.0, -3.0, 4.75};
    EXPECT_EQ(within(two_wrong, bounds, "x").worst, 2.0);
    EXPECT_THAT(within(two_wrong, bounds, "x").text, HasSubstr("x(0, 0, 0, 0)"));
}

/// What is not finite must be there exactly, and nowhere else.
TEST(error_rule, holds_nan_and_infinity_in_their_places) {
    row_bounds bounds = two_rows();
    for (const double expected : {nan, infinity, -infinity}) {
        bounds.expected.data[1] = expected;
        for (const double actual : {nan, infinity, -infinity, 0.0, 2.0}) {
            tensor<double> x = bounds.expected;
            x.data[1] = actual;
            const bool same = actual == expected || (std::isnan(actual) && std::isnan(expected));
            EXPECT_EQ(within(x, bounds, "x").ok, same) << expected << " and " << actual;
        }
    }
}

/// A bound that is no number, or that allows anything, allows nothing.
TEST(error_rule, bounds_that_are_no_numbers_allow_nothing) {
    for (const double allowed : {nan, infinity, 0.0, -1.0}) {
        row_bounds bounds = two_rows();
        bounds.allowed.data[0] = allowed;
        EXPECT_TRUE(within(bounds.expected, bounds, "x").ok);
        tensor<double> x = bounds.expected;
        x.data[1] += 1e-9;
        EXPECT_FALSE(within(x, bounds, "x").ok) << allowed;
    }
}

TEST(error_rule, zeros_of_both_signs_are_equal) {
    row_bounds bounds = two_rows();
    bounds.expected.data[0] = 0.0;
    bounds.allowed.data[0] = 0.0;
    tensor<double> x = bounds.expected;
    x.data[0] = -0.0;
    EXPECT_TRUE(within(x, bounds, "x").ok);
}

TEST(error_rule, refuses_other_shapes) {
    const row_bounds bounds = two_rows();
    for (const extents& e : {extents{1, 1, 2, 1}, extents{1, 1, 1, 2}, extents{1, 2, 1, 2}, extents{2, 1, 1, 2},
                             extents{1, 1, 2, 3}, extents{0, 1, 2, 2}, extents{1, 1, 4, 1}}) {
        const verdict v = within(tensor<double>(e, 1.0), bounds, "x");
        EXPECT_FALSE(v.ok);
        EXPECT_EQ(v.worst, infinity);
        EXPECT_EQ(v.text, "x has the wrong shape");
    }
    const row_bounds none{tensor<double>({1, 1, 0, 2}), tensor<double>({1, 1, 0, 1})};
    EXPECT_TRUE(within(tensor<double>({1, 1, 0, 2}), none, "x").ok);
}

TEST(error_rule, a_forward_call_is_right_if_both_results_are) {
    forward_bounds f{two_rows(), two_rows()};
    f.lse.expected = tensor<double>({1, 1, 2, 1}, 7.0);
    tensor<double> out = f.out.expected;
    tensor<double> lse = f.lse.expected;
    EXPECT_TRUE(within(out, lse, f).ok);
    out.data[3] += 1.0; // twice what is allowed
    EXPECT_FALSE(within(out, lse, f).ok);
    EXPECT_EQ(within(out, lse, f).worst, 2.0);
    lse.data[0] += 1.0; // four times
    EXPECT_EQ(within(out, lse, f).worst, 4.0);
    EXPECT_THAT(within(out, lse, f).text, HasSubstr("out(0, 0, 1, 1)"));
    EXPECT_THAT(within(out, lse, f).text, HasSubstr("lse(0, 0, 0, 0)"));
    out = f.out.expected;
    EXPECT_FALSE(within(out, lse, f).ok);
}

/// sum(n, s, squares) of docs/numerics.md.
double sum(double n, double s, double squares) { return 2.0 * std::sqrt(n * (s * s / 3.0 + squares / 2.0)); }

attention_case with_keys(index_t n) {
    attention_case c;
    c.k_len = n;
    return c;
}

/// One row of head dim 1 and its keys; value dim 1.
attention_inputs numbers(double q, std::vector<double> k, std::vector<double> v, double dout) {
    const auto n = static_cast<index_t>(k.size());
    attention_inputs in{tensor<double>({1, 1, 1, 1}, q), tensor<double>({1, 1, n, 1}), tensor<double>({1, 1, n, 1}),
                        tensor<double>({1, 1, 1, 1}, dout)};
    in.k.data = std::move(k);
    in.v.data = std::move(v);
    return in;
}

/// One key, where nothing is rounded by the plain formula: every term of the bounds in closed form.
TEST(error_rule, one_key_by_hand) {
    attention_case c;
    c.scale = 0.5;
    const auto in = numbers(2.0, {3.0}, {5.0}, 7.0); // score 6, logit and lse 3, P 1, out 5, dP 35, dS 0
    const double rho = sum(1, 3, 9) + 2.0 * 3.0 + 2.0 * 3.0 + 4.0;
    for (const dtype t : {dtype::fp32, dtype::fp64}) {
        const double u = unit_roundoff(t);
        const forward_bounds f = bound_forward(c, in, t, t);
        const double out = 4.0 * 5.0 + 5.0 * sum(1, 1, 1) + sum(1, 5, 25);
        const double lse = 4.0 * (1.0 + 3.0) + rho + sum(1, 1, 1) + 2.0 * 3.0;
        EXPECT_NEAR(f.out.allowed(0, 0, 0) / u, out, 1e-9) << name(t);
        EXPECT_NEAR(f.lse.allowed(0, 0, 0) / u, lse, 1e-9) << name(t);
        EXPECT_TRUE(f.out.computed.empty());

        const backward_bounds g = bound_backward(c, in, t, t);
        const double delta_error = 2.0 * 35.0 + out * 7.0;
        const double by_dp = 0.5 * (sum(1, 35, 35.0 * 35.0) + 2.0 * 35.0);
        EXPECT_NEAR(g.dq.allowed(0, 0, 0) / u, (by_dp + 0.5 * delta_error) * 3.0, 1e-8) << name(t);
        EXPECT_NEAR(g.dk.allowed(0, 0, 0) / u, (by_dp + 0.5 * delta_error) * 2.0, 1e-8) << name(t);
        const double dv = rho * 7.0 + 2.0 * 3.0 * 7.0 + (2.0 * 3.0 + lse) * 7.0 + sum(1, 7, 49) + 2.0 * 7.0;
        EXPECT_NEAR(g.dv.allowed(0, 0, 0) / u, dv, 1e-8) << name(t);
    }
    // Sums that are cut off add half a step of 16 products times their sizes, to lse alone.
    const double u = unit_roundoff(dtype::fp32);
    const forward_bounds rounds = bound_forward(c, in, dtype::bf16, dtype::bf16);
    const forward_bounds cuts = bound_forward(c, in, dtype::bf16, dtype::bf16, p_rounding::none, score_sums::cut_off);
    EXPECT_NEAR((cuts.lse.allowed(0, 0, 0) - rounds.lse.allowed(0, 0, 0)) / u, 0.5 * (3.0 + 3.0), 1e-9);
    EXPECT_EQ(cuts.out.allowed(0, 0, 0), rounds.out.allowed(0, 0, 0));
}

/// Two keys, whose errors meet in a norm, and a common error that does not: probabilities 1/(1+e) and e/(1+e).
TEST(error_rule, two_keys_by_hand) {
    const double e = std::exp(1.0);
    const double p[] = {1.0 / (1.0 + e), e / (1.0 + e)};
    const auto in = numbers(1.0, {0.0, 1.0}, {8.0, -3.0}, 1.0);
    const double o = 8.0 * p[0] - 3.0 * p[1];
    const double rho[] = {4.0, sum(1, 1, 1) + 2.0 + 2.0 + 4.0};
    const double u = unit_roundoff(dtype::fp32);
    const double p2 = p[0] * p[0] + p[1] * p[1];
    const double pv2 = std::pow(8.0 * p[0], 2) + std::pow(3.0 * p[1], 2);
    const double noise = std::hypot(p[0] * rho[0] * (8.0 - o), p[1] * rho[1] * (-3.0 - o)) +
                         std::abs(o) * sum(2, 1, p2) + sum(2, o, pv2);
    const double drift = std::abs(p[1] * (-3.0 - o));
    const double plain = std::abs(static_cast<double>(plain_forward<float>(with_keys(2), in).out(0, 0, 0, 0)) - o);
    const double allowed = bound_forward(with_keys(2), in, dtype::fp32, dtype::fp32).out.allowed(0, 0, 0);
    EXPECT_NEAR((allowed - 2.0 * plain) / u, 4.0 * 8.0 + noise + 2.0 * drift, 1e-6);

    const double lse = std::log(1.0 + e);
    const double plain_lse = std::abs(static_cast<double>(plain_forward<float>(with_keys(2), in).lse(0, 0, 0)) - lse);
    const double lse_allowed = bound_forward(with_keys(2), in, dtype::fp32, dtype::fp32).lse.allowed(0, 0, 0);
    EXPECT_NEAR((lse_allowed - 2.0 * plain_lse) / u,
                4.0 * (1.0 + lse) + std::hypot(p[0] * rho[0], p[1] * rho[1]) + sum(2, 1, p2) + 2.0 * p[1], 1e-6);

    // P rounded to 16 bits: 2.5 of its roundoffs of the norm of P·v.
    for (const auto& [how, type] :
         {std::pair(p_rounding::to_float16, dtype::fp16), std::pair(p_rounding::to_bfloat16, dtype::bf16)}) {
        const double off =
            std::abs(static_cast<double>(plain_forward<float>(with_keys(2), in, how).out(0, 0, 0, 0)) - o);
        const double more = bound_forward(with_keys(2), in, dtype::fp32, dtype::fp32, how).out.allowed(0, 0, 0);
        EXPECT_NEAR((more - 2.0 * off) / u,
                    4.0 * 8.0 + noise + 2.0 * drift + 2.5 * unit_roundoff(type) / u * std::sqrt(pv2), 1e-6);
    }
}

/// A sum over keys loses no more digits after 128 of them.
TEST(error_rule, long_sums_by_hand) {
    const index_t n = 1000;
    std::vector<double> keys;
    for (index_t j = 0; j < n; ++j) keys.push_back(static_cast<double>(j)); // no two alike
    const auto in = numbers(0.0, keys, std::vector<double>(keys.size(), 1.0), 1.0);
    const double u = unit_roundoff(dtype::fp32);
    const double plain = std::abs(static_cast<double>(plain_forward<float>(with_keys(n), in).out(0, 0, 0, 0)) - 1.0);
    const double allowed = bound_forward(with_keys(n), in, dtype::fp32, dtype::fp32).out.allowed(0, 0, 0);
    EXPECT_NEAR((allowed - 2.0 * plain) / u, 4.0 + 2.0 * sum(128, 1, 1e-3), 1e-6);
}

/// 64 products that are all one number; then half of them 0, which no sum notices; then 16 numbers.
TEST(error_rule, repeated_products_by_hand) {
    attention_case c;
    c.head_dim = 64;
    c.scale = 1.0 / 64.0;
    attention_inputs in{tensor<double>(c.q_extent(), 1.0), tensor<double>(c.k_extent(), 1.0),
                        tensor<double>(c.v_extent(), 1.0), tensor<double>(c.out_extent(), 1.0)};
    const double u = unit_roundoff(dtype::fp32);
    const auto lse = [&](score_sums sums) {
        return bound_forward(c, in, dtype::fp32, dtype::fp32, p_rounding::none, sums).lse.allowed(0, 0, 0) / u;
    };
    const double one = sum(64, 1, 1.0 / 64.0) * std::sqrt(64.0) / 3.0 + 2.0 + 2.0 + 4.0;
    EXPECT_NEAR(lse(score_sums::rounded), 4.0 * 2.0 + one + sum(1, 1, 1) + 2.0, 1e-6);
    EXPECT_NEAR(lse(score_sums::cut_off) - lse(score_sums::rounded), 0.5 * 4.0 * (1.0 + 0.125),
                1e-6); // four steps of 16
    // Products of three: each off by 5 units of its own, all alike as the products are; in lse, and in out by way of P·V.
    const double split = std::hypot(sum(64, 1, 1.0 / 64.0), 5.0 / 8.0) * std::sqrt(64.0) / 3.0 + 2.0 + 2.0 + 4.0;
    EXPECT_NEAR(lse(score_sums::three_tf32), 4.0 * 2.0 + split + sum(1, 1, 1) + 2.0, 1e-6);
    const auto out = [&](score_sums sums) {
        return bound_forward(c, in, dtype::fp32, dtype::fp32, p_rounding::none, sums).out.allowed(0, 0, 0) / u;
    };
    EXPECT_NEAR(out(score_sums::three_tf32) - out(score_sums::rounded), std::hypot(sum(1, 1, 1), 5.0) - sum(1, 1, 1),
                1e-6);
    for (index_t x = 0; x < 32; ++x) in.k(0, 0, 0, x) = 0.0;
    const double half = sum(64, 0.5, 32.0 / 4096.0) * std::sqrt(64.0) / 3.0 + 1.0 + 1.0 + 4.0;
    EXPECT_NEAR(lse(score_sums::rounded), 4.0 * 1.5 + half + sum(1, 1, 1) + 1.0, 1e-6);
    for (index_t x = 0; x < 64; ++x) in.q(0, 0, 0, x) = static_cast<double>(x % 16 + 1); // 16 numbers, four times each
    const double many = sum(64, 4.25, 2992.0 / 4096.0) * 2.0 + 8.5 + 8.5 + 4.0;
    EXPECT_NEAR(lse(score_sums::rounded), 4.0 * 5.25 + many + sum(1, 1, 1) + 8.5, 1e-6);
}

/// A row of zeros may be off by two of the type's smallest numbers, no more.
TEST(error_rule, zeros_are_exact_but_for_the_smallest_numbers) {
    for (const dtype t : {dtype::fp16, dtype::bf16}) {
        const double allowed = bound_forward({}, numbers(1.0, {1.0}, {0.0}, 1.0), t, t).out.allowed(0, 0, 0);
        EXPECT_GE(allowed, 2.0 * smallest(t)) << name(t);
        EXPECT_LE(allowed, 2.0 * smallest(t) + 2.0 * smallest_normal(dtype::fp32)) << name(t);
    }
}

/// Each batch and head is judged by its own numbers, and fp64 by wider ones than its own.
TEST(error_rule, batches_and_heads_are_judged_apart) {
    attention_case c;
    c.batch = c.q_heads = c.kv_heads = 2;
    c.q_len = 5;
    c.k_len = 9;
    c.head_dim = c.value_dim = 4;
    const auto in = make_inputs(c, dtype::fp32, data_kind::normal, 3);
    const forward_bounds all = bound_forward(c, in, dtype::fp32, dtype::fp32);
    const backward_bounds gradients = bound_backward(c, in, dtype::fp32, dtype::fp32);
    attention_case alone = c;
    alone.batch = alone.q_heads = alone.kv_heads = 1;
    for (index_t b = 0; b < 2; ++b) {
        for (index_t h = 0; h < 2; ++h) {
            const auto part = [&](const tensor<double>& from) {
                tensor<double> t({1, 1, from.extent[2], from.extent[3]});
                t.for_each([&](index_t, index_t, index_t i, index_t x) { t(0, 0, i, x) = from(b, h, i, x); });
                return t;
            };
            const attention_inputs one{part(in.q), part(in.k), part(in.v), part(in.dout)};
            const forward_bounds f = bound_forward(alone, one, dtype::fp32, dtype::fp32);
            EXPECT_EQ(part(all.out.allowed).data, f.out.allowed.data);
            EXPECT_EQ(part(all.lse.allowed).data, f.lse.allowed.data);
            EXPECT_EQ(part(all.out.expected).data, f.out.expected.data);
            EXPECT_EQ(part(all.lse.expected).data, f.lse.expected.data);
            const backward_bounds g = bound_backward(alone, one, dtype::fp32, dtype::fp32);
            EXPECT_EQ(part(gradients.dq.expected).data, g.dq.expected.data);
            EXPECT_EQ(part(gradients.dk.expected).data, g.dk.expected.data);
            EXPECT_EQ(part(gradients.dv.expected).data, g.dv.expected.data);
        }
    }
    EXPECT_NE(bound_forward(c, in, dtype::fp64, dtype::fp64).out.expected.data, plain_forward<double>(c, in).out.data);
    EXPECT_NE(bound_backward(c, in, dtype::fp64, dtype::fp64).dq.expected.data, plain_backward<double>(c, in).dq.data);
}

/// Hidden keys allow nothing, however large their values; a row that sees none is 0 to the last bit but for the underflow.
TEST(error_rule, hidden_keys_allow_nothing) {
    attention_case c;
    c.k_len = 2;
    c.key_lengths = {1};
    const auto small = bound_forward(c, numbers(1.0, {1.0, 1.0}, {2.0, 3.0}, 1.0), dtype::fp32, dtype::fp32);
    const auto large = bound_forward(c, numbers(1.0, {1.0, 9.0}, {2.0, 3e9}, 1.0), dtype::fp32, dtype::fp32);
    EXPECT_EQ(small.out.allowed.data, large.out.allowed.data);
    EXPECT_EQ(small.lse.allowed.data, large.lse.allowed.data);
    c.key_lengths = {0};
    const auto none = bound_forward(c, numbers(1.0, {1.0, 9.0}, {2.0, 3e9}, 1.0), dtype::fp32, dtype::fp32);
    EXPECT_LT(none.out.allowed(0, 0, 0), 1e-36);
    EXPECT_EQ(none.lse.expected(0, 0, 0), -infinity);
}

/// x in type t as a store leaves it that cuts off: the next number towards zero, or away from it.
double cut(double x, dtype t, bool towards_zero) {
    double r = rounded(x, t);
    if (r == x || (std::abs(r) < std::abs(x)) == towards_zero) return r;
    const double step = 2.0 * half_step(towards_zero ? r * (1.0 - 0x1p-12) : r, t);
    return r - std::copysign(step, x) * (towards_zero ? 1.0 : -1.0);
}
tensor<double> cut(tensor<double> x, dtype t, bool towards_zero = true) {
    for (double& value : x.data) value = cut(value, t, towards_zero);
    return x;
}

TEST(error_rule, cuts_by_hand) {
    EXPECT_EQ(cut(1.0 + 0x1.8p-10, dtype::fp16, true), 1.0 + 0x1p-10);
    EXPECT_EQ(cut(-1.0 - 0x1.8p-10, dtype::fp16, true), -1.0 - 0x1p-10);
    EXPECT_EQ(cut(2.0 - 0x1p-20, dtype::fp16, true), 2.0 - 0x1p-10);
    EXPECT_EQ(cut(1.0 + 0x1p-20, dtype::bf16, false), 1.0 + 0x1p-7);
    EXPECT_EQ(cut(1.5, dtype::bf16, true), 1.5);
}

/// Results of 16 bits are computed in fp32 and rounded once, to nearest. A store that cuts off is within one unit in the last
/// place, and refused nevertheless, whatever the row. (dQ and dK carry the rounding of out besides, by way of
/// delta, which is as large.)
TEST(error_rule, refuses_stores_that_cut_off) {
    attention_case c;
    c.q_heads = 2;
    c.q_len = 20;
    c.k_len = 50;
    c.head_dim = c.value_dim = 32;
    c.scale = 0.2;
    for (const dtype t : {dtype::fp16, dtype::bf16}) {
        for (const data_kind kind : {data_kind::normal, data_kind::uniform, data_kind::zeros}) {
            const auto in = make_inputs(c, t, kind, 7);
            const forward_bounds f = bound_forward(c, in, t, t);
            const backward_bounds g = bound_backward(c, in, t, t);
            for (const auto& [what, bounds] : {std::pair("out", &f.out), std::pair("dv", &g.dv)}) {
                const std::string where = std::string(what) + ", " + name(t) + ", " + name(kind);
                EXPECT_TRUE(within(rounded(bounds->expected, t), *bounds, what).ok) << where;
                EXPECT_FALSE(within(cut(bounds->expected, t), *bounds, what).ok) << where;
                EXPECT_FALSE(within(cut(bounds->expected, t, false), *bounds, what).ok) << where;
            }
            // Row by row, of out: each has elements that lie nearly a unit away.
            const tensor<double> stored = cut(f.out.expected, t);
            for (index_t i = 0; i < c.q_len; ++i) {
                tensor<double> one = rounded(f.out.expected, t);
                for (index_t x = 0; x < c.value_dim; ++x) one(0, 1, i, x) = stored(0, 1, i, x);
                EXPECT_FALSE(within(one, f.out, "out").ok) << name(t) << " row " << i;
            }
        }
    }
}

/// fp32 results of 16-bit inputs, and results of kernels that round P as well, have one bound a row.
TEST(error_rule, stores_are_judged_where_they_shorten) {
    const auto in = numbers(1.0, {0.0, 1.0}, {8.0, -3.0}, 1.0);
    const attention_case c = with_keys(2);
    for (const dtype t : all_types) {
        const bool shortens = t == dtype::fp16 || t == dtype::bf16;
        EXPECT_EQ(bound_forward(c, in, t, t).out.computed.empty(), !shortens) << name(t);
        EXPECT_EQ(bound_backward(c, in, t, t).dv.computed.empty(), !shortens) << name(t);
        EXPECT_TRUE(bound_forward(c, in, t, compute_dtype(t)).out.computed.empty()) << name(t);
        EXPECT_TRUE(bound_backward(c, in, t, compute_dtype(t)).dv.computed.empty()) << name(t);
        EXPECT_TRUE(bound_forward(c, in, t, t).lse.computed.empty()) << name(t);
        EXPECT_TRUE(bound_forward(c, in, t, t, p_rounding::to_bfloat16).out.computed.empty()) << name(t);
    }
    // What is computed is held to fp32's bound.
    const forward_bounds narrow = bound_forward(c, in, dtype::bf16, dtype::bf16);
    const forward_bounds wide = bound_forward(c, in, dtype::bf16, dtype::fp32);
    EXPECT_EQ(narrow.out.stored_as, dtype::bf16);
    EXPECT_DOUBLE_EQ(narrow.out.computed(0, 0, 0), wide.out.allowed(0, 0, 0));
    const backward_bounds g = bound_backward(c, in, dtype::bf16, dtype::bf16);
    const backward_bounds wide_g = bound_backward(c, in, dtype::bf16, dtype::fp32);
    EXPECT_DOUBLE_EQ(g.dq.computed(0, 0, 0), wide_g.dq.allowed(0, 0, 0));
    EXPECT_DOUBLE_EQ(g.dv.computed(0, 0, 1), wide_g.dv.allowed(0, 0, 1));
}

} // namespace
} // namespace pantile::test
