// What must not matter: thread counts and row tiles (not one bit), the order of keys (within the error rule).
#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

/// Bit patterns, so that NaN and the sign of zero count.
std::vector<std::uint64_t> bits(const tensor<double>& t) {
    std::vector<std::uint64_t> b;
    for (const double x : t.data) b.push_back(__builtin_bit_cast(std::uint64_t, x));
    return b;
}

void expect_same_bits(const call_results& a, const call_results& b) {
    RC_ASSERT(bits(a.out) == bits(b.out));
    RC_ASSERT(bits(a.lse) == bits(b.lse));
    RC_ASSERT(bits(a.dq) == bits(b.dq));
    RC_ASSERT(bits(a.dk) == bits(b.dk));
    RC_ASSERT(bits(a.dv) == bits(b.dv));
    RC_ASSERT(bits(a.dslopes) == bits(b.dslopes));
    RC_ASSERT(bits(a.dsinks) == bits(b.dsinks));
}

RC_GTEST_PROP(invariance, any_number_of_threads_gives_the_same_bits, (std::uint64_t seed)) {
    const attention_case c = *any_served_case({.length = 150, .dim = 70});
    call_style s = *any_style();
    const attention_inputs in = make_inputs(c, s.type, *any_data_kind(), seed);
    s.threads = 1;
    const call_results one = call_attention(c, in, s, true);
    for (const int threads : {2, 3, 7, 0}) {
        s.threads = threads;
        expect_same_bits(call_attention(c, in, s, true), one);
    }
}

/// Few rows and many keys: splits are chosen by shape alone.
RC_GTEST_PROP(invariance, any_number_of_threads_gives_the_same_bits_in_decode, (std::uint64_t seed)) {
    attention_case c = *any_served_case({.batch = 2, .kv_heads = 2, .group = 4, .length = 3, .dim = 70});
    c.k_len = detail::pick(1, 5000);
    c.key_lengths.clear();
    call_style s;
    s.type = *rc::gen::element(dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16);
    s.wide_out = compute_dtype(s.type) != s.type && detail::chance(40);
    s.set = *rc::gen::elementOf(available_isas());
    const attention_inputs in = make_inputs(c, s.type, data_kind::normal, seed);
    s.threads = 1;
    const call_results one = call_attention(c, in, s, true);
    const partial_results part = call_partial(c, in, s);
    for (const int threads : {2, 5}) {
        s.threads = threads;
        expect_same_bits(call_attention(c, in, s, true), one);
        const partial_results again = call_partial(c, in, s);
        RC_ASSERT(bits(again.out) == bits(part.out));
        RC_ASSERT(bits(again.max) == bits(part.max));
        RC_ASSERT(bits(again.sum) == bits(part.sum));
    }
}

/// The row tile of a forward call changes no order of additions.
RC_GTEST_PROP(invariance, any_row_tile_gives_the_same_bits, (std::uint64_t seed)) {
    const attention_case c = *any_served_case({.length = 150, .dim = 40});
    call_style s = *any_style();
    const attention_inputs in = make_inputs(c, s.type, *any_data_kind(), seed);
    const index_t key_tile = detail::pick(1, 100);
    s.plan = tile_plan{detail::pick(1, 150), key_tile, 1};
    const call_results a = call_attention(c, in, s, false);
    s.plan = tile_plan{detail::pick(1, 150), key_tile, 1};
    expect_same_bits(call_attention(c, in, s, false), a);
}

/// The layout of the tensors changes nothing either.
RC_GTEST_PROP(invariance, any_layout_gives_the_same_bits, (std::uint64_t seed)) {
    const attention_case c = *any_served_case({.length = 60, .dim = 40});
    call_style s = *any_style();
    const attention_inputs in = make_inputs(c, s.type, data_kind::normal, seed);
    const auto dense = [](call_style x) {
        x.q = x.k = x.v = x.dout = x.out = x.lse = x.dk = layout::bhsd;
        return x;
    };
    const call_results strided = call_attention(c, in, s, true);
    expect_same_bits(call_attention(c, strided.inputs, dense(s), true), strided); // the same values: broadcasts repeat
}

