#include <pantile/attention.hpp>
#include <support/library_mask.hpp>

#include "backend.hpp"

namespace pantile::conformance {
namespace {

options options_of(const attention_case& c) {
    options o;
    o.mask = test::mask_of(c);
    o.scale = c.scale;
    o.softcap = c.softcap;
    o.slopes = c.slopes;
    o.sinks = c.sinks;
    o.key_lengths = c.key_lengths;
    return o;
}

template <class T>
results run(const attention_case& c, const attention_inputs& in, layout l, bool backward) {
    using row = std::conditional_t<std::is_same_v<T, double>, double, float>;
    const options o = options_of(c);
    const test::stored<T> q(in.q, l);
    const test::stored<T> k(in.k, l);
    const test::stored<T> v(in.v, l);
    test::stored<T> out(c.out_extent(), l);
    test::stored<row> lse(c.lse_extent(), layout::bhsd);
    attention(q.view(), k.view(), v.view(), out.view(), lse.rows(), o);
    results r;
    r.out = out.values();
    r.lse = lse.values();
    if (std::is_same_v<T, bfloat16> && explain(q.view(), k.view(), v.view(), o).isa == "amx") {
        r.rounding = test::p_rounding::to_bfloat16;
    }
    if (backward) {
        const test::stored<T> dout(in.dout, l);
        test::stored<T> dq(c.q_extent(), l);
        test::stored<T> dk(c.k_extent(), l);
        test::stored<T> dv(c.v_extent(), l);
        const test::stored<T>& fixed_out = out;
        const test::stored<row>& fixed_lse = lse;
        const bool slopes_of_heads = !c.slopes.empty() && !c.slopes_of_batches();
        const test::extents heads{1, c.q_heads, 1, 1};
        tensor<row> dslopes(slopes_of_heads ? heads : test::extents{});
        tensor<row> dsinks(c.sinks.empty() ? test::extents{} : heads);
        gradients to{.dq = dq.view(), .dk = dk.view(), .dv = dv.view()};
        if (!dslopes.empty()) to.dslopes = dslopes.data;
        if (!dsinks.empty()) to.dsinks = dsinks.data;
        attention_backward(q.view(), k.view(), v.view(), fixed_out.view(), fixed_lse.rows(), {.dout = dout.view()}, to,
                           o);
        r.dslopes = test::converted<double>(dslopes);
        r.dsinks = test::converted<double>(dsinks);
        r.dq = dq.values();
        r.dk = dk.values();
        r.dv = dv.values();
    }
    return r;
}

} // namespace

results run_on_cpu(const attention_case& c, const attention_inputs& in, dtype t, layout l, bool backward) {
    switch (t) {
    case dtype::fp64:
        return run<double>(c, in, l, backward);
    case dtype::fp32:
        return run<float>(c, in, l, backward);
    case dtype::fp16:
        return run<float16>(c, in, l, backward);
    case dtype::bf16:
        return run<bfloat16>(c, in, l, backward);
    case dtype::fp8:
        break;
    }
    return {};
}

} // namespace pantile::conformance
