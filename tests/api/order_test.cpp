// The order in which parts of a sum are put together, bit by bit: splits and chunks of keys, against the same parts taken
// one by one through the public page and put together here, in the order of their keys.
#include <gtest/gtest.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

constexpr index_t keys = 300;
constexpr index_t key_tile = 32;
constexpr index_t begins[] = {0, 128, 256, keys}; // three parts: a third of the keys each, in whole key tiles

template <class T>
tensor_view<const T> part_of(const stored<T>& t, int n) {
    tensor_view<const T> part = t.view();
    part.data += begins[n] * part.stride[2];
    part.extent[2] = begins[n + 1] - begins[n];
    return part;
}

/// Some with all that changes a logit: the first part carries the sinks.
attention_case case_of(index_t q_len, bool causal, bool features) {
    attention_case c;
    c.q_heads = 4;
    c.kv_heads = 2;
    c.q_len = q_len;
    c.k_len = keys;
    c.head_dim = 12;
    c.value_dim = 20;
    c.scale = 0.5;
    if (causal) c.right = 0;
    if (!features) return c;
    c.softcap = 30.0;
    c.slopes = {0.25, 0.125, 0.0625, -0.03125};
    c.sinks = {20.0, -5.0, 2.5, -HUGE_VAL};
    return c;
}

options options_of_part(const attention_case& c, const options& whole, int n) {
    options o = whole;
    o.mask = o.mask.at_offset(c.offset_of(0) - begins[n]);
    o.plan->key_splits = 1;
    if (n > 0) o.sinks = {};
    return o;
}

template <class In, class T>
void check_splits(dtype type) {
    for (const index_t q_len : {1, 2, 40}) { // decode, and row tiles
        for (const auto& [causal, features] : {std::pair(false, false), {true, false}, {false, true}, {true, true}}) {
            const attention_case c = case_of(q_len, causal, features);
            const attention_inputs in = make_inputs(c, type, data_kind::large_logits, 3);
            const stored<In> q(in.q, layout::bshd), k(in.k, layout::bhsd), v(in.v, layout::bhsd);
            for (const bool row_tile : {false, true}) {
                options o = options_of(c, {});
                o.plan = tile_plan{row_tile ? 16 : 0, key_tile, 3};
                stored<T> out(c.out_extent(), layout::bhsd), lse(c.lse_extent(), layout::bhsd);
                attention(q.view(), k.view(), v.view(), out.view(), lse.rows(), o);

                // Three layouts, so that each part's strides are its own.
                stored<T> a(c.out_extent(), layout::bhsd), b(c.out_extent(), layout::strided_dim);
                stored<T> a_max(c.lse_extent(), layout::bhsd), b_max(c.lse_extent(), layout::padded);
                stored<T> a_sum(c.lse_extent(), layout::padded), b_sum(c.lse_extent(), layout::bhsd);
                stored<T> next(c.out_extent(), layout::transposed);
                stored<T> next_max(c.lse_extent(), layout::bhsd), next_sum(c.lse_extent(), layout::bhsd);
                const partial_view<T> first{a.view(), a_max.rows(), a_sum.rows()};
                const partial_view<T> both{b.view(), b_max.rows(), b_sum.rows()};
                const partial_view<T> other{next.view(), next_max.rows(), next_sum.rows()};
                attention_partial(q.view(), part_of(k, 0), part_of(v, 0), first, options_of_part(c, o, 0));
                attention_partial(q.view(), part_of(k, 1), part_of(v, 1), other, options_of_part(c, o, 1));
                merge(first, other, both);
                attention_partial(q.view(), part_of(k, 2), part_of(v, 2), other, options_of_part(c, o, 2));
                merge(both, other, first);
                stored<T> expected(c.out_extent(), layout::bhsd), expected_lse(c.lse_extent(), layout::bhsd);
                finish(first, expected.view(), expected_lse.rows());
                EXPECT_EQ(out.values().data, expected.values().data) << q_len << " rows";
                EXPECT_EQ(lse.values().data, expected_lse.values().data) << q_len << " rows";
            }
        }
    }
}

/// Key splits are whole key tiles, merged from the first to the last.
TEST(order, splits_are_merged_from_the_first_to_the_last) {
    check_splits<float, float>(dtype::fp32);
    check_splits<double, double>(dtype::fp64);
    check_splits<float16, float>(dtype::fp16);
    check_splits<bfloat16, float>(dtype::bf16);
}

template <class T>
void check_chunks(dtype type) {
    for (const auto& [causal, features] : {std::pair(false, false), {true, false}, {false, true}, {true, true}}) {
        const attention_case c = case_of(70, causal, features);
        const attention_inputs in = make_inputs(c, type, data_kind::normal, 5);
        const stored<T> q(in.q, layout::bhsd), k(in.k, layout::bhsd), v(in.v, layout::bhsd), d(in.dout, layout::bhsd);
        options o = options_of(c, {});
        o.plan = tile_plan{64, key_tile, 1};
        stored<T> out(c.out_extent(), layout::bhsd), lse(c.lse_extent(), layout::bhsd);
        attention(q.view(), k.view(), v.view(), out.view(), lse.rows(), o);
        const tensor_view<const T> given_out = out.view();
        const row_view<const T> given_lse = lse.rows();

        o.plan->key_splits = 3;
        stored<T> dq(c.q_extent(), layout::bhsd), dk(c.k_extent(), layout::bhsd), dv(c.v_extent(), layout::bhsd);
        attention_backward(q.view(), k.view(), v.view(), given_out, given_lse, d.view(), dq.view(), dk.view(),
                           dv.view(), o);

        std::vector<T> sum(dq.values().data.size());
        const tensor<double> whole_dk = dk.values(), whole_dv = dv.values();
        for (int n = 0; n < 3; ++n) {
            const index_t length = begins[n + 1] - begins[n];
            stored<T> part_dq(c.q_extent(), layout::bhsd), part_dk({1, 2, length, c.head_dim}, layout::bhsd),
                part_dv({1, 2, length, c.value_dim}, layout::bhsd);
            attention_backward(q.view(), part_of(k, n), part_of(v, n), given_out, given_lse, d.view(), part_dq.view(),
                               part_dk.view(), part_dv.view(), options_of_part(c, o, n));
            const tensor<double> dq_of_part = part_dq.values();
            for (std::size_t x = 0; x < sum.size(); ++x) sum[x] += static_cast<T>(dq_of_part.data[x]);
            const auto expect_part = [&](tensor<double> part, const tensor<double>& whole) {
                part.for_each([&](index_t, index_t h, index_t j, index_t x) {
                    ASSERT_EQ(part(0, h, j, x), whole(0, h, begins[n] + j, x));
                });
            };
            expect_part(part_dk.values(), whole_dk);
            expect_part(part_dv.values(), whole_dv);
        }
        const tensor<double> whole_dq = dq.values();
        for (std::size_t x = 0; x < sum.size(); ++x) ASSERT_EQ(whole_dq.data[x], static_cast<double>(sum[x])) << x;
    }
}

/// Key chunks of the backward pass are whole key tiles; their dQ add up from the first to the last. (The scale is a power of
/// two: it rounds nothing.)
TEST(order, chunks_add_up_from_the_first_to_the_last) {
    check_chunks<float>(dtype::fp32);
    check_chunks<double>(dtype::fp64);
}

} // namespace
} // namespace pantile::test
