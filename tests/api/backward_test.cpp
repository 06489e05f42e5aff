// Gradients of any problem, in any layout, plan, type, instruction set and thread count, within the error rule.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

void holds(const attention_case& c, const attention_inputs& in, const call_style& s) {
    const call_results r = call_attention(c, in, s, true);
    const backward_bounds bounds = bound_backward(c, r.inputs, s.type, s.out_type(), r.rounding);
    const verdict dq = within(r.dq, bounds.dq, "dq");
    const verdict dk = within(r.dk, bounds.dk, "dk");
    const verdict dv = within(r.dv, bounds.dv, "dv");
    RC_LOG() << dq.text << '\n' << dk.text << '\n' << dv.text << '\n';
    RC_ASSERT(dq.ok);
    RC_ASSERT(dk.ok);
    RC_ASSERT(dv.ok);
}

RC_GTEST_PROP(backward, is_the_answer_within_the_error_rule, (std::uint64_t seed)) {
    const attention_case c = *any_case();
    const call_style s = *any_style();
    holds(c, make_inputs(c, s.type, *any_data_kind(), seed), s);
}

RC_GTEST_PROP(backward, is_the_answer_on_larger_problems, (std::uint64_t seed)) {
    const attention_case c = *any_case({.batch = 1, .kv_heads = 2, .group = 2, .length = 400, .dim = 140});
    call_style s;
    s.type = *rc::gen::element(dtype::f32, dtype::f32, dtype::f16, dtype::bf16, dtype::f64);
    s.set = *rc::gen::elementOf(available_isas());
    holds(c, make_inputs(c, s.type, *any_data_kind(), seed), s);
}

/// accumulate adds to what was there, in every layout.
RC_GTEST_PROP(backward, accumulates_when_asked, (std::uint64_t seed)) {
    const attention_case c = *any_case({.batch = 2, .kv_heads = 2, .group = 2, .length = 40, .dim = 20});
    const attention_inputs in = make_inputs(c, dtype::f64, data_kind::normal, seed);
    call_style s;
    s.type = dtype::f64;
    s.set = *rc::gen::elementOf(available_isas());
    const call_results plain = call_attention(c, in, s, true);

    const layout l = *any_output_layout();
    const stored<double> q(in.q, layout::bhsd), k(in.k, layout::bhsd), v(in.v, layout::bhsd),
        dout(in.dout, layout::bhsd);
    const stored<double> out(plain.out, layout::bhsd), lse(plain.lse, layout::bhsd);
    stored<double> dq(in.q, l), dk(in.k, l), dv(in.v, l); // begin with other numbers
    options o = options_of(c, s);
    o.accumulate = true;
    attention_backward(q.view(), k.view(), v.view(), out.view(), lse.rows(), dout.view(), dq.view(), dk.view(),
                       dv.view(), o);
    const auto check = [](const stored<double>& sum, const tensor<double>& begin, const tensor<double>& gradient) {
        RC_ASSERT(sum.gaps_are_untouched());
        const tensor<double> values = sum.values();
        for (std::size_t n = 0; n < values.data.size(); ++n) {
            const double expected = begin.data[n] + gradient.data[n];
            RC_ASSERT(std::abs(values.data[n] - expected) <= 1e-12 * (1.0 + std::abs(gradient.data[n])));
        }
    };
    check(dq, in.q, plain.dq);
    check(dk, in.k, plain.dk);
    check(dv, in.v, plain.dv);
}

/// Gradients are the slopes of the forward call itself (fp64).
TEST(backward, agrees_with_finite_differences_of_the_forward_call) {
    attention_case c;
    c.q_heads = 2;
    c.q_len = 7;
    c.k_len = 9;
    c.head_dim = 5;
    c.value_dim = 3;
    c.scale = 0.4;
    c.right = 1;
    attention_inputs in = make_inputs(c, dtype::f64, data_kind::normal, 11);
    call_style s;
    s.type = dtype::f64;
    const call_results r = call_attention(c, in, s, true);
    const auto loss = [&] {
        const tensor<double> out = call_attention(c, in, s, false).out;
        double sum = 0.0;
        for (std::size_t n = 0; n < out.data.size(); ++n) sum += out.data[n] * in.dout.data[n];
        return sum;
    };
    const auto check = [&](tensor<double>& x, const tensor<double>& gradient) {
        for (std::size_t n = 0; n < x.data.size(); n += 4) {
            const double kept = x.data[n];
            x.data[n] = kept + 1e-5;
            const double up = loss();
            x.data[n] = kept - 1e-5;
            const double down = loss();
            x.data[n] = kept;
            EXPECT_NEAR((up - down) / 2e-5, gradient.data[n], 1e-8);
        }
    };
    check(in.q, r.dq);
    check(in.k, r.dk);
    check(in.v, r.dv);
}

} // namespace
} // namespace pantile::test
