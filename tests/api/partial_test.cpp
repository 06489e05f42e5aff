// Partial results: splits of the keys, merged in any grouping, give the whole.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

/// A partial result with memory of its own.
template <class T>
struct owned_part {
    stored<T> out, max, sum;
    owned_part(const attention_case& c, layout l)
        : out(c.out_extent(), l), max(c.lse_extent(), l), sum(c.lse_extent(), l) {}
    partial_view<T> view() { return {out.view(), max.rows(), sum.rows()}; }
};

template <class T>
tensor_view<T> keys_of(tensor_view<T> t, index_t begin, index_t end) {
    t.data += begin * t.stride[2];
    t.extent[2] = end - begin;
    return t;
}

/// Cuts the keys, attends to each part, merges neighbours in random order, finishes.
template <class In, class T>
void splits_give_the_whole(const attention_case& c, const attention_inputs& in, const call_style& s) {
    using detail::pick;
    const stored<In> q(in.q, s.q), k(in.k, s.k), v(in.v, s.v);
    const attention_inputs exact{q.values(), k.values(), v.values(), in.dout};
    std::vector<owned_part<T>> parts;
    index_t begin = 0;
    bool sunk = false; // one part has carried the sinks
    do {
        const index_t end = c.k_len == 0 ? 0 : begin + pick(1, c.k_len - begin);
        options o = options_of(c, s);
        o.mask = o.mask.at_offset(c.offset_of(0) - begin);
        if (sunk || (end < c.k_len && detail::chance(60))) {
            o.sinks = {};
        } else {
            sunk = true;
        }
        parts.emplace_back(c, s.out);
        attention_partial(q.view(), keys_of(k.view(), begin, end), keys_of(v.view(), begin, end), parts.back().view(),
                          o);
        begin = end;
    } while (begin < c.k_len);
    while (parts.size() > 1) {
        const auto at = *rc::gen::inRange<std::size_t>(0, parts.size() - 1);
        if (detail::chance(50)) { // in place
            merge(parts[at].view(), parts[at + 1].view(), parts[at].view());
        } else {
            owned_part<T> merged(c, s.lse);
            merge(parts[at].view(), parts[at + 1].view(), merged.view());
            parts[at] = std::move(merged);
        }
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
    stored<T> out(c.out_extent(), s.dk);
    stored<T> lse(c.lse_extent(), layout::bhsd);
    finish(parts[0].view(), out.view(), lse.rows());
    RC_ASSERT(out.gaps_are_untouched() && parts[0].out.gaps_are_untouched());
    const bool matrix_unit =
        std::is_same_v<In, bfloat16> && explain(q.view(), k.view(), v.view(), options_of(c, s)).isa == "amx";
    const forward_bounds bounds = bound_forward(c, exact, s.type, compute_dtype(s.type),
                                                matrix_unit ? p_rounding::to_bfloat16 : p_rounding::none);
    const verdict good = within(out.values(), lse.values(), bounds);
    RC_LOG() << good.text << '\n';
    RC_ASSERT(good.ok);

    finish(parts[0].view(), parts[0].out.view(), lse.rows()); // in place: the same bits
    RC_ASSERT(parts[0].out.values().data == out.values().data);
}

RC_GTEST_PROP(partial, splits_merged_in_any_grouping_give_the_whole, (std::uint64_t seed)) {
    attention_case c = *any_served_case({.batch = 2, .kv_heads = 2, .group = 2, .length = 60, .dim = 24});
    c.key_lengths.clear();
    const call_style s = *any_style();
    const attention_inputs in = make_inputs(c, s.type, *any_data_kind(), seed);
    switch (s.type) {
    case dtype::fp64:
        return splits_give_the_whole<double, double>(c, in, s);
    case dtype::fp32:
        return splits_give_the_whole<float, float>(c, in, s);
    case dtype::fp16:
        return splits_give_the_whole<float16, float>(c, in, s);
    case dtype::bf16:
        return splits_give_the_whole<bfloat16, float>(c, in, s);
    case dtype::fp8:
        break;
    }
}

/// The numbers mean what the page says: base 2, not normalised.
TEST(partial, holds_base_2_sums) {
    const std::vector<double> q{1.0};
    const std::vector<double> k{std::log(2.0) * 3.0,
                                std::log(2.0) * 5.0}; // logits 3 ln 2 and 5 ln 2: exponents 3 and 5
    const std::vector<double> v{8.0, 100.0};
    double out = 0.0;
    double max = 0.0;
    double sum = 0.0;
    const partial_view<double> part{bhsd(&out, 1, 1, 1, 1), bhs(&max, 1, 1, 1), bhs(&sum, 1, 1, 1)};
    attention_partial(bhsd(q.data(), 1, 1, 1, 1), bhsd(k.data(), 1, 1, 2, 1), bhsd(v.data(), 1, 1, 2, 1), part);
    // Only the products are promised, max itself is a reference that the machine chooses.
    EXPECT_NEAR(sum * std::exp2(max), 8.0 + 32.0, 1e-12);
    EXPECT_NEAR(out * std::exp2(max), 8.0 * 8.0 + 32.0 * 100.0, 1e-10);
    double lse = 0.0;
    finish(part, bhsd(&out, 1, 1, 1, 1), bhs(&lse, 1, 1, 1));
    EXPECT_NEAR(lse, std::log(40.0), 1e-14);
    EXPECT_NEAR(out, (64.0 + 3200.0) / 40.0, 1e-12);
}

/// A part without keys that carries a sink is the sink: a sum of 1 at its exponent, as if it were a key without a value.
TEST(partial, a_sink_is_a_part_of_its_own) {
    const std::vector<double> q{1.0}, k{0.0}, v{8.0}, sinks{std::log(2.0) * 3.0};
    const auto part = [&](index_t keys, bool sunk) {
        std::vector<double> numbers(3, -7.0);
        options o;
        if (sunk) o.sinks = sinks;
        attention_partial(bhsd(q.data(), 1, 1, 1, 1), bhsd(k.data(), 1, 1, keys, 1), bhsd(v.data(), 1, 1, keys, 1),
                          {bhsd(&numbers[0], 1, 1, 1, 1), bhs(&numbers[1], 1, 1, 1), bhs(&numbers[2], 1, 1, 1)}, o);
        return numbers;
    };
    const std::vector<double> alone = part(0, true);
    EXPECT_EQ(alone[0], 0.0);
    EXPECT_NEAR(alone[2] * std::exp2(alone[1]), 8.0, 1e-14);
    const std::vector<double> nothing = part(0, false);
    EXPECT_EQ(nothing, (std::vector<double>{0.0, -HUGE_VAL, 0.0}));
    const std::vector<double> both = part(1, true);
    EXPECT_NEAR(both[2] * std::exp2(both[1]), 9.0, 1e-14);
    EXPECT_NEAR(both[0] * std::exp2(both[1]), 8.0, 1e-14);
}

TEST(partial, a_part_without_keys_changes_nothing) {
    attention_case c;
    c.q_len = 5;
    c.k_len = 9;
    c.head_dim = c.value_dim = 4;
    const auto in = make_inputs(c, dtype::fp32, data_kind::normal, 2);
    const stored<float> q(in.q, layout::bhsd), k(in.k, layout::bhsd), v(in.v, layout::bhsd);
    owned_part<float> some(c, layout::bhsd), none(c, layout::bhsd), both(c, layout::bhsd);
    attention_partial(q.view(), k.view(), v.view(), some.view());
    attention_partial(q.view(), keys_of(k.view(), 0, 0), keys_of(v.view(), 0, 0), none.view());
    for (const double x : none.sum.values().data) EXPECT_EQ(x, 0.0);
    for (const double x : none.max.values().data) EXPECT_EQ(x, -HUGE_VAL);
    merge(some.view(), none.view(), both.view());
    EXPECT_EQ(both.out.values().data, some.out.values().data);
    EXPECT_EQ(both.sum.values().data, some.sum.values().data);
    merge(none.view(), some.view(), both.view());
    EXPECT_EQ(both.out.values().data, some.out.values().data);
    EXPECT_EQ(both.max.values().data, some.max.values().data);
    merge(none.view(), none.view(), both.view());
    stored<float> out(c.out_extent(), layout::bhsd), lse(c.lse_extent(), layout::bhsd);
    finish(both.view(), out.view(), lse.rows());
    for (const double x : out.values().data) EXPECT_EQ(x, 0.0);
    for (const double x : lse.values().data) EXPECT_EQ(x, -HUGE_VAL);
}

} // namespace
} // namespace pantile::test
