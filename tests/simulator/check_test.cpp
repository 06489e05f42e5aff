// Counted == closed form, and the check can tell when they differ.

#include <gtest/gtest.h>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

TEST(check, every_algorithm_matches_its_closed_form_on_ragged_cases) {
    const check_result r = check(algorithms(), 1000, 20);
    index_t passes = 0;
    for (const algorithm* a : algorithms())
        passes += (a->has(pass::forward) ? 1 : 0) + (a->has(pass::backward) ? 1 : 0);
    EXPECT_GE(passes, 15);
    EXPECT_EQ(r.cases, 1000 * passes);
    EXPECT_TRUE(r.mismatches.empty()) << r.mismatches.front();
}

/// fa2 whose closed form forgets that a ragged last row tile visits the keys too.
class forgetful : public algorithm {
  public:
    std::string_view name() const override { return "forgetful"; }
    std::string_view summary() const override { return "a closed form that is wrong for ragged sizes"; }
    bool has(pass which) const override { return which == pass::forward; }
    void run(processor& p, const workload& w, pass which, const tile_plan& plan) const override {
        find_algorithm("fa2").run(p, w, which, plan);
    }
    counts formula(const workload& w, pass which, const tile_plan& plan) const override {
        workload whole = w;
        whole.q_len = w.q_len / plan.row_tile * plan.row_tile;
        return find_algorithm("fa2").formula(whole, which, plan);
    }
};

TEST(check, reports_a_wrong_closed_form) {
    const forgetful wrong;
    const check_result r = check({&wrong}, 50, 1);
    ASSERT_FALSE(r.mismatches.empty());
    EXPECT_NE(r.mismatches.front().find("forgetful forward"), std::string::npos) << r.mismatches.front();
    EXPECT_NE(r.mismatches.front().find("closed form"), std::string::npos);
}

/// The tiles of a band, by looking at every pair.
TEST(check, closed_forms_see_the_tiles_that_hold_a_visible_pair) {
    std::mt19937_64 random(3);
    const algorithm& fa2 = find_algorithm("fa2");
    for (int n = 0; n < 300; ++n) {
        experiment e = random_experiment(fa2, pass::forward, random);
        e.what.blocks.clear();
        if (e.what.packed_heads) e.what.q_heads = e.what.kv_heads; // groups of one: packed and unpacked are the same
        const workload& w = e.what;
        const core::problem p = w.problem();
        index_t keys = 0;
        index_t rows = 0;
        for (index_t b = 0; b < w.batch; ++b) {
            const core::sequence s = p.sequence_of(b);
            const core::band band = p.band_of(s);
            for (index_t r = 0; r < s.q_len; r += e.plan.row_tile) {
                for (index_t c = 0; c < s.k_len; c += e.plan.key_tile) {
                    const index_t r1 = std::min(s.q_len, r + e.plan.row_tile);
                    const index_t c1 = std::min(s.k_len, c + e.plan.key_tile);
                    bool any = false;
                    for (index_t i = r; i < r1 && !any; ++i)
                        for (index_t j = c; j < c1 && !any; ++j) any = band.visible(i, j);
                    keys += any ? c1 - c : 0;
                    rows += any ? r1 - r : 0;
                }
            }
        }
        const counts forward = fa2.formula(w, pass::forward, e.plan);
        EXPECT_EQ(forward[tensor::k].reads, w.q_heads * keys * w.head_dim) << describe(e);
        const counts backward = fa2.formula(w, pass::backward, e.plan);
        EXPECT_EQ(backward[tensor::q].reads, w.q_heads * rows * w.head_dim) << describe(e);
    }
}

// Computed by hand: q = 5, k = 7, d = 3, e = 2, Br = 2, Bc = 3, so Tr = 3, Tc = 3.
TEST(check, small_cases_by_hand) {
    workload w = workload::square(0, 3);
    w.q_len = 5;
    w.k_len = 7;
    w.value_dim = 2;
    const tile_plan plan{2, 3, 2};
    const auto moved = [&](const char* name, pass which) {
        experiment e;
        e.what = w;
        e.which = which;
        e.plan = plan;
        return run(find_algorithm(name), e).moved.elements();
    };
    using core::transfers;
    EXPECT_EQ(moved("standard", pass::forward), (transfers{15 + 21 + 14 + 70, 70 + 10}));
    EXPECT_EQ(moved("standard", pass::backward), (transfers{175 + 20 + 14 + 21 + 15, 70 + 14 + 15 + 21}));
    EXPECT_EQ(moved("fa1", pass::forward), (transfers{35 + 3 * 35, 4 * 20}));
    EXPECT_EQ(moved("fa1-lazy", pass::forward), (transfers{35 + 3 * 15 + 2 * 20, 3 * 20}));
    EXPECT_EQ(moved("fa1", pass::backward), (transfers{35 + 3 * 5 * 12, 4 * 15 + 70}));
    EXPECT_EQ(moved("fa2", pass::forward), (transfers{15 + 3 * 35, 15}));
    EXPECT_EQ(moved("fa2-printed", pass::backward), (transfers{20 + 35 + 3 * 5 * 12, 5 + 4 * 15 + 35}));
    EXPECT_EQ(moved("fa2", pass::backward), (transfers{20 + 35 + 3 * 5 * 10 + 15, 5 + 5 * 15 + 35}));
    EXPECT_EQ(moved("fa2-recompute", pass::backward), (transfers{20 + 4 * 35 + 4 * 5 * 7, 5 + 15 + 35}));
    EXPECT_EQ(moved("split-keys", pass::forward), (transfers{2 * 15 + 3 * 35 + 2 * 20, 2 * 20 + 15}));
    // delta 10 + 10; dS: dO 3·10, V 3·14, P 35; dV: P 35, dO 30; dK: dS in two widths (2, 1) 70, Q 45; dQ: dS 35, K 63.
    EXPECT_EQ(moved("small-cache", pass::backward),
              (transfers{20 + 30 + 42 + 35 + 35 + 30 + 70 + 45 + 35 + 63, 35 + 15 + 21 + 14}));
}

TEST(check, packed_heads_bring_keys_in_once_a_group) {
    experiment e;
    e.what = workload::square(10, 4, 6);
    e.what.kv_heads = 2;
    e.plan = {7, 3, 1};
    const algorithm& fa2 = find_algorithm("fa2");
    EXPECT_EQ(run(fa2, e).moved[tensor::k].reads, 6 * 2 * 10 * 4);
    e.what.packed_heads = true;
    EXPECT_EQ(run(fa2, e).moved[tensor::k].reads, 2 * 5 * 10 * 4); // ceil(3 · 10 / 7) = 5 row tiles
    e.what.mask = causal();
    EXPECT_THROW(static_cast<void>(run(fa2, e)), invalid_argument); // 7 is not a multiple of 3
}

} // namespace
} // namespace pantile::inline v0::simulator
