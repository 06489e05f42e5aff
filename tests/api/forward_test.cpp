// Any shape, layout, mask, tile plan, type, instruction set and thread count gives the fp64 answer within the error rule.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

void holds(const attention_case& c, const attention_inputs& in, const call_style& s) {
    const call_results r = call_attention(c, in, s, false);
    const forward_bounds bounds = bound_forward(c, r.inputs, s.type, s.out_type(), r.rounding);
    const verdict good = within(r.out, r.lse, bounds);
    RC_LOG() << good.text << '\n';
    RC_ASSERT(good.ok);
}

RC_GTEST_PROP(forward, is_the_answer_within_the_error_rule, (std::uint64_t seed)) {
    const attention_case c = *any_served_case();
    const call_style s = *any_style();
    holds(c, make_inputs(c, s.type, *any_data_kind(), seed), s);
}

/// Larger than the chosen tiles: many key tiles, ragged ends, dims beyond the registers.
RC_GTEST_PROP(forward, is_the_answer_on_larger_problems, (std::uint64_t seed)) {
    attention_case c = *any_served_case({.batch = 2, .kv_heads = 1, .group = 2, .length = 700, .dim = 200});
    call_style s;
    s.type = *rc::gen::element(dtype::fp32, dtype::fp32, dtype::fp16, dtype::bf16, dtype::fp64);
    s.set = *rc::gen::elementOf(available_isas());
    holds(c, make_inputs(c, s.type, *any_data_kind(), seed), s);
}

/// Few rows, many keys.
RC_GTEST_PROP(forward, is_the_answer_when_rows_are_few, (std::uint64_t seed)) {
    using detail::pick;
    attention_case c = *any_served_case({.batch = 2, .kv_heads = 2, .group = 8, .length = 4, .dim = 130});
    c.k_len = pick(1, 3000);
    if (!c.key_lengths.empty()) {
        for (index_t& n : c.key_lengths) n = pick(0, c.k_len);
    }
    call_style s = *any_style();
    s.plan.reset();
    holds(c, make_inputs(c, s.type, *any_data_kind(), seed), s);
}

/// All products of P·V alike: the errors of a chain of additions have one sign then, and grow with its length.
TEST(forward, adds_equal_products_in_short_chains) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        for (const index_t keys : {151, 256, 900}) {
            attention_case c;
            c.q_heads = 6;
            c.k_len = keys;
            c.head_dim = c.value_dim = 40;
            c.scale = 1.0 / std::sqrt(40.0);
            call_style s;
            s.v = layout::broadcast_length;
            const call_results r = call_attention(c, make_inputs(c, s.type, data_kind::constant_rows, seed), s, false);
            const verdict v = within(r.out, bound_forward(c, r.inputs, s.type, s.type, r.rounding).out, "out");
            EXPECT_TRUE(v.ok) << keys << " keys, seed " << seed << ": " << v.text;
        }
    }
}

/// Equal keys: their scores are off by the same rounding, which does not average out over a row.
TEST(forward, is_the_answer_where_keys_are_equal) {
    for (const isa set : available_isas()) {
        for (const dtype t : {dtype::fp32, dtype::fp64}) {
            for (std::uint64_t seed = 0; seed < 12; ++seed) {
                attention_case c;
                c.q_heads = 2;
                c.q_len = 3 + static_cast<index_t>(seed % 2) * 40; // the path for few rows, and that for many
                c.k_len = 64 + 30 * static_cast<index_t>(seed);
                c.head_dim = 148;
                c.value_dim = 3;
                c.scale = 1.0 / std::sqrt(148.0);
                call_style s;
                s.type = t;
                s.set = set;
                s.k = layout::broadcast_length;
                const call_results r = call_attention(c, make_inputs(c, t, data_kind::large_logits, seed), s, false);
                const verdict v = within(r.out, r.lse, bound_forward(c, r.inputs, t, t, r.rounding));
                EXPECT_TRUE(v.ok) << name(set) << ' ' << name(t) << ", seed " << seed << ": " << v.text;
            }
        }
    }
}

/// Equal products within a score: the roundings of its partial sums have one sign, as long as these stay in one binade.
TEST(forward, is_the_answer_where_products_are_equal) {
    for (const isa set : available_isas()) {
        for (std::uint64_t seed = 0; seed < 40; ++seed) {
            attention_case c;
            c.q_heads = 2;
            c.q_len = 12;
            c.k_len = 1 + 7 * static_cast<index_t>(seed);
            c.head_dim = 200;
            c.value_dim = 3;
            c.scale = 1.0 / std::sqrt(200.0);
            attention_inputs in = make_inputs(c, dtype::fp32, data_kind::large_logits, seed);
            in.q.for_each([&](index_t b, index_t h, index_t i, index_t x) { in.q(b, h, i, x) = in.q(b, h, i, 0); });
            in.k.for_each([&](index_t b, index_t h, index_t j, index_t x) { in.k(b, h, j, x) = in.k(b, h, 0, 0); });
            call_style s;
            s.set = set;
            const call_results r = call_attention(c, in, s, false);
            const verdict v = within(r.out, r.lse, bound_forward(c, r.inputs, s.type, s.type, r.rounding));
            EXPECT_TRUE(v.ok) << name(set) << ", seed " << seed << ": " << v.text;
        }
    }
}

