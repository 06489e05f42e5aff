// NaN and infinity: what is hidden never matters, what is visible shows.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

call_style any_dense_style() {
    call_style s = *any_style();
    s.q = s.k = s.v = s.dout = layout::bhsd; // no broadcast: one element is one element
    return s;
}

/// Some keys are NaN or infinite; rows that do not see them must not notice.
RC_GTEST_PROP(non_finite, hidden_keys_and_values_never_matter, (std::uint64_t seed)) {
    attention_case c =
        *any_served_case({.batch = 2, .kv_heads = 2, .group = 2, .length = 60, .dim = 20, .empty = false});
    const call_style s = any_dense_style();
    const attention_inputs clean = make_inputs(c, s.type, data_kind::normal, seed);
    attention_inputs spoilt = clean;
    const index_t b = detail::pick(0, c.batch - 1);
    const index_t g = detail::pick(0, c.kv_heads - 1);
    const index_t j = detail::pick(0, c.k_len - 1);
    const double poison = *rc::gen::element(nan, infinity, -infinity);
    const bool in_k = detail::chance(50);
    for (index_t x = 0; x < (in_k ? c.head_dim : c.value_dim); ++x) (in_k ? spoilt.k : spoilt.v)(b, g, j, x) = poison;

    const call_results r = call_attention(c, spoilt, s, false);
    const forward_bounds bounds = bound_forward(c, clean, s.type, s.out_type(), r.rounding);
    const index_t group = c.q_heads / c.kv_heads;
    row_bounds out = bounds.out;
    row_bounds lse = bounds.lse;
    tensor<double> seen_out = r.out;
    tensor<double> seen_lse = r.lse;
    for (index_t h = g * group; h < (g + 1) * group; ++h) {
        for (index_t i = 0; i < c.q_len; ++i) {
            if (!c.visible(b, h, i, j)) continue;
            // These rows see it: whatever they hold, take them out of the comparison.
            for (index_t x = 0; x < c.value_dim; ++x) seen_out(b, h, i, x) = out.expected(b, h, i, x);
            seen_lse(b, h, i) = lse.expected(b, h, i);
        }
    }
    const verdict good_out = within(seen_out, out, "out");
    const verdict good_lse = within(seen_lse, lse, "lse");
    RC_LOG() << good_out.text << '\n' << good_lse.text << '\n';
    RC_ASSERT(good_out.ok);
    RC_ASSERT(good_lse.ok);
}

/// A NaN that a row sees comes out: of q or k in the whole row and its lse, of v in its column.
RC_GTEST_PROP(non_finite, visible_nan_shows, (std::uint64_t seed)) {
    attention_case c =
        *any_served_case({.batch = 2, .kv_heads = 2, .group = 2, .length = 60, .dim = 20, .empty = false});
    RC_PRE(c.scale != 0.0);
    const call_style s = any_dense_style();
    attention_inputs in = make_inputs(c, s.type, data_kind::normal, seed);
    const index_t b = detail::pick(0, c.batch - 1);
    const index_t h = detail::pick(0, c.q_heads - 1);
    const index_t g = h / (c.q_heads / c.kv_heads);
    const index_t i = detail::pick(0, c.q_len - 1);
    const index_t j = detail::pick(0, c.k_len - 1);
    const index_t x = detail::pick(0, c.head_dim - 1);
    const index_t e = detail::pick(0, c.value_dim - 1);
    RC_PRE(c.visible(b, h, i, j));
    const int which = *rc::gen::element(0, 1, 2);
    if (which == 0) in.q(b, h, i, x) = nan;
    if (which == 1) in.k(b, g, j, x) = nan;
    if (which == 2) in.v(b, g, j, e) = nan;
    const call_results r = call_attention(c, in, s, false);
    RC_ASSERT(std::isnan(r.out(b, h, i, e)));
    RC_ASSERT(std::isnan(r.lse(b, h, i)) == (which != 2));
}

/// Keys beyond the key lengths are not even read: they may lie in memory that does not exist.
TEST(non_finite, padding_is_never_read) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const index_t dim = 16;
    const auto keys_a_page = static_cast<index_t>(page / sizeof(float)) / dim;
    void* const memory = mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    auto* const k = static_cast<float*>(memory);
    for (index_t n = 0; n < keys_a_page * dim; ++n) k[n] = static_cast<float>(n % 7) * 0.1F;
    ASSERT_EQ(mprotect(static_cast<char*>(memory) + page, page, PROT_NONE), 0);

    const index_t q_len = 40;
    const std::vector<float> q(static_cast<std::size_t>(q_len * dim), 0.3F);
    const auto query = bhsd(q.data(), 1, 1, q_len, dim);
    const auto keys = bhsd<const float>(k, 1, 1, 2 * keys_a_page, dim); // the second half lies beyond
    std::vector<float> out(q.size()), lse(static_cast<std::size_t>(q_len)), dq(q.size());
    const index_t lengths[] = {keys_a_page};
    for (const mask& m : {full(), causal()}) {
        options o;
        o.mask = m;
        o.key_lengths = lengths;
        attention(query, keys, keys, bhsd(out.data(), 1, 1, q_len, dim), bhs(lse.data(), 1, 1, q_len), o);
        for (const float x : out) EXPECT_TRUE(std::isfinite(x));
    }
    munmap(memory, 2 * page);
}

