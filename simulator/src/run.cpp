#include <pantile/simulator/run.hpp>

#include <algorithm>

#include <pantile/error.hpp>

namespace pantile::inline v0::simulator {

namespace {

void check(const algorithm& a, const experiment& e) {
    e.what.check();
    const std::string who(a.name());
    if (!a.has(e.which)) throw invalid_argument(who + " has no " + std::string(name(e.which)) + " pass");
    if (!a.block_sparse() && !e.what.blocks.empty()) throw invalid_argument(who + " does not take a block mask");
    if (!a.distributed() && e.what.devices != 1) {
        throw invalid_argument(who + " runs on one device, devices is " + std::to_string(e.what.devices));
    }
    if (!a.recomputes_scores() && e.which == pass::backward && e.what.softcap > 0) {
        throw unsupported(who + " keeps P and no scores: its backward pass does not know the slope of a soft cap");
    }
    if (!a.tiled()) return;
    if (e.plan.row_tile <= 0 || e.plan.key_tile <= 0 || e.plan.key_splits <= 0) {
        throw invalid_argument("tiles of " + std::to_string(e.plan.row_tile) + " rows x " +
                               std::to_string(e.plan.key_tile) + " keys, " + std::to_string(e.plan.key_splits) +
                               " splits: each must be positive");
    }
}

run_result result_of(const processor& p) {
    return {p.moved(), p.sent(), p.done(), p.blocks(), p.peak_bytes(), p.peak_register_bytes()};
}

} // namespace

run_result run(const algorithm& a, const experiment& e, observer* watcher) {
    check(a, e);
    processor p(e.near, nullptr, watcher);
    a.run(p, e.what, e.which, e.plan);
    return result_of(p);
}

run_result execute(const algorithm& a, const experiment& e, far_memory& data, bool counting, observer* watcher) {
    check(a, e);
    processor p(e.near, &data, watcher, counting);
    a.run(p, e.what, e.which, e.plan);
    return result_of(p);
}

footprint footprint_of(const algorithm& a, const experiment& e) {
    experiment small = e;
    workload& w = small.what;
    w.batch = 1;
    w.q_heads = w.packed_heads ? w.group() : 1;
    w.kv_heads = 1;
    w.devices = 1;
    w.slopes.clear();
    w.sinks.clear();
    w.q_len = std::min(w.q_len, 2 * std::max<index_t>(e.plan.row_tile, 1));
    w.k_len = std::min(w.k_len, 2 * std::max<index_t>(e.plan.key_tile, 1));
    if (a.law() == io_law::squares) {
        // Nothing live is larger than the tile of scores, and operands pass by a vector at a time: head dims change nothing.
        w.head_dim = std::min<index_t>(w.head_dim, 1);
        w.value_dim = std::min<index_t>(w.value_dim, 1);
    }
    w.key_lengths.clear();
    w.blocks.clear();
    w.mask = full();
    small.near.bytes = unbounded;
    if (small.near.accumulator_bytes > 0) small.near.accumulator_bytes = unbounded;
    const run_result r = run(a, small);
    return {r.peak_bytes, r.peak_register_bytes};
}

} // namespace pantile::inline v0::simulator