/// Rows of `t` (along the length) in another order.
tensor<double> reordered(const tensor<double>& t, const std::vector<index_t>& order) {
    tensor<double> r(t.extent);
    r.for_each([&](index_t b, index_t h, index_t i, index_t x) {
        r(b, h, i, x) = t(b, h, order[static_cast<std::size_t>(i)], x);
    });
    return r;
}

RC_GTEST_PROP(invariance, the_order_of_keys_does_not_matter, (std::uint64_t seed)) {
    attention_case c = *any_served_case({.batch = 2, .kv_heads = 2, .group = 2, .length = 120, .dim = 24});
    c.left.reset(); // every row sees every key
    c.right.reset();
    c.key_lengths.clear();
    c.slopes.clear(); // ALiBi is about places
    const call_style s = *any_style();
    const attention_inputs in = make_inputs(c, s.type, *any_data_kind(), seed);

    std::vector<index_t> order(static_cast<std::size_t>(c.k_len));
    std::iota(order.begin(), order.end(), index_t{0});
    for (std::size_t n = order.size(); n > 1; --n) std::swap(order[n - 1], order[*rc::gen::inRange<std::size_t>(0, n)]);
    attention_inputs shuffled = in;
    shuffled.k = reordered(in.k, order);
    shuffled.v = reordered(in.v, order);

    call_style dense = s;
    dense.q = dense.k = dense.v = dense.dout = layout::bhsd;
    const call_results r = call_attention(c, shuffled, dense, true);
    const forward_bounds f = bound_forward(c, in, s.type, s.out_type(), r.rounding);
    backward_bounds g = bound_backward(c, in, s.type, s.out_type(), r.rounding);
    for (row_bounds* x : {&g.dk, &g.dv}) {
        x->expected = reordered(x->expected, order);
        x->allowed = reordered(x->allowed, order);
        if (!x->computed.empty()) x->computed = reordered(x->computed, order);
    }
    const std::pair<const tensor<double>*, const row_bounds*> checks[] = {
        {&r.out, &f.out}, {&r.lse, &f.lse}, {&r.dq, &g.dq}, {&r.dk, &g.dk}, {&r.dv, &g.dv}, {&r.dsinks, &g.dsinks}};
    for (const auto& [actual, bounds] : checks) {
        const verdict v = within(*actual, *bounds, "element ");
        RC_LOG() << v.text << '\n';
        RC_ASSERT(v.ok);
    }
}

/// A thousand runs of one call, 250 of each type: the same bits.
TEST(invariance, repeated_calls_give_the_same_bits) {
    attention_case c;
    c.q_heads = 4;
    c.kv_heads = 2;
    c.q_len = c.k_len = 33;
    c.head_dim = c.value_dim = 16;
    c.right = 0;
    for (const dtype type : {dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16}) {
        const auto in = make_inputs(c, type, data_kind::normal, 9);
        call_style s;
        s.type = type;
        c.slopes.clear(), c.sinks.clear();
        c.softcap = 0.0;
        if (type == dtype::fp32 || type == dtype::bf16) { // two of the types with all that changes a logit
            c.softcap = 3.0;
            c.slopes = {0.5, 0.25, 0.125, 0.0625};
            c.sinks = {0.5, 0.0, -1.0, 2.0};
        }
        const call_results first = call_attention(c, in, s, true);
        for (int n = 0; n < 250; ++n) {
            const call_results again = call_attention(c, in, s, true);
            ASSERT_EQ(bits(again.out), bits(first.out));
            ASSERT_EQ(bits(again.lse), bits(first.lse));
            ASSERT_EQ(bits(again.dq), bits(first.dq));
            ASSERT_EQ(bits(again.dk), bits(first.dk));
            ASSERT_EQ(bits(again.dv), bits(first.dv));
            ASSERT_EQ(bits(again.dslopes), bits(first.dslopes));
            ASSERT_EQ(bits(again.dsinks), bits(first.dsinks));
        }
    }
}

} // namespace
} // namespace pantile::test
