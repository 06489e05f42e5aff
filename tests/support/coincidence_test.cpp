// Errors that coincide, and the error rule where rows are equal: wide enough for them, and no wider.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <support/coincidence.hpp>
#include <support/generators.hpp>

namespace pantile::test {
namespace {

using dense = matrix<double>;

TEST(coincidence, families_by_hand) {
    dense rows(6, 2);
    rows << 1.0, 2.0, //
        0.0, 3.0,     //
        1.0, 2.0,     //
        -0.0, 3.0,    //
        1.0, 2.5,     //
        1.0, 2.0;
    auto families = families_of(rows);
    ASSERT_EQ(families.size(), 2U);
    for (family& f : families) std::sort(f.begin(), f.end());
    if (families[0][0] == 1) std::swap(families[0], families[1]);
    EXPECT_EQ(families[0], (family{0, 2, 5}));
    EXPECT_EQ(families[1], (family{1, 3}));
    EXPECT_TRUE(families_of(rows.topRows(2)).empty());
    EXPECT_EQ(families_of(dense(4, 0)).size(), 1U); // without dims every score is the same
    EXPECT_TRUE(families_of(dense(0, 4)).empty());
}

TEST(coincidence, beyond_independent_by_hand) {
    dense errors(1, 3);
    errors << 1.0, 2.0, 5.0;
    dense factors(3, 2);
    factors << 1.0, 2.0, //
        1.0, -1.0,       //
        1.0, 1.0;
    const dense beyond = beyond_independent(errors, factors, {{0, 1}});
    EXPECT_EQ(beyond(0, 0), 9.0 - 5.0);
    EXPECT_EQ(beyond(0, 1), 0.0); // they would cancel: as if independent
    EXPECT_EQ(beyond_independent(errors, factors, {}), dense::Zero(1, 2));
}

TEST(coincidence, beyond_independent_in_two_directions) {
    dense errors(3, 3);
    errors << 1.0, 2.0, 5.0, //
        3.0, -1.0, 7.0,      //
        1.0, 1.0, 1.0;
    EXPECT_EQ(beyond_independent_sum(errors, {}, {}), 0.0);
    EXPECT_EQ(beyond_independent_sum(errors, {}, {{0, 1}}), (9.0 - 5.0) + 0.0 + (4.0 - 2.0)); // 3 and -1 would cancel
    EXPECT_EQ(beyond_independent_sum(errors, {{0, 1}}, {}), (16.0 - 10.0) + 0.0 + (144.0 - 74.0));
    EXPECT_EQ(beyond_independent_sum(errors, {{0, 1}}, {{0, 1}}), (25.0 - 15.0) + (144.0 - 74.0) + (4.0 - 2.0));
}

RC_GTEST_PROP(coincidence, rows_that_differ_are_no_family, (std::uint64_t seed)) {
    const attention_case c = *any_case({.empty = false});
    const auto in = make_inputs(c, *rc::gen::element(dtype::fp64, dtype::fp32), data_kind::normal, seed);
    for (const tensor<double>* x : {&in.q, &in.k, &in.v}) RC_ASSERT(families_of(head<double>(*x, 0, 0)).empty());
}

/// What a machine's scores are too large by, pair by pair, that adds their products one by one in Real, the last one first (the
/// plain formula begins with the first). As the bias of the formula in wide numbers they give results with these errors alone.
template <class Real>
tensor<double> score_errors(const attention_case& c, const attention_inputs& in) {
    using wide = std::conditional_t<std::is_same_v<Real, float>, double, long double>;
    tensor<double> errors({c.batch, c.q_heads, c.q_len, c.k_len});
    errors.for_each([&](index_t b, index_t h, index_t i, index_t j) {
        const double* const q = in.q.row(b, h, i);
        const double* const k = in.k.row(b, h / (c.q_heads / c.kv_heads), j);
        wide exact = 0;
        Real sum = 0;
        for (index_t x = c.head_dim - 1; x >= 0; --x) {
            exact += static_cast<wide>(q[x]) * static_cast<wide>(k[x]);
            sum = std::fma(static_cast<Real>(q[x]), static_cast<Real>(k[x]), sum);
        }
        errors(b, h, i, j) = static_cast<double>(static_cast<wide>(c.scale) * (static_cast<wide>(sum) - exact));
    });
    return errors;
}

struct results {
    forward_result<double> forward;
    backward_result<double> backward;
};
results with_score_errors(const attention_case& c, const attention_inputs& in, dtype t) {
    attention_case off = c;
    off.bias = t == dtype::fp64 ? score_errors<double>(c, in) : score_errors<float>(c, in);
    if (t != dtype::fp64) return {plain_forward<double>(off, in), plain_backward<double>(off, in)};
    const auto f = plain_forward<long double>(off, in);
    const auto g = plain_backward<long double>(off, in);
    return {{converted<double>(f.out), converted<double>(f.lse)},
            {converted<double>(g.dq), converted<double>(g.dk), converted<double>(g.dv), {}, {}}};
}

void expect_within(const attention_case& c, const attention_inputs& in, dtype t, const std::string& what) {
    const results r = with_score_errors(c, in, t);
    const forward_bounds f = bound_forward(c, in, t, t);
    const backward_bounds g = bound_backward(c, in, t, t);
    const verdict forward = within(r.forward.out, r.forward.lse, f);
    EXPECT_TRUE(forward.ok) << what << '\n' << forward.text;
    for (const verdict& v :
         {within(r.backward.dq, g.dq, "dq"), within(r.backward.dk, g.dk, "dk"), within(r.backward.dv, g.dv, "dv")}) {
        EXPECT_TRUE(v.ok) << what << '\n' << v.text;
    }
}

attention_case case_of(index_t rows, index_t keys, index_t dim) {
    attention_case c;
    c.q_heads = 2;
    c.q_len = rows;
    c.k_len = keys;
    c.head_dim = dim;
    c.value_dim = 8;
    c.scale = 1.0 / std::sqrt(static_cast<double>(dim));
    return c;
}

/// Equal keys: the rounding of their one score is all that the log-sum-exp is off by, however many they are.
TEST(error_rule, holds_where_keys_are_equal) {
    for (const dtype t : {dtype::fp32, dtype::fp64}) {
        for (std::uint64_t seed = 0; seed < 6; ++seed) {
            const attention_case c = case_of(20, 64 + 20 * static_cast<index_t>(seed), 148);
            attention_inputs in = make_inputs(c, t, data_kind::large_logits, seed);
            in.k = as_stored(in, layout::broadcast_length, t).k;
            expect_within(c, in, t, name(t) + (" broadcast, seed " + std::to_string(seed)));
            expect_within(c, make_inputs(c, t, data_kind::repeated_rows, seed), t,
                          name(t) + (" repeated, seed " + std::to_string(seed)));
        }
    }
}

double total(const row_bounds& bounds) {
    return std::accumulate(bounds.allowed.data.begin(), bounds.allowed.data.end(), 0.0);
}

/// Bounds are wider where rows are equal than where they differ in a number that meets only zeros, which changes nothing else.
TEST(error_rule, is_wider_where_rows_are_equal) {
    attention_case c = case_of(60, 60, 32);
    auto equal = make_inputs(c, dtype::fp32, data_kind::repeated_rows, 1);
    for (tensor<double>* x : {&equal.q, &equal.k, &equal.v, &equal.dout}) {
        x->for_each([&](index_t b, index_t h, index_t i, index_t e) {
            if (e < 2) (*x)(b, h, i, e) = 0.0;
        });
    }
    c.scale /= 64.0; // all keys weigh
    const forward_bounds forward = bound_forward(c, equal, dtype::fp32, dtype::fp32);
    const backward_bounds backward = bound_backward(c, equal, dtype::fp32, dtype::fp32);
    const auto wider = [&](tensor<double> attention_inputs::*which, index_t place) {
        attention_inputs in = equal; // but for that one
        tensor<double>& x = in.*which;
        for (index_t h = 0; h < x.extent[1]; ++h) {
            for (index_t i = 0; i < x.extent[2]; ++i) x(0, h, i, place) = 1e-15 * static_cast<double>(1 + i + h * 100);
        }
        const forward_bounds f = bound_forward(c, in, dtype::fp32, dtype::fp32);
        const backward_bounds g = bound_backward(c, in, dtype::fp32, dtype::fp32);
        std::string names;
        const auto compare = [&](const char* name, const row_bounds& one, const row_bounds& other) {
            if (total(one) > total(other) * (1.0 + 1e-9)) names += name;
        };
        compare("out ", forward.out, f.out);
        compare("lse ", forward.lse, f.lse);
        compare("dq ", backward.dq, g.dq);
        compare("dk ", backward.dk, g.dk);
        compare("dv ", backward.dv, g.dv);
        return names;
    };
    EXPECT_EQ(wider(&attention_inputs::k, 0), "out lse dq dk dv "); // dk and dv by what the forward call is off
    EXPECT_EQ(wider(&attention_inputs::v, 0), "dq ");
    EXPECT_EQ(wider(&attention_inputs::q, 1), "dk dv ");
    EXPECT_EQ(wider(&attention_inputs::dout, 1), "dk ");
}

/// The rows of the log-sum-exp moved by `error`: how many does the rule refuse?
index_t refused(const attention_case& c, const row_bounds& bounds, double error) {
    index_t count = 0;
    for (index_t i = 0; i < c.q_len; ++i) count += bounds.allowed(0, 0, i) < error ? 1 : 0;
    return count;
}

/// What differs is judged as independent: 200 keys, a log-sum-exp of 6.
TEST(error_rule, is_as_sharp_as_ever_where_keys_differ) {
    const attention_case c = case_of(20, 200, 64);
    const auto in = make_inputs(c, dtype::fp32, data_kind::normal, 3);
    const forward_bounds f = bound_forward(c, in, dtype::fp32, dtype::fp32);
    EXPECT_EQ(refused(c, f.lse, 96.0 * 0x1p-24), c.q_len);

    // Equal keys that no row sees change nothing.
    attention_case shorter = c;
    shorter.key_lengths = {100};
    attention_inputs padded = in;
    for (index_t j = 100; j < c.k_len; ++j) std::copy_n(in.k.row(0, 0, 100), c.head_dim, padded.k.row(0, 0, j));
    EXPECT_EQ(bound_forward(shorter, padded, dtype::fp32, dtype::fp32).lse.allowed.data,
              bound_forward(shorter, in, dtype::fp32, dtype::fp32).lse.allowed.data);
}

/// 200 equal keys: no more than the error of one score.
TEST(error_rule, refuses_small_errors_where_keys_are_equal) {
    const attention_case c = case_of(20, 200, 64);
    const auto in = make_inputs(c, dtype::fp32, data_kind::constant_rows, 3);
    const forward_bounds f = bound_forward(c, in, dtype::fp32, dtype::fp32);
    const attention_case one_key = case_of(20, 1, 64);
    attention_inputs one = in;
    one.k = tensor<double>(one_key.k_extent());
    one.v = tensor<double>(one_key.v_extent());
    std::copy_n(in.k.row(0, 0, 0), c.head_dim, one.k.row(0, 0, 0));
    const forward_bounds single = bound_forward(one_key, one, dtype::fp32, dtype::fp32);
    for (index_t i = 0; i < c.q_len; ++i) { // log(200) and its sum are the difference
        EXPECT_LT(f.lse.allowed(0, 0, i), single.lse.allowed(0, 0, i) + 60.0 * 0x1p-24);
    }
    EXPECT_EQ(refused(c, f.lse, 128.0 * 0x1p-24), c.q_len);
    tensor<double> out = f.out.expected;
    out(0, 0, 7, 3) += 64.0 * 0x1p-24;
    EXPECT_FALSE(within(out, f.out, "out").ok);

    attention_case shorter = c; // a key left out
    shorter.key_lengths = {199};
    EXPECT_FALSE(within(plain_forward<double>(shorter, in).out, f.out, "out").ok);
    EXPECT_FALSE(within(plain_forward<double>(shorter, in).lse, f.lse, "lse").ok);
    const backward_bounds g = bound_backward(c, in, dtype::fp32, dtype::fp32);
    EXPECT_FALSE(within(plain_backward<double>(shorter, in).dk, g.dk, "dk").ok);
    EXPECT_FALSE(within(plain_backward<double>(shorter, in).dv, g.dv, "dv").ok);
}

/// Large logits and equal keys, where the bound is widest: queries rounded to the 11 bits of tf32 are far outside.
TEST(error_rule, refuses_scores_of_short_numbers_where_keys_are_equal) {
    const attention_case c = case_of(20, 200, 148);
    const auto in =
        as_stored(make_inputs(c, dtype::fp32, data_kind::large_logits, 5), layout::broadcast_length, dtype::fp32);
    const forward_bounds f = bound_forward(c, in, dtype::fp32, dtype::fp32);
    attention_inputs shortened = in;
    shortened.q = rounded(in.q, dtype::fp16); // as many bits as tf32
    EXPECT_GT(within(plain_forward<double>(c, shortened).lse, f.lse, "lse").worst, 100.0);
    tensor<double> lse = f.lse.expected;
    for (index_t i = 0; i < c.q_len; ++i) lse(0, 0, i) += 1.01 * f.lse.allowed(0, 0, i);
    EXPECT_FALSE(within(lse, f.lse, "lse").ok);
}

} // namespace
} // namespace pantile::test