/// The same of gradients: a key is NaN or infinite, or a row's q or dout is. Rows and keys that do not see it keep their
/// gradients, also those that are worked on beside ones that do.
RC_GTEST_PROP(non_finite, what_is_hidden_never_matters_to_gradients, (std::uint64_t seed)) {
    attention_case c =
        *any_served_case({.batch = 2, .kv_heads = 2, .group = 2, .length = 90, .dim = 20, .empty = false});
    if (detail::chance(60)) c.right = detail::chance(50) ? 0 : detail::pick(0, 10);
    if (detail::chance(40)) c.left = detail::pick(0, 20);
    const call_style s = any_dense_style();
    const attention_inputs clean = make_inputs(c, s.type, data_kind::normal, seed);
    attention_inputs spoilt = clean;
    const index_t group = c.q_heads / c.kv_heads;
    const index_t b = detail::pick(0, c.batch - 1);
    const index_t h = detail::pick(0, c.q_heads - 1);
    const index_t g = h / group;
    const index_t i = detail::pick(0, c.q_len - 1);
    const index_t j = detail::pick(0, c.k_len - 1);
    const double poison = *rc::gen::element(nan, infinity, -infinity);
    const int which = *rc::gen::element(0, 1, 2, 3);
    const auto spoil = [&](tensor<double>& t, index_t head, index_t row) {
        for (index_t x = 0; x < t.extent[3]; ++x) t(b, head, row, x) = poison;
    };
    if (which == 0) spoil(spoilt.k, g, j);
    if (which == 1) spoil(spoilt.v, g, j);
    if (which == 2) spoil(spoilt.q, h, i);
    if (which == 3) spoil(spoilt.dout, h, i);

    const call_results r = call_attention(c, spoilt, s, true);
    const backward_bounds bounds = bound_backward(c, clean, s.type, s.out_type(), r.rounding);
    // What sees it holds whatever it holds: take it out of the comparison. A row sees a key that is poisoned; a key sees a
    // row that is, or one that sees a key that is.
    const auto row_is_spoilt = [&](index_t batch, index_t head, index_t row) {
        if (batch != b) return false;
        return which < 2 ? head / group == g && c.visible(b, head, row, j) : head == h && row == i;
    };
    tensor<double> dq = r.dq, dk = r.dk, dv = r.dv;
    dq.for_each([&](index_t batch, index_t head, index_t row, index_t x) {
        if (row_is_spoilt(batch, head, row)) dq(batch, head, row, x) = bounds.dq.expected(batch, head, row, x);
    });
    const auto take_out_keys = [&](tensor<double>& t, const tensor<double>& expected) {
        for (index_t key = 0; key < c.k_len; ++key) {
            bool spoilt_key = false;
            for (index_t head = g * group; head < (g + 1) * group; ++head) {
                for (index_t row = 0; row < c.q_len; ++row) {
                    spoilt_key = spoilt_key || (row_is_spoilt(b, head, row) && c.visible(b, head, row, key));
                }
            }
            for (index_t x = 0; spoilt_key && x < t.extent[3]; ++x) t(b, g, key, x) = expected(b, g, key, x);
        }
    };
    // The head that sees it has gradients of slopes and sinks that may hold anything; other heads have theirs.
    tensor<double> dslopes = r.dslopes, dsinks = r.dsinks;
    for (index_t head = 0; head < c.q_heads; ++head) {
        bool sees = false;
        for (index_t row = 0; row < c.q_len; ++row) sees = sees || row_is_spoilt(b, head, row);
        if (sees && !dslopes.empty()) dslopes(0, head, 0) = bounds.dslopes.expected(0, head, 0);
        if (sees && !dsinks.empty()) dsinks(0, head, 0) = bounds.dsinks.expected(0, head, 0);
    }
    if (!dslopes.empty()) {
        const verdict good = within(dslopes, bounds.dslopes, "dslopes");
        RC_LOG() << good.text << '\n';
        RC_ASSERT(good.ok);
    }
    if (!dsinks.empty()) {
        const verdict good = within(dsinks, bounds.dsinks, "dsinks");
        RC_LOG() << good.text << '\n';
        RC_ASSERT(good.ok);
    }
    take_out_keys(dk, bounds.dk.expected);
    take_out_keys(dv, bounds.dv.expected);
    for (const verdict& v : {within(dq, bounds.dq, "dq"), within(dk, bounds.dk, "dk"), within(dv, bounds.dv, "dv")}) {
        RC_LOG() << v.text << '\n';
        RC_ASSERT(v.ok);
    }
}

