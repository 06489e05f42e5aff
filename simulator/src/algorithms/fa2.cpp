// FlashAttention-2: forward by core's forward walk, backward by core's backward walk, in three ways to sum dQ.

#include <string_view>

#include "algorithms/all.hpp"
#include "algorithms/fa2_backward.hpp"
#include "algorithms/row_stationary.hpp"
#include "closed_forms/visits.hpp"

namespace pantile::inline v0::simulator {

namespace {

class fa2_algorithm : public algorithm {
  public:
    fa2_algorithm(std::string_view name, std::string_view summary, dq_way way)
        : name_(name), summary_(summary), way_(way) {}

    std::string_view name() const override { return name_; }
    std::string_view summary() const override { return summary_; }
    bool has(pass) const override { return true; }

    void run(processor& p, const workload& w, pass which, const tile_plan& plan) const override {
        if (which == pass::backward) {
            fa2_backward(p, w, plan, way_);
            return;
        }
        for_each_head(w, plan, [&](const head_task& task) {
            row_stationary_forward machine(p, w, task, tensor::out, tensor::lse, task.q_place);
            for (index_t i = 0; i < task.plan.row_tiles(); ++i) core::walk::forward(machine, task.plan, i);
        });
    }

    counts formula(const workload& w, pass which, const tile_plan& plan) const override {
        counts c;
        for_each_batch(w, plan, [&](const head_sums& s) {
            if (which == pass::forward) {
                add_forward(c, w, s);
            } else {
                add_backward(c, w, s);
            }
        });
        return c;
    }

  private:
    // Q once, K and V once for each row tile that sees them: reads qd + keys·(d + e), writes q(e + 1).
    static void add_forward(counts& c, const workload& w, const head_sums& s) {
        c.read(tensor::q, product(s.heads, s.q, w.head_dim));
        c.read(tensor::k, product(s.heads, s.keys, w.head_dim));
        c.read(tensor::v, product(s.heads, s.keys, w.value_dim));
        c.write(tensor::out, product(s.heads, s.q, w.value_dim));
        c.write(tensor::lse, product(s.heads, s.q));
    }

    // All: delta reads 2qe, writes q; K, V once and dK, dV once; Q, dO, lse, delta once a visited tile. Then
    //   printed      O once more and dQ read and written a visited tile, after zeroing it
    //   accumulate   dq_sum read and written a visited tile, after zeroing it; converted at the end
    //   recompute    K, V again for each row tile, and Q, dO, lse, delta once more; dQ written once
    void add_backward(counts& c, const workload& w, const head_sums& s) const {
        const index_t h = s.heads;
        const index_t d = w.head_dim;
        const index_t e = w.value_dim;
        c.read(tensor::out, product(h, s.q, e));
        c.read(tensor::dout, product(h, s.q, e));
        c.write(tensor::delta, product(h, s.q));
        c.read(tensor::k, product(h, s.k, d));
        c.read(tensor::v, product(h, s.k, e));
        c.write(tensor::dk, product(h, s.k, d));
        c.write(tensor::dv, product(h, s.k, e));
        add_row_tensors(c, w, h, s.rows);
        switch (way_) {
        case dq_way::printed:
            c.read(tensor::out, product(h, s.rows, e));
            c.read(tensor::dq, product(h, s.rows, d));
            c.write(tensor::dq, product(h, checked_add(s.rows, s.q), d));
            break;
        case dq_way::accumulate:
            c.read(tensor::dq_sum, product(h, checked_add(s.rows, s.q), d));
            c.write(tensor::dq_sum, product(h, checked_add(s.rows, s.q), d));
            c.write(tensor::dq, product(h, s.q, d));
            break;
        case dq_way::recompute:
            c.read(tensor::k, product(h, s.keys, d));
            c.read(tensor::v, product(h, s.keys, e));
            add_row_tensors(c, w, h, s.q);
            c.write(tensor::dq, product(h, s.q, d));
            break;
        }
    }

    static void add_row_tensors(counts& c, const workload& w, index_t heads, index_t rows) {
        c.read(tensor::q, product(heads, rows, w.head_dim));
        c.read(tensor::dout, product(heads, rows, w.value_dim));
        c.read(tensor::lse, product(heads, rows));
        c.read(tensor::delta, product(heads, rows));
    }

    std::string_view name_;
    std::string_view summary_;
    dq_way way_;
};

} // namespace

const algorithm* fa2() {
    static const fa2_algorithm a("fa2",
                                 "row tiles outside, K and V pass by; backward sums dQ in fp32 in far memory "
                                 "(FlashAttention-2, arXiv 2307.08691)",
                                 dq_way::accumulate);
    return &a;
}

const algorithm* fa2_printed() {
    static const fa2_algorithm a("fa2-printed",
                                 "fa2 with the backward pass exactly as the paper prints it "
                                 "(arXiv 2307.08691, Algorithm 2)",
                                 dq_way::printed);
    return &a;
}

const algorithm* fa2_recompute() {
    static const fa2_algorithm a("fa2-recompute",
                                 "fa2 with dQ from a second, row-stationary backward pass: no sums in "
                                 "far memory, deterministic",
                                 dq_way::recompute);
    return &a;
}

} // namespace pantile::inline v0::simulator
