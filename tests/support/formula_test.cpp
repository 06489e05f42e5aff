// The reference itself: against hand-computed values, finite differences, and the error rule's power to refuse.
#include <cmath>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <support/formula.hpp>
#include <support/generators.hpp>

namespace pantile::test {
namespace {

TEST(formula, two_keys_by_hand) {
    attention_case c;
    c.k_len = 2;
    attention_inputs in{tensor<double>(c.q_extent(), 1.0), tensor<double>(c.k_extent()), tensor<double>(c.v_extent()),
                        tensor<double>(c.out_extent(), 1.0)};
    in.k(0, 0, 1, 0) = std::log(3.0); // probabilities 1/4, 3/4
    in.v(0, 0, 0, 0) = 4.0;
    in.v(0, 0, 1, 0) = 8.0;
    const auto r = plain_forward<double>(c, in);
    EXPECT_NEAR(r.out(0, 0, 0, 0), 7.0, 1e-15);
    EXPECT_NEAR(r.lse(0, 0, 0), std::log(4.0), 1e-15);
    const auto g = plain_backward<double>(c, in);
    EXPECT_NEAR(g.dv(0, 0, 0, 0), 0.25, 1e-15);
    EXPECT_NEAR(g.dv(0, 0, 1, 0), 0.75, 1e-15);
    EXPECT_NEAR(g.dk(0, 0, 1, 0), 0.75 * (8.0 - 7.0), 1e-15);
    EXPECT_NEAR(g.dq(0, 0, 0, 0), 0.75 * (8.0 - 7.0) * std::log(3.0), 1e-15);
}

TEST(formula, masks_by_hand) {
    attention_case c;
    c.q_len = 3;
    c.k_len = 5;
    c.left = 1;
    c.right = 0; // bottom-right: row i stands at key i + 2
    const auto sees = [&](index_t i) {
        std::string s;
        for (index_t j = 0; j < c.k_len; ++j) s += c.visible(0, 0, i, j) ? 'x' : '.';
        return s;
    };
    EXPECT_EQ(sees(0), ".xx..");
    EXPECT_EQ(sees(2), "...xx");
    c.align = anchor::top_left;
    EXPECT_EQ(sees(0), "x....");
    EXPECT_EQ(sees(2), ".xx..");
    c.align = anchor::bottom_right;
    c.key_lengths = {3};
    EXPECT_EQ(sees(0), "x....");
    EXPECT_EQ(sees(2), ".xx..");
}

TEST(formula, a_row_without_keys_is_zero) {
    attention_case c;
    c.q_len = 2;
    c.k_len = 1;
    c.right = 0; // row 0 stands at key -1
    const auto in = make_inputs(c, dtype::fp64, data_kind::normal, 1);
    EXPECT_EQ(plain_forward<double>(c, in).out(0, 0, 0, 0), 0.0);
    EXPECT_EQ(plain_forward<double>(c, in).lse(0, 0, 0), -HUGE_VAL);
    EXPECT_EQ(plain_backward<double>(c, in).dq(0, 0, 0, 0), 0.0);
    c.sinks = {0.25};
    EXPECT_EQ(plain_forward<double>(c, in).lse(0, 0, 0), 0.25);
}

/// The loss whose gradient with respect to out is dout.
double loss(const attention_case& c, const attention_inputs& in) {
    const auto r = plain_forward<double>(c, in);
    double sum = 0.0;
    for (std::size_t n = 0; n < r.out.data.size(); ++n) sum += r.out.data[n] * in.dout.data[n];
    return sum;
}

void expect_slope(const attention_case& c, const attention_inputs& in, double& x, double expected) {
    const double kept = x;
    const double step = 1e-5;
    x = kept + step;
    const double up = loss(c, in);
    x = kept - step;
    const double down = loss(c, in);
    x = kept;
    RC_ASSERT(std::abs((up - down) / (2.0 * step) - expected) < 1e-6 * (1.0 + std::abs(expected)));
}

RC_GTEST_PROP(formula, gradients_are_the_slopes_of_the_forward_pass, ()) {
    attention_case c =
        *any_case_with_features({.batch = 2, .kv_heads = 2, .group = 2, .length = 8, .dim = 5, .empty = false});
    attention_inputs in = make_inputs(c, dtype::fp64, data_kind::normal, *rc::gen::inRange<std::uint64_t>(0, 1000));
    const auto g = plain_backward<double>(c, in);
    const auto check_one = [&](tensor<double>& values, const tensor<double>& slopes) {
        const std::size_t n = *rc::gen::inRange<std::size_t>(0, values.data.size());
        if (std::isfinite(values.data[n])) expect_slope(c, in, values.data[n], slopes.data[n]);
    };
    check_one(in.q, g.dq);
    check_one(in.k, g.dk);
    check_one(in.v, g.dv);
    if (!c.bias.empty()) check_one(c.bias, g.dbias);
    if (!c.sinks.empty()) expect_slope(c, in, c.sinks[0], g.dsinks[0]);
    if (!c.slopes.empty()) expect_slope(c, in, c.slopes.back(), g.dslopes.back());
}

RC_GTEST_PROP(error_rule, accepts_the_plain_formula, (std::uint64_t seed)) {
    const attention_case c = *any_case();
    const dtype t = *rc::gen::element(dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16);
    const auto in = make_inputs(c, t, *any_data_kind(), seed);
    const forward_bounds f = bound_forward(c, in, t, t);
    const backward_bounds g = bound_backward(c, in, t, compute_dtype(t));
    const bool wide = t == dtype::fp64;
    const auto plain_out = wide ? plain_forward<double>(c, in).out : converted<double>(plain_forward<float>(c, in).out);
    const auto plain_dk = wide ? plain_backward<double>(c, in).dk : converted<double>(plain_backward<float>(c, in).dk);
    const verdict out = within(rounded(plain_out, t), f.out, "out");
    const verdict dk = within(plain_dk, g.dk, "dk");
    RC_LOG() << out.text << '\n' << dk.text;
    RC_ASSERT(out.ok);
    RC_ASSERT(dk.ok);
}

/// The rule refuses what a careless kernel would give: the errors are a few dozen roundoffs of the row.
TEST(error_rule, refuses_small_errors) {
    attention_case c;
    c.q_len = 20;
    c.k_len = 200;
    c.head_dim = c.value_dim = 64;
    c.scale = 0.125;
    const auto in = make_inputs(c, dtype::fp32, data_kind::normal, 3);
    const forward_bounds f = bound_forward(c, in, dtype::fp32, dtype::fp32);
    tensor<double> out = f.out.expected;
    EXPECT_TRUE(within(out, f.out, "out").ok);
    out(0, 0, 7, 13) += 64.0 * 0x1p-24;
    EXPECT_FALSE(within(out, f.out, "out").ok);
    EXPECT_NE(within(out, f.out, "out").text.find("out(0, 0, 7, 13)"), std::string::npos);
    out(0, 0, 7, 13) = NAN;
    EXPECT_FALSE(within(out, f.out, "out").ok);

    // One key of 200 left out, P rounded to bfloat16, tanh missing: each is far outside.
    attention_case shorter = c;
    shorter.key_lengths = {199};
    shorter.align = anchor::top_left;
    EXPECT_FALSE(within(plain_forward<double>(shorter, in).out, f.out, "out").ok);
    EXPECT_FALSE(within(converted<double>(plain_forward<float>(c, in, p_rounding::to_bfloat16).out), f.out, "out").ok);
    const backward_bounds g = bound_backward(c, in, dtype::fp32, dtype::fp32);
    EXPECT_FALSE(within(plain_backward<double>(shorter, in).dq, g.dq, "dq").ok);
    EXPECT_FALSE(within(plain_backward<double>(shorter, in).dk, g.dk, "dk").ok);
    EXPECT_FALSE(within(plain_backward<double>(shorter, in).dv, g.dv, "dv").ok);
}

RC_GTEST_PROP(stored_tensors, hold_their_values_in_every_layout, (std::uint64_t seed)) {
    const attention_case c = *any_case({.length = 9, .dim = 7});
    const auto in = make_inputs(c, dtype::fp16, data_kind::normal, seed);
    for (const layout l : output_layouts) {
        const stored<float16> s(in.q, l);
        RC_ASSERT(s.values().data == in.q.data);
        RC_ASSERT(s.gaps_are_untouched());
    }
}

} // namespace
} // namespace pantile::test
