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
    for (const auto& [actual, allowed, what] :
         {std::tuple(&r.dslopes, &bounds.dslopes, "dslopes"), {&r.dsinks, &bounds.dsinks, "dsinks"}}) {
        if (actual->empty()) continue;
        const verdict v = within(*actual, *allowed, what);
        RC_LOG() << v.text << '\n';
        RC_ASSERT(v.ok);
    }
}

RC_GTEST_PROP(backward, is_the_answer_within_the_error_rule, (std::uint64_t seed)) {
    const attention_case c = *any_served_case();
    const call_style s = *any_style();
    holds(c, make_inputs(c, s.type, *any_data_kind(), seed), s);
}

RC_GTEST_PROP(backward, is_the_answer_on_larger_problems, (std::uint64_t seed)) {
    const attention_case c = *any_served_case({.batch = 1, .kv_heads = 2, .group = 2, .length = 400, .dim = 140});
    call_style s;
    s.type = *rc::gen::element(dtype::fp32, dtype::fp32, dtype::fp16, dtype::bf16, dtype::fp64);
    s.set = *rc::gen::elementOf(available_isas());
    holds(c, make_inputs(c, s.type, *any_data_kind(), seed), s);
}

/// Gradients added to other numbers: each is the sum, rounded to its type once.
template <class In, class Grad>
void accumulates(const attention_case& c, const attention_inputs& in, const call_style& s, std::uint64_t seed) {
    using stat = std::conditional_t<std::is_same_v<In, double>, double, float>;
    const call_results plain = call_attention(c, in, s, true);
    const attention_inputs begin = make_inputs(c, s.out_type(), data_kind::normal, seed + 1);
    const stored<In> q(in.q, s.q), k(in.k, s.k), v(in.v, s.v), dout(in.dout, s.dout), out(plain.out, layout::bhsd);
    const stored<stat> lse(plain.lse, layout::bhsd);
    stored<Grad> dq(begin.q, s.out), dk(begin.k, s.dk), dv(begin.v, s.dk);
    options o = options_of(c, s);
    o.accumulate = true;
    attention_backward(q.view(), k.view(), v.view(), out.view(), lse.rows(), dout.view(), dq.view(), dk.view(),
                       dv.view(), o);
    const double u = unit_roundoff(s.out_type());
    const auto check = [&](const stored<Grad>& sum, const tensor<double>& before, const tensor<double>& gradient) {
        RC_ASSERT(sum.gaps_are_untouched());
        const tensor<double> values = sum.values();
        for (std::size_t n = 0; n < values.data.size(); ++n) {
            const double expected = before.data[n] + gradient.data[n]; // of which the second was rounded, too
            const double size = std::abs(before.data[n]) + std::abs(gradient.data[n]);
            RC_ASSERT(std::abs(values.data[n] - expected) <= 2.1 * u * size + smallest(s.out_type()));
        }
    };
    check(dq, begin.q, plain.dq);
    check(dk, begin.k, plain.dk);
    check(dv, begin.v, plain.dv);
}

/// accumulate adds to what was there: in every layout, type and plan, with keys in one chunk or several.
RC_GTEST_PROP(backward, accumulates_when_asked, (std::uint64_t seed)) {
    const attention_case c = *any_served_case({.batch = 2, .kv_heads = 2, .group = 2, .length = 40, .dim = 20});
    call_style s = *any_style();
    s.q = s.k = s.v = s.dout = layout::bhsd; // no broadcast: the numbers are the same in every layout
    const attention_inputs in = make_inputs(c, s.type, data_kind::normal, seed);
    switch (s.type) {
    case dtype::fp64:
        return accumulates<double, double>(c, in, s, seed);
    case dtype::fp32:
        return accumulates<float, float>(c, in, s, seed);
    case dtype::fp16:
        return s.wide_out ? accumulates<float16, float>(c, in, s, seed) : accumulates<float16, float16>(c, in, s, seed);
    case dtype::bf16:
        return s.wide_out ? accumulates<bfloat16, float>(c, in, s, seed)
                          : accumulates<bfloat16, bfloat16>(c, in, s, seed);
    case dtype::fp8:
        break;
    }
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
    c.softcap = 2.0;
    c.slopes = {0.25, -0.125};
    c.sinks = {0.5, -1.0};
    attention_inputs in = make_inputs(c, dtype::fp64, data_kind::normal, 11);
    call_style s;
    s.type = dtype::fp64;
    const call_results r = call_attention(c, in, s, true);
    const auto loss = [&] {
        const tensor<double> out = call_attention(c, in, s, false).out;
        double sum = 0.0;
        for (std::size_t n = 0; n < out.data.size(); ++n) sum += out.data[n] * in.dout.data[n];
        return sum;
    };
    const auto check = [&](std::vector<double>& x, const tensor<double>& gradient, std::size_t step) {
        ASSERT_EQ(x.size(), gradient.data.size());
        for (std::size_t n = 0; n < x.size(); n += step) {
            const double kept = x[n];
            x[n] = kept + 1e-5;
            const double up = loss();
            x[n] = kept - 1e-5;
            const double down = loss();
            x[n] = kept;
            EXPECT_NEAR((up - down) / 2e-5, gradient.data[n], 1e-8);
        }
    };
    check(in.q.data, r.dq, 4);
    check(in.k.data, r.dk, 4);
    check(in.v.data, r.dv, 4);
    check(c.slopes, r.dslopes, 1);
    check(c.sinks, r.dsinks, 1);
}

} // namespace
} // namespace pantile::test
