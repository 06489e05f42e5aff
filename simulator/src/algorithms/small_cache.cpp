// For near memory below d² elements: every product in square tiles whose result stays near, S and P (backward: dS) through
// far memory. Θ(N²d/√M), below the tiled algorithms' Θ(N²d²/M) there: Saha & Ye, arXiv 2402.07443; backward, arXiv 2410.09397.

#include "algorithms/all.hpp"
#include "algorithms/running_rows.hpp"
#include "closed_forms/visits.hpp"

#include <pantile/core/walk.hpp>

namespace pantile::inline v0::simulator {

namespace {

/// Calls f(key tile) for each key tile that row tile i visits.
template <class F>
void for_each_key_tile(const core::schedule& plan, index_t i, F&& f) {
    const core::span range = plan.key_range(i);
    for (core::key_tile t = plan.next_key_tile(i, range.begin, range); t.due != core::visit::skip;
         t = plan.next_key_tile(i, t.index + 1, range)) {
        f(t);
    }
}

/// Calls f(row tile) for each row tile that visits key tile j.
template <class F>
void for_each_row_tile(const core::schedule& plan, index_t j, F&& f) {
    const core::span range = plan.row_range(j);
    for (core::row_tile t = plan.next_row_tile(j, range.begin, range); t.due != core::visit::skip;
         t = plan.next_row_tile(j, t.index + 1, range)) {
        f(t);
    }
}

/// What both passes need. The operands of a product pass by one column (or row) at a time, so near memory holds the result
/// tile and one vector of each operand.
class square_tiles {
  public:
    square_tiles(processor& p, const workload& w, const head_task& task) : p_(p), w_(w), task_(task) {}

  protected:
    tile passing(const char* name, index_t rows, index_t columns) {
        return p_.hold(name, rows, columns, tile_role::streamed);
    }
    [[nodiscard]] index_t key_capacity() const { return std::min(task_.plan.key_size, task_.plan.seq.k_len); }
    /// Calls f(columns) for each stretch of `width` columns of a matrix of `all` columns.
    template <class F>
    static void for_each_width(index_t all, index_t width, F&& f) {
        for (index_t at = 0; at < all; at += width) f(core::span{at, std::min(at + width, all)});
    }

    /// result (rows × all columns) = Σ over visited key tiles of left(rows × keys) · right(keys × columns), as wide as a key
    /// tile at a time.
    void along_keys(index_t i, tensor left, tensor right, index_t all, tensor result) {
        const core::span rows = task_.rows(task_.plan.rows(i));
        for_each_width(all, std::min(task_.plan.key_size, all), [&](core::span columns) {
            tile c = p_.hold("result", rows.size(), columns.size(), tile_role::accumulator);
            const tile a_column = p_.hold("left column", rows.size(), 1, tile_role::operand);
            const tile b_row = p_.hold("right row", 1, columns.size(), tile_role::operand);
            p_.clear(c);
            for_each_key_tile(task_.plan, i, [&](const core::key_tile& t) {
                tile a = passing("left", rows.size(), t.keys.size());
                tile b = passing("right", t.keys.size(), columns.size());
                p_.load(a, left, task_.q_place, rows, task_.keys(t.keys));
                p_.load(b, right, task_.kv_place, task_.keys(t.keys), columns);
                p_.multiply(c, a, b, transpose::none, true);
            });
            p_.store(c, result, task_.q_place, rows, columns.begin);
        });
    }

    /// result (keys × all columns) = Σ over visiting row tiles of left(rows × keys)ᵀ · right(rows × columns), as wide as a
    /// row tile at a time.
    void along_rows(index_t j, tensor left, tensor right, index_t all, tensor result) {
        const core::span keys = task_.keys(task_.plan.keys(j));
        const index_t place = w_.packed_heads ? task_.kv_place : task_.q_place;
        for_each_width(all, std::min(task_.plan.row_size * task_.row_scale, all), [&](core::span columns) {
            tile c = p_.hold("result", keys.size(), columns.size(), tile_role::accumulator);
            const tile a_row = p_.hold("left row", keys.size(), 1, tile_role::operand);
            const tile b_row = p_.hold("right row", 1, columns.size(), tile_role::operand);
            p_.clear(c);
            for_each_row_tile(task_.plan, j, [&](const core::row_tile& t) {
                const core::span rows = task_.rows(t.rows);
                tile a = passing("left", rows.size(), keys.size());
                tile b = passing("right", rows.size(), columns.size());
                p_.load(a, left, task_.q_place, rows, keys);
                p_.load(b, right, task_.q_place, rows, columns);
                p_.multiply(c, a, b, transpose::left, true);
            });
            p_.store(c, result, place, keys, columns.begin);
        });
    }

