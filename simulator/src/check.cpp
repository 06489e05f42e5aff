#include <pantile/simulator/check.hpp>

#include <pantile/core/traffic.hpp>

namespace pantile::inline v0::simulator {

namespace {

index_t pick(std::mt19937_64& random, index_t low, index_t high) {
    return std::uniform_int_distribution<index_t>(low, high)(random);
}

bool chance(std::mt19937_64& random, int percent) { return pick(random, 1, 100) <= percent; }

void pick_mask(workload& w, std::mt19937_64& random) {
    const index_t kind = pick(random, 0, 3);
    if (kind == 1) w.mask = causal();
    if (kind >= 2) w.mask = window(chance(random, 30) ? unbounded : pick(random, 0, 40), pick(random, 0, 40));
    if (kind == 3 && chance(random, 20)) w.mask.right = -pick(random, 0, 10);
    const index_t align = pick(random, 0, 2);
    if (align == 1) w.mask.align = alignment::top_left;
    if (align == 2) w.mask = w.mask.at_offset(pick(random, -60, 60));
}

void pick_blocks(workload& w, std::mt19937_64& random) {
    w.block_rows = pick(random, 1, 20);
    w.block_cols = pick(random, 1, 20);
    w.blocks.resize(
        static_cast<std::size_t>(core::ceil_div(w.q_len, w.block_rows) * core::ceil_div(w.k_len, w.block_cols)));
    for (unsigned char& b : w.blocks) b = chance(random, 40) ? 1 : 0;
}

std::string compare(const algorithm& a, const experiment& e, std::string_view what, core::transfers counted,
                    core::transfers formula) {
    return std::string(a.name()) + ' ' + describe(e) + ": " + std::string(what) + " counted " +
           std::to_string(counted.reads) + " reads, " + std::to_string(counted.writes) + " writes; closed form " +
           std::to_string(formula.reads) + ", " + std::to_string(formula.writes);
}

/// What core predicts for a real call, where it has a closed form of this algorithm.
void check_core(const algorithm& a, const experiment& e, const counts& c, std::vector<std::string>& mismatches) {
    if (e.what.packed_heads || !e.what.blocks.empty()) return;
    const core::problem p = e.what.problem();
    core::traffic t;
    if (a.name() == "fa2") {
        t = e.which == pass::forward ? core::forward_traffic(p, e.plan) : core::backward_traffic(p, e.plan);
    } else if (a.name() == "standard") {
        t = e.which == pass::forward ? core::standard_forward_traffic(p) : core::standard_backward_traffic(p);
    } else {
        return;
    }
    const auto expect = [&](tensor which, core::transfers counted, core::transfers formula) {
        if (counted == formula) return;
        mismatches.push_back(compare(a, e, "core's " + std::string(name(which)), counted, formula));
    };
    expect(tensor::q, c[tensor::q], t.q);
    expect(tensor::k, c[tensor::k], t.k);
    expect(tensor::v, c[tensor::v], t.v);
    expect(tensor::out, c[tensor::out], t.out);
    expect(tensor::lse, c[tensor::lse], t.lse);
    expect(tensor::dout, c[tensor::dout], t.dout);
    expect(tensor::delta, c[tensor::delta], t.delta);
    expect(tensor::dq, c[tensor::dq] + c[tensor::dq_sum], t.dq);
    expect(tensor::dk, c[tensor::dk], t.dk);
    expect(tensor::dv, c[tensor::dv], t.dv);
    expect(tensor::scores, c[tensor::scores], t.scores);
    expect(tensor::probabilities, c[tensor::probabilities], t.probabilities);
    expect(tensor::dprobabilities, c[tensor::dprobabilities], t.dprobabilities);
    expect(tensor::dscores, c[tensor::dscores], t.dscores);
}

} // namespace

experiment random_experiment(const algorithm& a, pass which, std::mt19937_64& random) {
    experiment e;
    e.which = which;
    workload& w = e.what;
    w.batch = pick(random, 1, 2);
    w.kv_heads = pick(random, 1, 2);
    w.q_heads = w.kv_heads * pick(random, 1, 3);
    w.q_len = chance(random, 3) ? 0 : pick(random, 1, 70);
    w.k_len = chance(random, 3) ? 0 : pick(random, 1, 70);
    w.head_dim = pick(random, 1, 9);
    w.value_dim = pick(random, 1, 9);
    pick_mask(w, random);
    if (a.block_sparse() && chance(random, 25)) pick_blocks(w, random);
    if (w.blocks.empty() && chance(random, 20)) {
        for (index_t b = 0; b < w.batch; ++b) w.key_lengths.push_back(pick(random, 0, w.k_len));
    }
    e.plan = {pick(random, 1, 33), pick(random, 1, 33), pick(random, 1, 6)};
    w.packed_heads = chance(random, 30);
    if (a.distributed()) w.devices = pick(random, 1, 4);
    if (w.packed_heads && w.banded()) e.plan.row_tile *= w.group();
    // What changes logits must change no count.
    if (chance(random, 20) && (which == pass::forward || a.recomputes_scores())) w.softcap = 2.0;
    if (chance(random, 20)) w.slopes.assign(static_cast<std::size_t>(w.q_heads), 0.25);
    if (chance(random, 20)) w.sinks.assign(static_cast<std::size_t>(w.q_heads), 0.5);
    for (std::size_t h = 0; h < w.slopes.size(); ++h) w.slopes[h] /= static_cast<double>(h + 1);
    for (std::size_t h = 0; h < w.sinks.size(); ++h) w.sinks[h] -= static_cast<double>(h);
    return e;
}

std::string describe(const experiment& e) {
    const workload& w = e.what;
    const auto side = [](index_t s) { return s >= unbounded ? std::string("all") : std::to_string(s); };
    std::string text =
        std::string(name(e.which)) + " batch " + std::to_string(w.batch) + ", heads " + std::to_string(w.q_heads) +
        "/" + std::to_string(w.kv_heads) + (w.packed_heads ? " packed" : "") + ", q " + std::to_string(w.q_len) +
        ", k " + std::to_string(w.k_len) + ", d " + std::to_string(w.head_dim) + ", e " + std::to_string(w.value_dim);
    if (w.mask.left < unbounded || w.mask.right < unbounded) {
        static constexpr std::string_view aligned[] = {"bottom-right", "top-left", "offset "};
        text += ", window " + side(w.mask.left) + ":" + side(w.mask.right) + " " +
                std::string(aligned[static_cast<std::size_t>(w.mask.align)]);
        if (w.mask.align == alignment::explicit_offset) text += std::to_string(w.mask.offset);
    }
    if (!w.key_lengths.empty()) {
        text += ", key lengths";
        for (const index_t k : w.key_lengths) text += " " + std::to_string(k);
    }
    if (!w.blocks.empty()) {
        text += ", blocks " + std::to_string(w.block_rows) + "x" + std::to_string(w.block_cols);
    }
    if (const std::string on = w.features_text(); !on.empty()) text += ", " + on;
    text += ", tiles " + std::to_string(e.plan.row_tile) + "x" + std::to_string(e.plan.key_tile);
    if (w.devices > 1) text += ", devices " + std::to_string(w.devices);
    if (e.plan.key_splits > 1) text += ", splits " + std::to_string(e.plan.key_splits);
    return text;
}

std::vector<std::string> check_one(const algorithm& a, const experiment& e) {
    const run_result r = run(a, e);
    const counts& counted = r.moved;
    const counts sent = a.sent_formula(e.what, e.which, e.plan);
    const counts formula = a.formula(e.what, e.which, e.plan);
    std::vector<std::string> mismatches;
    for (int i = 0; i < tensor_kinds; ++i) {
        const auto t = static_cast<tensor>(i);
        if (counted[t] != formula[t]) mismatches.push_back(compare(a, e, name(t), counted[t], formula[t]));
        if (r.sent[t] != sent[t]) {
            mismatches.push_back(compare(a, e, std::string(name(t)) + " over the link", r.sent[t], sent[t]));
        }
    }
    check_core(a, e, counted, mismatches);
    return mismatches;
}

check_result check(const std::vector<const algorithm*>& list, index_t cases, std::uint64_t seed,
                   const std::function<void(index_t done, index_t of)>& progress) {
    check_result result;
    std::mt19937_64 random(seed);
    index_t total = 0;
    for (const algorithm* a : list) total += cases * (a->has(pass::forward) + a->has(pass::backward));
    for (const algorithm* a : list) {
        for (const pass which : {pass::forward, pass::backward}) {
            if (!a->has(which)) continue;
            for (index_t i = 0; i < cases; ++i, ++result.cases) {
                for (std::string& m : check_one(*a, random_experiment(*a, which, random))) {
                    result.mismatches.push_back(std::move(m));
                }
                if (progress && result.cases % 256 == 0) progress(result.cases, total);
            }
        }
    }
    return result;
}

} // namespace pantile::inline v0::simulator
