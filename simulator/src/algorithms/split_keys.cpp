// Split keys (flash-decoding): the keys are cut into parts, each part's rows are a forward walk of their own that writes a
// partial result, and a second kernel combines the parts. For few rows and many keys. Over several devices the parts are
// dealt out in turn; the first device holds the queries, sends them to the others, and combines what comes back.

#include "algorithms/all.hpp"
#include "algorithms/key_parts.hpp"
#include "algorithms/row_stationary.hpp"
#include "closed_forms/visits.hpp"

namespace pantile::inline v0::simulator {

namespace {

/// out = Σ 2^(max_part - max) · O_part / Σ 2^(max_part - max) · sum_part, rows of one row tile.
void combine(processor& p, const workload& w, const head_task& task, index_t parts_count, core::span rows,
             index_t row_tile, index_t places) {
    using softmax = running_rows::softmax;
    p.begin_block(task.q_place, row_tile);
    tile sum = p.hold("O", rows.size(), w.value_dim, tile_role::accumulator);
    tile part = p.hold("O part", rows.size(), w.value_dim, tile_role::accumulator);
    tile part_max = p.hold("max part", rows.size(), 1, tile_role::statistic);
    tile part_sum = p.hold("sum part", rows.size(), 1, tile_role::statistic);
    tile weight = p.hold("weight", rows.size(), 2, tile_role::statistic); // {max, sum} in base 2
    p.clear(sum);
    const score_stage stage(w, task);
    p.each(weight, 0, 0, [&](index_t i, index_t j) { // the first part has carried the sinks, if there is one
        const softmax::state start = stage.start(rows.begin + i, parts_count == 0);
        weight.set(i, j, j == 0 ? start.max : start.sum);
    });
    for (index_t s = 0; s < parts_count; ++s) {
        const index_t place = s * places + task.q_place;
        p.load(part, tensor::partial_out, place, rows);
        p.load(part_max, tensor::partial_max, place, rows);
        p.load(part_sum, tensor::partial_sum, place, rows);
        p.each(weight, 1, 1, [](index_t, index_t) {});
        p.each(part, 3, 0, [](index_t, index_t) {});
        for (index_t i = 0; p.computes() && i < rows.size(); ++i) {
            double earlier = 0.0;
            double here = 0.0;
            const auto merged =
                softmax::merge({weight(i, 0), weight(i, 1)}, {part_max(i, 0), part_sum(i, 0)}, earlier, here);
            weight.set(i, 0, merged.max);
            weight.set(i, 1, merged.sum);
            for (index_t x = 0; x < part.columns(); ++x) sum.set(i, x, sum(i, x) * earlier + part(i, x) * here);
        }
    }
    p.each(sum, 1, 0, [&](index_t i, index_t x) {
        sum.set(i, x, sum(i, x) * core::finish_factor(softmax::state{weight(i, 0), weight(i, 1)}));
    });
    tile& lse = part_max; // its room
    lse.use(rows.size(), 1);
    p.each(lse, 0, 0, [&](index_t i, index_t) {
        lse.set(i, 0, core::finish_lse(softmax::state{weight(i, 0), weight(i, 1)}));
    });
    p.store(sum, tensor::out, task.q_place, rows);
    p.store(lse, tensor::lse, task.q_place, rows);
    p.end_block();
}

class split_keys_algorithm : public algorithm {
  public:
    std::string_view name() const override { return "split-keys"; }
    std::string_view summary() const override {
        return "fa2 over parts of the keys, then a combine pass (flash-decoding; tile plan's key_splits)";
    }
    bool has(pass which) const override { return which == pass::forward; }
    bool block_sparse() const override { return false; }
    bool distributed() const override { return true; }

    void run(processor& p, const workload& w, pass, const tile_plan& plan) const override {
        for_each_head(w, plan, [&](const head_task& whole) {
            const key_parts cut(whole.plan.key_tiles(), plan.key_splits);
            const index_t places = w.batch * (w.packed_heads ? w.kv_heads : w.q_heads);
            const core::span all{0, whole.q_rows()};
            for (index_t s = 0; s < cut.count; ++s) {
                const head_task task = part_of(whole, cut, s);
                const index_t device = s % w.devices;
                if (device != 0 && s == device) p.send(tensor::q, whole.q_place, all, {0, w.head_dim});
                row_stationary_forward machine(p, w, task, tensor::out, tensor::lse, s * places + task.q_place);
                machine.leave_partial(s == 0);
                for (index_t i = 0; i < task.plan.row_tiles(); ++i) core::walk::forward(machine, task.plan, i);
                if (device == 0) continue;
                p.send(tensor::partial_out, s * places + task.q_place, all, {0, w.value_dim});
                p.send(tensor::partial_max, s * places + task.q_place, all, {0, 1});
                p.send(tensor::partial_sum, s * places + task.q_place, all, {0, 1});
            }
            for (index_t i = 0; i < whole.plan.row_tiles(); ++i) {
                combine(p, w, whole, cut.count, whole.rows(whole.plan.rows(i)), i, places);
            }
        });
    }

    // With s parts: reads s·qd + keys·(d + e), writes s·q(e + 2); combining reads that again and writes q(e + 1).
    // The parts are cut at key tiles, so together they visit what the whole visits.
    counts formula(const workload& w, pass, const tile_plan& plan) const override {
        counts c;
        for_each_batch(w, plan, [&](const head_sums& sums) {
            const index_t each = sums.key_tiles > 0 ? core::ceil_div(sums.key_tiles, plan.key_splits) : 1;
            const index_t rows = product(sums.heads, sums.q);
            const index_t partial_rows = product(core::ceil_div(sums.key_tiles, each), rows);
            c.read(tensor::q, product(partial_rows, w.head_dim));
            c.read(tensor::k, product(sums.heads, sums.keys, w.head_dim));
            c.read(tensor::v, product(sums.heads, sums.keys, w.value_dim));
            c.write(tensor::partial_out, product(partial_rows, w.value_dim));
            c.write(tensor::partial_max, partial_rows);
            c.write(tensor::partial_sum, partial_rows);
            c.read(tensor::partial_out, product(partial_rows, w.value_dim));
            c.read(tensor::partial_max, partial_rows);
            c.read(tensor::partial_sum, partial_rows);
            c.write(tensor::out, product(rows, w.value_dim));
            c.write(tensor::lse, rows);
        });
        return with_sent(c, sent_formula(w, pass::forward, plan));
    }

    // Queries to every other device that has a part, qd each; (e + 2)q back for every part that is not on the first device.
    counts sent_formula(const workload& w, pass, const tile_plan& plan) const override {
        counts c;
        for_each_batch(w, plan, [&](const head_sums& sums) {
            const index_t each = sums.key_tiles > 0 ? core::ceil_div(sums.key_tiles, plan.key_splits) : 1;
            const index_t parts = core::ceil_div(sums.key_tiles, each);
            const index_t rows = product(sums.heads, sums.q);
            const index_t away = product(parts - core::ceil_div(parts, w.devices), rows);
            c.write(tensor::q, product(std::max<index_t>(0, std::min(parts, w.devices) - 1), rows, w.head_dim));
            c.write(tensor::partial_out, product(away, w.value_dim));
            c.write(tensor::partial_max, away);
            c.write(tensor::partial_sum, away);
        });
        return c;
    }
};

} // namespace

const algorithm* split_keys() {
    static const split_keys_algorithm a;
    return &a;
}

} // namespace pantile::inline v0::simulator