    processor& p_;
    const workload& w_;
    const head_task& task_;
};

/// The three phases of one row tile, each over the key tiles that it sees.
class forward_rows : square_tiles {
  public:
    forward_rows(processor& p, const workload& w, const head_task& task, index_t row_tile)
        : square_tiles(p, w, task), index_(row_tile), rows_(task.rows(task.plan.rows(row_tile))) {}

    void run() {
        p_.begin_block(task_.q_place, index_);
        scores();
        normalise();
        along_keys(index_, tensor::probabilities, tensor::v, w_.value_dim, tensor::out);
        p_.end_block();
    }

  private:
    tile pair_tile() { return p_.hold("S", rows_.size(), key_capacity(), tile_role::accumulator); }

    /// S = Q·Kᵀ tile by tile, the running {max, sum} beside it.
    void scores() {
        running_rows state(p_, rows_.size());
        const score_stage stage(w_, task_);
        state.start(rows_, stage, true);
        tile s = pair_tile();
        const tile q_column = p_.hold("Q column", rows_.size(), 1, tile_role::operand);
        const tile k_column = p_.hold("K column", s.columns(), 1, tile_role::operand);
        for_each_key_tile(task_.plan, index_, [&](const core::key_tile& t) {
            tile q = passing("Q", rows_.size(), w_.head_dim);
            tile k = passing("K", t.keys.size(), w_.head_dim);
            p_.load(q, tensor::q, task_.q_place, rows_);
            p_.load(k, tensor::k, task_.kv_place, task_.keys(t.keys));
            p_.multiply(s, q, k, transpose::right);
            mask_scores(p_, s, task_, stage, rows_, t.keys, t.due == core::visit::partial);
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
        tile s = pair_tile();
        for_each_key_tile(task_.plan, index_, [&](const core::key_tile& t) {
            p_.load(s, tensor::scores, task_.q_place, rows_, task_.keys(t.keys));
            p_.each(s, 1, 1, [&](index_t i, index_t j) {
                s.set(i, j, s(i, j) == hidden ? 0.0 : std::exp2(s(i, j) - lse(i, 0) * core::log2_e));
            });
            p_.store(s, tensor::probabilities, task_.q_place, rows_, task_.keys(t.keys).begin);
        });
    }

    index_t index_;
    core::span rows_;
};

/// The backward pass from the P that the forward pass left in far memory: dS row tile by row tile, then the three gradients
/// as products of materialised matrices.
class backward_products : square_tiles {
  public:
    using square_tiles::square_tiles;

    void run() {
        const core::schedule& plan = task_.plan;
        for (index_t i = 0; i < plan.row_tiles(); ++i) {
            p_.begin_block(task_.q_place, i);
            dscores(i);
            along_keys(i, tensor::dscores, tensor::k, w_.head_dim, tensor::dq);
            p_.end_block();
        }
        for (index_t j = 0; j < plan.key_tiles(); ++j) {
            p_.begin_block(task_.q_place, j);
            along_rows(j, tensor::probabilities, tensor::dout, w_.value_dim, tensor::dv);
            along_rows(j, tensor::dscores, tensor::q, w_.head_dim, tensor::dk);
            p_.end_block();
        }
    }

  private:
    /// delta = rowsum(dO ∘ O), which stays near; then dS = P ∘ (dO·Vᵀ - delta), with the scale of the logits, P passing by.
    void dscores(index_t i) {
        const core::span rows = task_.rows(task_.plan.rows(i));
        tile delta = p_.hold("delta", rows.size(), 1, tile_role::statistic);
        {
            tile out = passing("O", rows.size(), w_.value_dim);
            tile dout = passing("dO", rows.size(), w_.value_dim);
            p_.load(out, tensor::out, task_.q_place, rows);
            p_.load(dout, tensor::dout, task_.q_place, rows);
            p_.each(out, 2, 0, [](index_t, index_t) {});
            p_.each(delta, 0, 0, [&](index_t row, index_t) {
                double sum = 0.0;
                for (index_t x = 0; x < out.columns(); ++x) sum += out(row, x) * dout(row, x);
                delta.set(row, 0, sum);
            });
        }
        const double scale = w_.problem().scale;
        tile ds = p_.hold("dS", rows.size(), key_capacity(), tile_role::accumulator);
        const tile dout_column = p_.hold("dO column", rows.size(), 1, tile_role::operand);
        const tile v_column = p_.hold("V column", ds.columns(), 1, tile_role::operand);
        for_each_key_tile(task_.plan, i, [&](const core::key_tile& t) {
            tile dout = passing("dO", rows.size(), w_.value_dim);
            tile v = passing("V", t.keys.size(), w_.value_dim);
            tile prob = passing("P", rows.size(), t.keys.size());
            p_.load(dout, tensor::dout, task_.q_place, rows);
            p_.load(v, tensor::v, task_.kv_place, task_.keys(t.keys));
            p_.multiply(ds, dout, v, transpose::right);
            p_.load(prob, tensor::probabilities, task_.q_place, rows, task_.keys(t.keys));
            p_.each(ds, 2, 0, [&](index_t row, index_t key) {
                ds.set(row, key, prob(row, key) * (ds(row, key) - delta(row, 0)) * scale);
            });
            p_.store(ds, tensor::dscores, task_.q_place, rows, task_.keys(t.keys).begin);
        });
    }
};

class small_cache_algorithm : public algorithm {
  public:
    std::string_view name() const override { return "small-cache"; }
    std::string_view summary() const override {
        return "square-tiled products, S and P through far memory: best below M = d² (Saha & Ye, "
               "arXiv 2402.07443; backward: arXiv 2410.09397)";
    }
    bool has(pass) const override { return true; }
    bool recomputes_scores() const override { return false; }
    io_law law() const override { return io_law::squares; }

    void run(processor& p, const workload& w, pass which, const tile_plan& plan) const override {
        for_each_head(w, plan, [&](const head_task& task) {
            if (which == pass::backward) {
                backward_products(p, w, task).run();
                return;
            }
            for (index_t i = 0; i < task.plan.row_tiles(); ++i) forward_rows(p, w, task, i).run();
        });
    }

    counts formula(const workload& w, pass which, const tile_plan& plan) const override {
        counts c;
        for_each_batch(
            w, plan, [&](const head_sums& s) { (which == pass::forward ? add_forward : add_backward)(c, w, plan, s); });
        return c;
    }

  private:
    /// Stretches of at most `width` columns that `all` columns make.
    static index_t stretches(index_t all, index_t width) { return core::ceil_div(all, std::max<index_t>(1, width)); }

    // Σ over visited tiles: Q (rows·d) and K (keys·d) for S; S written, read, P written; P read and V (keys·e) once for
    // each of the ceil(e / Bc) widths of O. lse written and read once, out written once.
    static void add_forward(counts& c, const workload& w, const tile_plan& plan, const head_sums& s) {
        const index_t h = s.heads;
        const index_t pairs = product(h, s.pairs);
        c.read(tensor::q, product(h, s.rows, w.head_dim));
        c.read(tensor::k, product(h, s.keys, w.head_dim));
        c.write(tensor::scores, pairs);
        c.read(tensor::scores, pairs);
        c.write(tensor::probabilities, pairs);
        c.read(tensor::probabilities, product(pairs, stretches(w.value_dim, plan.key_tile)));
        c.read(tensor::v, product(h, s.keys, w.value_dim));
        c.write(tensor::lse, product(h, s.q));
        c.read(tensor::lse, product(h, s.q));
        c.write(tensor::out, product(h, s.q, w.value_dim));
    }

    // delta: O and dO once. Σ over visited tiles: dO (rows·e), V (keys·e) and P for dS, written once; P, dO (rows·e) for dV;
    // dS, Q (rows·d) for dK; dS, K (keys·d) for dQ: P and dS once for each width of the gradient, ceil(e / Br), ceil(d / Br)
    // and ceil(d / Bc). Each gradient is written once.
    static void add_backward(counts& c, const workload& w, const tile_plan& plan, const head_sums& s) {
        const index_t h = s.heads;
        const index_t pairs = product(h, s.pairs);
        c.read(tensor::out, product(h, s.q, w.value_dim));
        c.read(tensor::dout, product(h, checked_add(s.q, checked_mul(2, s.rows)), w.value_dim));
        c.read(tensor::v, product(h, s.keys, w.value_dim));
        c.read(tensor::probabilities, product(pairs, 1 + stretches(w.value_dim, plan.row_tile)));
        c.write(tensor::dscores, pairs);
        c.read(tensor::dscores,
               product(pairs, stretches(w.head_dim, plan.row_tile) + stretches(w.head_dim, plan.key_tile)));
        c.read(tensor::q, product(h, s.rows, w.head_dim));
        c.read(tensor::k, product(h, s.keys, w.head_dim));
        c.write(tensor::dq, product(h, s.q, w.head_dim));
        c.write(tensor::dk, product(h, s.k, w.head_dim));
        c.write(tensor::dv, product(h, s.k, w.value_dim));
    }
};

} // namespace

const algorithm* small_cache() {
    static const small_cache_algorithm a;
    return &a;
}

} // namespace pantile::inline v0::simulator