/// Rows that see no key may hold anything, q, dout and all.
TEST(non_finite, rows_without_keys_do_not_reach_gradients) {
    for (const dtype type : {dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16}) {
        attention_case c;
        c.q_heads = 2;
        c.q_len = 30;
        c.k_len = 22;
        c.head_dim = 6;
        c.value_dim = 4;
        c.right = 0; // rows 0 to 7 see no key
        const attention_inputs clean = make_inputs(c, type, data_kind::normal, 8);
        const backward_bounds bounds = bound_backward(c, clean, type, type);
        for (const bool in_q : {false, true}) {
            attention_inputs in = clean;
            for (index_t i = 0; i < 8; ++i) {
                for (index_t h = 0; h < 2; ++h) {
                    for (index_t x = 0; x < (in_q ? 6 : 4); ++x) (in_q ? in.q : in.dout)(0, h, i, x) = nan;
                }
            }
            call_style s;
            s.type = type;
            for (const isa set : available_isas()) {
                s.set = set;
                const call_results r = call_attention(c, in, s, true);
                EXPECT_TRUE(within(r.dq, bounds.dq, "dq").ok) << within(r.dq, bounds.dq, "dq").text;
                EXPECT_TRUE(within(r.dk, bounds.dk, "dk").ok) << within(r.dk, bounds.dk, "dk").text;
                EXPECT_TRUE(within(r.dv, bounds.dv, "dv").ok) << within(r.dv, bounds.dv, "dv").text;
            }
        }
    }
}

/// Gradients: padding keys get 0 whatever they hold, and so do rows that see no key.
TEST(non_finite, gradients_of_what_is_never_seen_are_zero) {
    attention_case c;
    c.q_heads = 2;
    c.q_len = 9;
    c.k_len = 12;
    c.head_dim = 6;
    c.value_dim = 4;
    c.right = 0;
    c.key_lengths = {5}; // rows 0 to 3 see no key, keys 5 to 11 are padding
    attention_inputs in = make_inputs(c, dtype::fp64, data_kind::normal, 8);
    const backward_bounds bounds = bound_backward(c, in, dtype::fp64, dtype::fp64);
    for (index_t j = 5; j < 12; ++j) {
        for (index_t x = 0; x < c.head_dim; ++x) in.k(0, 0, j, x) = nan;
        for (index_t x = 0; x < c.value_dim; ++x) in.v(0, 0, j, x) = nan;
    }
    call_style s;
    s.type = dtype::fp64;
    for (const isa set : available_isas()) {
        s.set = set;
        const call_results r = call_attention(c, in, s, true);
        EXPECT_TRUE(within(r.dq, bounds.dq, "dq").ok) << within(r.dq, bounds.dq, "dq").text;
        EXPECT_TRUE(within(r.dk, bounds.dk, "dk").ok) << within(r.dk, bounds.dk, "dk").text;
        EXPECT_TRUE(within(r.dv, bounds.dv, "dv").ok) << within(r.dv, bounds.dv, "dv").text;
        for (index_t i = 0; i < 4; ++i) EXPECT_EQ(r.dq(0, 1, i, 2), 0.0);
        for (index_t j = 5; j < 12; ++j) EXPECT_EQ(r.dk(0, 0, j, 3), 0.0);
        for (index_t j = 5; j < 12; ++j) EXPECT_EQ(r.dv(0, 0, j, 3), 0.0);
    }
}

/// An infinite value that is visible with some weight gives an infinite out, in its column only.
TEST(non_finite, infinite_values_come_out) {
    attention_case c;
    c.q_len = 3;
    c.k_len = 4;
    c.head_dim = c.value_dim = 5;
    attention_inputs in = make_inputs(c, dtype::fp32, data_kind::normal, 4);
    in.v(0, 0, 2, 1) = infinity;
    in.v(0, 0, 1, 4) = -infinity;
    const call_results r = call_attention(c, in, {}, false);
    for (index_t i = 0; i < c.q_len; ++i) {
        EXPECT_EQ(r.out(0, 0, i, 1), infinity);
        EXPECT_EQ(r.out(0, 0, i, 4), -infinity);
        for (const index_t x : {0, 2, 3}) EXPECT_TRUE(std::isfinite(r.out(0, 0, i, x)));
        EXPECT_TRUE(std::isfinite(r.lse(0, 0, i)));
    }
}

} // namespace
} // namespace pantile::test
