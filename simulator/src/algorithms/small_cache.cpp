// For near memory below d² elements: every product in square tiles whose result stays near, S and P through far memory
// (Saha & Ye, arXiv 2402.07443: Θ(N²d/√M), below the tiled algorithms' Θ(N²d²/M) there).

#include "algorithms/all.hpp"
#include "algorithms/running_rows.hpp"
#include "closed_forms/visits.hpp"

#include <pantile/core/walk.hpp>

namespace pantile::simulator {

namespace {

/// The three phases of one row tile, each over the key tiles that it sees. The operands of a product pass by one column
/// (or row) at a time, so near memory holds the result tile and one vector of each operand.
class small_cache_rows {
  public:
    small_cache_rows(processor& p, const workload& w, const head_task& task, index_t row_tile)
        : p_(p), w_(w), task_(task), index_(row_tile), rows_(task.rows(task.plan.rows(row_tile))) {}

    void run() {
        p_.begin_block(task_.q_place, index_);
        scores();
        normalise();
        combine();
        p_.end_block();
    }

  private:
    template <class F>
    void for_each_key_tile(F&& f) {
        const core::span range = task_.plan.key_range(index_);
        for (core::key_tile t = task_.plan.next_key_tile(index_, range.begin, range); t.due != core::visit::skip;
             t = task_.plan.next_key_tile(index_, t.index + 1, range)) {
            f(t);
        }
    }
    tile pair_tile(tile_role role) {
        return p_.hold("S", rows_.size(), std::min(task_.plan.key_size, task_.plan.seq.k_len), role);
    }
    tile passing(const char* name, index_t rows, index_t columns) {
        return p_.hold(name, rows, columns, tile_role::streamed);
    }

    /// S = Q·Kᵀ tile by tile, the running {max, sum} beside it.
    void scores() {
        running_rows state(p_, rows_.size());
        state.start(rows_.size());
        tile s = pair_tile(tile_role::accumulator);
        const tile q_column = p_.hold("Q column", rows_.size(), 1, tile_role::operand);
        const tile k_column = p_.hold("K column", s.columns(), 1, tile_role::operand);
        for_each_key_tile([&](const core::key_tile& t) {
            tile q = passing("Q", rows_.size(), w_.head_dim);
            tile k = passing("K", t.keys.size(), w_.head_dim);
            p_.load(q, tensor::q, task_.q_place, rows_);
            p_.load(k, tensor::k, task_.kv_place, task_.keys(t.keys));
            p_.multiply(s, q, k, transpose::right);
            mask_scores(p_, s, task_, base2_scale(w_), rows_, t.keys, t.due == core::visit::partial);
            p_.store(s, tensor::scores, task_.q_place, rows_, task_.keys(t.keys).begin);
            state.fold(s, nullptr);
        });
        state.finish(nullptr);
        state.store(0, tensor::lse, task_.q_place, rows_);
    }

    /// P = exp(S - lse).
    void normalise() {
        tile lse = p_.hold("lse", rows_.size(), 1, tile_role::statistic);
        p_.load(lse, tensor::lse, task_.q_place, rows_);
        tile s = pair_tile(tile_role::accumulator);
        for_each_key_tile([&](const core::key_tile& t) {
            p_.load(s, tensor::scores, task_.q_place, rows_, task_.keys(t.keys));
            p_.each(s, 1, 1, [&](index_t i, index_t j) {
                s.set(i, j, s(i, j) == hidden ? 0.0 : std::exp2(s(i, j) - lse(i, 0) * core::log2_e));
            });
            p_.store(s, tensor::probabilities, task_.q_place, rows_, task_.keys(t.keys).begin);
        });
    }

    /// O = P·V, in tiles as wide as a key tile.
    void combine() {
        const index_t width = std::min(task_.plan.key_size, w_.value_dim);
        for (index_t column = 0; column < w_.value_dim; column += width) {
            const core::span columns{column, std::min(column + width, w_.value_dim)};
            tile o = p_.hold("O", rows_.size(), columns.size(), tile_role::accumulator);
            const tile p_column = p_.hold("P column", rows_.size(), 1, tile_role::operand);
            const tile v_row = p_.hold("V row", 1, columns.size(), tile_role::operand);
            p_.clear(o);
            for_each_key_tile([&](const core::key_tile& t) {
                tile p = passing("P", rows_.size(), t.keys.size());
                tile v = passing("V", t.keys.size(), columns.size());
                p_.load(p, tensor::probabilities, task_.q_place, rows_, task_.keys(t.keys));
                p_.load(v, tensor::v, task_.kv_place, task_.keys(t.keys), columns);
                p_.multiply(o, p, v, transpose::none, true);
            });
            p_.store(o, tensor::out, task_.q_place, rows_, columns.begin);
        }
    }

    processor& p_;
    const workload& w_;
    const head_task& task_;
    index_t index_;
    core::span rows_;
};

class small_cache_algorithm : public algorithm {
  public:
    std::string_view name() const override { return "small-cache"; }
    std::string_view summary() const override {
        return "square-tiled products, S and P through far memory: best below M = d² (Saha & Ye, arXiv 2402.07443)";
    }
    bool has(pass which) const override { return which == pass::forward; }

    void run(processor& p, const workload& w, pass, const tile_plan& plan) const override {
        for_each_head(w, plan, [&](const head_task& task) {
            for (index_t i = 0; i < task.plan.row_tiles(); ++i) small_cache_rows(p, w, task, i).run();
        });
    }

    // Σ over visited tiles: Q (rows·d) and K (keys·d) for S; S written, read, P written; P read and V (keys·e) once for
    // each of the ceil(e / Bc) widths of O. lse written and read once, out written once.
    counts formula(const workload& w, pass, const tile_plan& plan) const override {
        counts c;
        for_each_batch(w, plan, [&](const head_sums& s) {
            const index_t h = s.heads;
            const index_t pairs = product(h, s.pairs);
            const index_t widths =
                core::ceil_div(w.value_dim, std::min(plan.key_tile, std::max<index_t>(1, w.value_dim)));
            c.read(tensor::q, product(h, s.rows, w.head_dim));
            c.read(tensor::k, product(h, s.keys, w.head_dim));
            c.write(tensor::scores, pairs);
            c.read(tensor::scores, pairs);
            c.write(tensor::probabilities, pairs);
            c.read(tensor::probabilities, product(pairs, widths));
            c.read(tensor::v, product(h, s.keys, w.value_dim));
            c.write(tensor::lse, product(h, s.q));
            c.read(tensor::lse, product(h, s.q));
            c.write(tensor::out, product(h, s.q, w.value_dim));
        });
        return c;
    }
};

} // namespace

const algorithm* small_cache() {
    static const small_cache_algorithm a;
    return &a;
}

} // namespace pantile::simulator