/// Key tiles of thousands of keys: a lane counts keys exactly, also far from the tile's first.
TEST(forward, serves_long_key_tiles) {
    for (const isa set : available_isas()) {
        for (const index_t left : {3, 2500}) {
            attention_case c;
            c.q_len = 40;
            c.k_len = 5000;
            c.head_dim = c.value_dim = 4;
            c.left = left;
            c.right = 1;
            call_style s;
            s.set = set;
            for (const index_t offset : {index_t{2100}, c.k_len - c.q_len}) {
                c.align = anchor::explicit_offset;
                c.offset = offset;
                s.plan = tile_plan{40, 5000, 1};
                const auto in = make_inputs(c, s.type, data_kind::normal, static_cast<std::uint64_t>(left));
                const call_results r = call_attention(c, in, s, false);
                const verdict v = within(r.out, r.lse, bound_forward(c, r.inputs, s.type, s.type, r.rounding));
                EXPECT_TRUE(v.ok) << "left " << left << ", offset " << offset << ": " << v.text;
            }
        }
    }
}

/// Every head dim has its own tails: all of them up to 130, and some beyond.
TEST(forward, serves_every_head_dim) {
    for (const dtype t : {dtype::fp32, dtype::bf16}) {
        for (index_t d = 1; d <= 300; d += d < 130 ? 1 : 17) {
            attention_case c;
            c.q_len = 19;
            c.k_len = 21;
            c.head_dim = d;
            c.value_dim = 1 + (d * 7) % 140;
            c.scale = 1.0 / std::sqrt(static_cast<double>(d));
            c.right = 0;
            call_style s;
            s.type = t;
            const auto in = make_inputs(c, t, data_kind::normal, static_cast<std::uint64_t>(d));
            const call_results r = call_attention(c, in, s, false);
            const verdict v = within(r.out, bound_forward(c, r.inputs, t, t, r.rounding).out, "out");
            ASSERT_TRUE(v.ok) << "d = " << d << ": " << v.text;
        }
    }
}

/// Without dims every score is 0: the mean of the visible values.
TEST(forward, head_dim_of_0_averages) {
    const std::vector<float> v{1.0F, 2.0F, 6.0F};
    const float nothing = 0.0F;
    std::vector<float> out(2, -1.0F);
    std::vector<float> lse(2, -1.0F);
    attention(bhsd(&nothing, 1, 1, 2, 0), bhsd(&nothing, 1, 1, 3, 0), bhsd(v.data(), 1, 1, 3, 1),
              bhsd(out.data(), 1, 1, 2, 1), bhs(lse.data(), 1, 1, 2), {.mask = causal()});
    EXPECT_FLOAT_EQ(out[0], 1.5F);
    EXPECT_FLOAT_EQ(out[1], 3.0F);
    EXPECT_FLOAT_EQ(lse[1], std::log(3.0F));
}

/// The default scale is 1/sqrt(head_dim).
TEST(forward, default_scale) {
    attention_case c;
    c.q_len = c.k_len = 5;
    c.head_dim = c.value_dim = 16;
    c.scale = 0.25;
    const auto in = make_inputs(c, dtype::fp32, data_kind::normal, 1);
    const auto expected = call_attention(c, in, {}, false);
    const stored<float> q(in.q, layout::bhsd);
    const stored<float> k(in.k, layout::bhsd);
    const stored<float> v(in.v, layout::bhsd);
    stored<float> out(c.out_extent(), layout::bhsd);
    attention(q.view(), k.view(), v.view(), out.view());
    EXPECT_EQ(out.values().data, expected.out.data);
}

TEST(forward, empty_tensors_are_served) {
    for (int which = 0; which < 5; ++which) {
        attention_case c;
        c.batch = which == 0 ? 0 : 2;
        c.q_heads = which == 1 ? 0 : 2;
        c.kv_heads = which == 1 ? 0 : 1;
        c.q_len = which == 2 ? 0 : 3;
        c.k_len = which == 3 ? 0 : 4;
        c.head_dim = 5;
        c.value_dim = which == 4 ? 0 : 6;
        attention_inputs in{tensor<double>(c.q_extent(), 1.0), tensor<double>(c.k_extent(), 1.0),
                            tensor<double>(c.v_extent(), 1.0), tensor<double>(c.out_extent(), 1.0)};
        const call_results r = call_attention(c, in, {}, true);
        for (const double x : r.out.data) EXPECT_EQ(x, which == 3 ? 0.0 : 1.0);
        for (const double x : r.lse.data) EXPECT_TRUE(which == 3 ? x == -HUGE_VAL : std::isfinite(x));
        if (which == 3) {
            for (const double x : r.dq.data) EXPECT_EQ(x, 0.0);
        }
        if (which == 2) {
            for (const double x : r.dk.data) EXPECT_EQ(x, 0.0);
            for (const double x : r.dv.data) EXPECT_EQ(x, 0.0);
        }
    }
}

/// A null pointer is fine where nothing lies behind it.
TEST(forward, empty_tensors_may_be_null) {
    float* const none = nullptr;
    const auto q = bhsd<const float>(none, 1, 1, 0, 4);
    const auto k = bhsd<const float>(none, 1, 1, 0, 4);
    EXPECT_NO_THROW(attention(q, k, k, bhsd(none, 1, 1, 0, 4)));
}

} // namespace
} // namespace pantile::test
