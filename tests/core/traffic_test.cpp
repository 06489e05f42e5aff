// The closed forms against machines that are driven by the walks and count what they are told to fetch.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <pantile/core/traffic.hpp>
#include <pantile/core/walk.hpp>

#include <support/generators.hpp>

namespace pantile::inline v0::core {
namespace {

struct any_problem {
    problem p;
    tile_plan plan;
    std::vector<index_t> lengths;
};

any_problem make_problem() {
    using test::detail::chance;
    using test::detail::pick;
    any_problem a;
    a.p.batch = pick(0, 3);
    a.p.kv_heads = pick(1, 3);
    a.p.q_heads = a.p.kv_heads * pick(1, 3);
    a.p.q_len = pick(0, 60);
    a.p.k_len = pick(0, 60);
    a.p.head_dim = pick(1, 9);
    a.p.value_dim = pick(0, 9);
    if (chance(60)) a.p.mask.left = pick(-2, 40);
    if (chance(70)) a.p.mask.right = chance(50) ? 0 : pick(-2, 40);
    a.p.mask.align = *rc::gen::element(alignment::bottom_right, alignment::top_left, alignment::explicit_offset);
    a.p.mask.offset = pick(-70, 70);
    if (chance(30)) {
        for (index_t b = 0; b < a.p.batch; ++b) a.lengths.push_back(pick(0, a.p.k_len));
    }
    a.plan = {pick(1, 20), pick(1, 20), 1};
    return a;
}

/// Reads Q once a row tile, K and V once a visit; writes out and lse.
struct forward_counter {
    const problem& p;
    traffic t;
    index_t rows = 0;
    void open(const row_tile& r) {
        rows = r.rows.size();
        t.q.reads += rows * p.head_dim;
    }
    void fetch_key(const key_tile& k) { t.k.reads += k.keys.size() * p.head_dim; }
    void fetch_value(const key_tile& k) { t.v.reads += k.keys.size() * p.value_dim; }
    template <class Tag>
    void score(const key_tile&, Tag) {}
    void accumulate(const key_tile&) {}
    void close() {
        t.out.writes += rows * p.value_dim;
        t.lse.writes += rows;
    }
};

/// Reads K and V once a key tile; Q, dO, lse, delta and dQ once a visit; writes dQ once a visit, dK and dV at the end.
struct backward_counter {
    const problem& p;
    traffic t;
    index_t keys = 0;
    void open(const key_tile& k) {
        keys = k.keys.size();
        t.k.reads += keys * p.head_dim;
        t.v.reads += keys * p.value_dim;
    }
    void fetch_row(const row_tile& r) {
        t.q.reads += r.rows.size() * p.head_dim;
        t.dout.reads += r.rows.size() * p.value_dim;
        t.lse.reads += r.rows.size();
        t.delta.reads += r.rows.size();
    }
    template <class Tag>
    void score(const row_tile&, Tag) {}
    void gradients(const row_tile& r) {
        t.dq.reads += r.rows.size() * p.head_dim;
        t.dq.writes += r.rows.size() * p.head_dim;
    }
    void close() {
        t.dk.writes += keys * p.head_dim;
        t.dv.writes += keys * p.value_dim;
    }
};

RC_GTEST_PROP(traffic, forward_closed_form_counts_the_walk, ()) {
    any_problem a = make_problem();
    if (!a.lengths.empty()) a.p.key_lengths = {a.lengths.data()};
    forward_counter counter{a.p, {}};
    for (index_t b = 0; b < a.p.batch; ++b) {
        const schedule s(a.p, a.p.sequence_of(b), a.plan);
        for (index_t h = 0; h < a.p.q_heads; ++h) {
            for (index_t i = 0; i < s.row_tiles(); ++i) walk::forward(counter, s, i);
        }
    }
    RC_ASSERT(counter.t == forward_traffic(a.p, a.plan));
}

RC_GTEST_PROP(traffic, backward_closed_form_counts_the_walk, ()) {
    any_problem a = make_problem();
    if (!a.lengths.empty()) a.p.key_lengths = {a.lengths.data()};
    backward_counter counter{a.p, {}};
    for (index_t b = 0; b < a.p.batch; ++b) {
        const schedule s(a.p, a.p.sequence_of(b), a.plan);
        for (index_t h = 0; h < a.p.q_heads; ++h) {
            // delta before the walk; dQ zeroed before it and converted after it.
            counter.t.out.reads += a.p.q_len * a.p.value_dim;
            counter.t.dout.reads += a.p.q_len * a.p.value_dim;
            counter.t.delta.writes += a.p.q_len;
            counter.t.dq.writes += 2 * a.p.q_len * a.p.head_dim;
            counter.t.dq.reads += a.p.q_len * a.p.head_dim;
            for (index_t j = 0; j < s.key_tiles(); ++j) walk::backward(counter, s, j);
        }
    }
    RC_ASSERT(counter.t == backward_traffic(a.p, a.plan));
}

RC_GTEST_PROP(traffic, visible_pairs_are_counted_one_by_one, ()) {
    any_problem a = make_problem();
    if (!a.lengths.empty()) a.p.key_lengths = {a.lengths.data()};
    index_t pairs = 0;
    for (index_t b = 0; b < a.p.batch; ++b) {
        const sequence s = a.p.sequence_of(b);
        for (index_t i = 0; i < s.q_len; ++i) {
            for (index_t j = 0; j < s.k_len; ++j) pairs += a.p.band_of(s).visible(i, j) ? a.p.q_heads : 0;
        }
    }
    RC_ASSERT(visible_pairs(a.p) == pairs);
}

/// Table of published counts, by hand: q = 4, k = 6, d = 2, e = 3, tiles 2 × 4.
TEST(traffic, agrees_with_the_formulas_on_paper) {
    problem p;
    p.batch = 1;
    p.q_heads = p.kv_heads = 1;
    p.q_len = 4;
    p.k_len = 6;
    p.head_dim = 2;
    p.value_dim = 3;
    const traffic forward = forward_traffic(p, {2, 4, 1});
    EXPECT_EQ(forward.total(), (transfers{4 * 2 + 2 * 6 * (2 + 3), 4 * (3 + 1)})); // qd + Tr·k(d+e), q(e+1)
    const traffic backward = backward_traffic(p, {2, 4, 1});
    EXPECT_EQ(backward.total(),
              (transfers{2 * 4 * 3 + 6 * 5 + 2 * 4 * (2 * 2 + 3 + 2) + 4 * 2, 4 + (2 + 2) * 4 * 2 + 6 * 5}));
    EXPECT_EQ(standard_forward_traffic(p).total(), (transfers{4 * 2 + 6 * 2 + 6 * 3 + 2 * 24, 2 * 24 + 4 * 3}));
    EXPECT_EQ(standard_backward_traffic(p).total(),
              (transfers{5 * 24 + 2 * 4 * 3 + 6 * 3 + 6 * 2 + 4 * 2, 2 * 24 + 6 * 3 + 4 * 2 + 6 * 2}));
}

} // namespace
} // namespace pantile::inline v0::core
