// Split keys (flash-decoding): the keys are cut into parts, each part's rows are a forward walk of their own that writes a
// partial result, and a second kernel combines the parts. For few rows and many keys.

#include "algorithms/all.hpp"
#include "algorithms/row_stationary.hpp"
#include "closed_forms/visits.hpp"

#include <pantile/error.hpp>

namespace pantile::simulator {

namespace {

/// Key tiles of one part, and how many parts hold any.
struct parts {
    index_t tiles_each = 0;
    index_t count = 0;
    parts(index_t key_tiles, index_t wanted) {
        if (key_tiles == 0) return;
        tiles_each = core::ceil_div(key_tiles, wanted);
        count = core::ceil_div(key_tiles, tiles_each);
    }
};

/// The same rows against the keys of part `i` only.
head_task part_of(const head_task& whole, const parts& cut, index_t i) {
    const core::schedule& plan = whole.plan;
    const index_t keys_each = cut.tiles_each * plan.key_size;
    const core::span keys{i * keys_each, std::min((i + 1) * keys_each, plan.seq.k_len)};
    const core::sequence s = plan.seq.part(keys);
    head_task part = whole;
    part.plan = core::schedule(s, {plan.mask.left, plan.mask.right, s.offset, s.k_len}, plan.row_size, plan.key_size);
    return part;
}

/// out = Σ 2^(lse_part - max) · out_part / Σ 2^(lse_part - max), rows of one row tile.
void combine(processor& p, const workload& w, const head_task& task, index_t parts_count, core::span rows,
             index_t row_tile, index_t places) {
    p.begin_block(task.q_place, row_tile);
    tile sum = p.hold("O", rows.size(), w.value_dim, tile_role::accumulator);
    tile part = p.hold("O part", rows.size(), w.value_dim, tile_role::accumulator);
    tile part_lse = p.hold("lse part", rows.size(), 1, tile_role::statistic);
    tile weight = p.hold("weight", rows.size(), 2, tile_role::statistic); // {max, sum} in base 2
    p.clear(sum);
    p.each(weight, 0, 0, [&](index_t i, index_t j) { weight.set(i, j, j == 0 ? hidden : 0.0); });
    using softmax = running_rows::softmax;
    for (index_t s = 0; s < parts_count; ++s) {
        const index_t place = s * places + task.q_place;
        p.load(part, tensor::partial_out, place, rows);
        p.load(part_lse, tensor::partial_lse, place, rows);
        p.each(weight, 1, 1, [](index_t, index_t) {});
        p.each(part, 3, 0, [](index_t, index_t) {});
        for (index_t i = 0; p.computes() && i < rows.size(); ++i) {
            const double y = part_lse(i, 0) * core::log2_e;
            double earlier = 0.0;
            double here = 0.0;
            const auto merged =
                softmax::merge({weight(i, 0), weight(i, 1)}, {y, y == hidden ? 0.0 : 1.0}, earlier, here);
            weight.set(i, 0, merged.max);
            weight.set(i, 1, merged.sum);
            for (index_t x = 0; x < part.columns(); ++x) sum.set(i, x, sum(i, x) * earlier + part(i, x) * here);
        }
    }
    p.each(sum, 1, 0, [&](index_t i, index_t x) {
        sum.set(i, x, sum(i, x) * core::finish_factor(softmax::state{weight(i, 0), weight(i, 1)}));
    });
    p.each(part_lse, 0, 0, [&](index_t i, index_t) {
        part_lse.set(i, 0, core::finish_lse(softmax::state{weight(i, 0), weight(i, 1)}));
    });
    part_lse.use(rows.size(), 1);
    p.store(sum, tensor::out, task.q_place, rows);
    p.store(part_lse, tensor::lse, task.q_place, rows);
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

    void run(processor& p, const workload& w, pass, const tile_plan& plan) const override {
        for_each_head(w, plan, [&](const head_task& whole) {
            const parts cut(whole.plan.key_tiles(), plan.key_splits);
            const index_t places = w.batch * (w.packed_heads ? w.kv_heads : w.q_heads);
            for (index_t s = 0; s < cut.count; ++s) {
                const head_task task = part_of(whole, cut, s);
                row_stationary_forward machine(p, w, task, tensor::partial_out, tensor::partial_lse,
                                               s * places + task.q_place);
                for (index_t i = 0; i < task.plan.row_tiles(); ++i) core::walk::forward(machine, task.plan, i);
            }
            for (index_t i = 0; i < whole.plan.row_tiles(); ++i) {
                combine(p, w, whole, cut.count, whole.rows(whole.plan.rows(i)), i, places);
            }
        });
    }

    // With s parts: reads s·qd + keys·(d + e), writes s·q(e + 1); combining reads that again and writes q(e + 1).
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
            c.write(tensor::partial_lse, partial_rows);
            c.read(tensor::partial_out, product(partial_rows, w.value_dim));
            c.read(tensor::partial_lse, partial_rows);
            c.write(tensor::out, product(rows, w.value_dim));
            c.write(tensor::lse, rows);
        });
        return c;
    }
};

} // namespace

const algorithm* split_keys() {
    static const split_keys_algorithm a;
    return &a;
}

} // namespace pantile::simulator
