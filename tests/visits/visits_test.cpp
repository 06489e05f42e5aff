// All machines visit the same tiles: the CPU's machines, recorded at work, and the simulated processor, whose transfers of K
// are watched, against a list made from visible(i, j) alone.

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <pantile/simulator.hpp>

#include "cpu_visits.hpp"

namespace {

using namespace pantile;
using pantile::test::visit_list;

/// Pairs of [row, row_end) and [key, key_end) that are visible, counted one by one.
index_t pairs_seen(const core::band& band, index_t row, index_t row_end, index_t key, index_t key_end) {
    index_t seen = 0;
    for (index_t i = row; i < row_end; ++i) {
        for (index_t j = key; j < key_end; ++j) seen += band.visible(i, j) ? 1 : 0;
    }
    return seen;
}

/// Which tiles stand still: row tiles, past which keys go (forward), or key tiles, past which rows go (backward).
enum class stationary { rows, keys };

/// Every pair of tiles that shows a pair, those that stand still first, the others ascending; full if it shows every pair.
visit_list expected(const core::problem& p, const tile_plan& plan, stationary first = stationary::rows) {
    const core::sequence seq = p.sequence_of(0);
    const core::band band = p.band_of(seq);
    const bool by_keys = first == stationary::keys;
    const index_t outer_length = by_keys ? seq.k_len : seq.q_len, outer_tile = by_keys ? plan.key_tile : plan.row_tile;
    const index_t inner_length = by_keys ? seq.q_len : seq.k_len, inner_tile = by_keys ? plan.row_tile : plan.key_tile;
    visit_list visits;
    for (index_t o = 0; o < outer_length; o += outer_tile) {
        const index_t o_end = std::min(o + outer_tile, outer_length);
        for (index_t i = 0; i < inner_length; i += inner_tile) {
            const index_t i_end = std::min(i + inner_tile, inner_length);
            const index_t seen = by_keys ? pairs_seen(band, i, i_end, o, o_end) : pairs_seen(band, o, o_end, i, i_end);
            const bool full = seen == (o_end - o) * (i_end - i);
            if (seen > 0) visits.push_back({o / outer_tile, i, i_end, full ? 1 : 0});
        }
    }
    return visits;
}

/// The row tiles' loads of K, as the simulated processor makes them.
class key_loads : public simulator::observer {
  public:
    visit_list visits;

    void begin_block(index_t /*place*/, index_t tile) override { row_tile_ = tile; }
    void moved(const simulator::transfer& t) override {
        if (t.what == simulator::tensor::k && !t.write) visits.push_back({row_tile_, t.rows.begin, t.rows.end, 0});
    }

  private:
    index_t row_tile_ = -1;
};

visit_list without_fullness(visit_list visits) {
    for (auto& v : visits) v[3] = 0;
    return visits;
}

visit_list simulated(const simulator::workload& w, const tile_plan& plan) {
    key_loads loads;
    simulator::experiment e;
    e.what = w;
    e.plan = plan;
    e.near = simulator::near_memory::of_bytes(index_t{1} << 40, w.type);
    (void)simulator::run(simulator::find_algorithm("fa2"), e, &loads);
    return loads.visits;
}

simulator::workload any_workload(index_t longest_q) {
    simulator::workload w;
    w.q_len = *rc::gen::inRange<index_t>(1, longest_q + 1);
    w.k_len = *rc::gen::inRange<index_t>(1, 90);
    w.head_dim = 4;
    w.value_dim = 3;
    const auto side = [] { return *rc::gen::oneOf(rc::gen::just(unbounded), rc::gen::inRange<index_t>(0, 40)); };
    w.mask.left = side();
    w.mask.right = side();
    w.mask.align = *rc::gen::element(alignment::bottom_right, alignment::top_left, alignment::explicit_offset);
    w.mask.offset = *rc::gen::inRange<index_t>(-60, 60);
    if (*rc::gen::arbitrary<bool>()) w.key_lengths = {*rc::gen::inRange<index_t>(0, w.k_len + 1)};
    return w;
}

RC_GTEST_PROP(visits, tile_machines_and_simulator, ()) {
    const simulator::workload w = any_workload(90);
    const tile_plan plan{*rc::gen::inRange<index_t>(1, 50), *rc::gen::inRange<index_t>(1, 50), 1};
    const visit_list wanted = expected(w.problem(), plan);
    RC_ASSERT(test::tile_machine_visits(w.problem(), plan) == wanted);
    RC_ASSERT(test::matrix_machine_visits(w.problem(), plan) == wanted);
    RC_ASSERT(simulated(w, plan) == without_fullness(wanted));
}

RC_GTEST_PROP(visits, decode_machine_and_simulator, ()) {
    const simulator::workload w = any_workload(2);
    const tile_plan plan{w.q_len, *rc::gen::inRange<index_t>(1, 50), 1};
    const visit_list wanted = expected(w.problem(), plan);
    RC_ASSERT(test::decode_machine_visits(w.problem(), plan) == wanted);
    RC_ASSERT(simulated(w, plan) == without_fullness(wanted));
}

RC_GTEST_PROP(visits, backward_machine, ()) {
    const simulator::workload w = any_workload(90);
    const tile_plan plan{*rc::gen::inRange<index_t>(1, 7) * test::backward_panel, *rc::gen::inRange<index_t>(1, 50), 1};
    RC_ASSERT(test::backward_machine_visits(w.problem(), plan) == expected(w.problem(), plan, stationary::keys));
}

} // namespace
