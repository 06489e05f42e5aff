// FlashAttention (arXiv 2205.14135): key tiles outside, row tiles inside. O and {max, sum} of every row cross between far
// and near memory at each visit: Algorithm 1 forward, Algorithm 4 backward.

#include "algorithms/all.hpp"
#include "algorithms/fa1_machines.hpp"
#include "closed_forms/visits.hpp"

namespace pantile::inline v0::simulator {

namespace {

/// The key-stationary walk of a forward pass: the machine keeps a key tile near, and the rows that see it pass by.
template <class M>
void key_stationary_walk(M& machine, const core::schedule& plan) {
    for (index_t j = 0; j < plan.key_tiles(); ++j) {
        const core::span range = plan.row_range(j);
        machine.open(core::key_tile{plan.keys(j), j, core::visit::full});
        for (core::row_tile t = plan.next_row_tile(j, range.begin, range); t.due != core::visit::skip;
             t = plan.next_row_tile(j, t.index + 1, range)) {
            machine.update(t);
        }
        machine.close();
    }
}

class fa1_algorithm : public algorithm {
  public:
    fa1_algorithm(std::string_view name, std::string_view summary, bool lazy)
        : name_(name), summary_(summary), lazy_(lazy) {}

    std::string_view name() const override { return name_; }
    std::string_view summary() const override { return summary_; }
    bool has(pass which) const override { return which == pass::forward || !lazy_; }

    void run(processor& p, const workload& w, pass which, const tile_plan& plan) const override {
        for_each_head(w, plan, [&](const head_task& task) {
            if (which == pass::forward) {
                if (!lazy_) fa1_initialise(p, w, task, fa1_outputs, {});
                std::vector<bool> started(static_cast<std::size_t>(task.plan.row_tiles()), !lazy_);
                {
                    fa1_forward machine(p, w, task, started);
                    key_stationary_walk(machine, task.plan);
                }
                fa1_initialise(p, w, task, fa1_outputs, started); // lazy: rows that no key tile visited
            } else {
                fa1_initialise(p, w, task, {tensor::dq}, {});
                fa1_initialise_keys(p, w, task);
                fa1_backward machine(p, w, task);
                key_stationary_walk(machine, task.plan);
            }
        });
    }

    // Forward, printed: reads k(d + e) + rows·(d + e + 2), writes (rows + q)(e + 2).
    // Forward, lazy:    the first visit of a row reads only Q, and writes what initialising would have written.
    // Backward:         reads k(d + e) + rows·(2d + 2e + 2), writes (rows + q)·d + 2k(d + e).
    counts formula(const workload& w, pass which, const tile_plan& plan) const override {
        counts c;
        for_each_batch(w, plan, [&](const head_sums& s) {
            const index_t h = s.heads;
            const index_t d = w.head_dim;
            const index_t e = w.value_dim;
            c.read(tensor::k, product(h, s.k, d));
            c.read(tensor::v, product(h, s.k, e));
            c.read(tensor::q, product(h, s.rows, d));
            const index_t reads = which == pass::forward && lazy_ ? s.rows - s.seeing_rows : s.rows;
            const index_t writes = lazy_ ? s.rows + s.q - s.seeing_rows : s.rows + s.q;
            c.read(tensor::out, product(h, reads, e));
            c.read(tensor::row_max, product(h, reads));
            c.read(tensor::row_sum, product(h, reads));
            if (which == pass::forward) {
                c.write(tensor::out, product(h, writes, e));
                c.write(tensor::row_max, product(h, writes));
                c.write(tensor::row_sum, product(h, writes));
            } else {
                c.read(tensor::dout, product(h, s.rows, e));
                c.read(tensor::dq, product(h, s.rows, d));
                c.write(tensor::dq, product(h, writes, d));
                c.write(tensor::dk, product(2, h, s.k, d));
                c.write(tensor::dv, product(2, h, s.k, e));
            }
        });
        return c;
    }

    /// Algorithm 1, line 1: Bc = ceil(M / 4d), Br = min(Bc, d).
    std::optional<tile_plan> published_tiles(const workload& w, pass, index_t m) const override {
        const index_t d = std::max<index_t>(1, w.head_dim);
        const index_t keys = core::ceil_div(m, 4 * d);
        return tile_plan{std::min(keys, d), keys, 1};
    }

  private:
    std::string_view name_;
    std::string_view summary_;
    bool lazy_;
};

} // namespace

const algorithm* fa1() {
    static const fa1_algorithm a("fa1",
                                 "key tiles outside, O and statistics in far memory between visits "
                                 "(FlashAttention, arXiv 2205.14135, Algorithms 1 and 4)",
                                 false);
    return &a;
}

const algorithm* fa1_lazy() {
    static const fa1_algorithm a("fa1-lazy",
                                 "fa1 forward whose first visit of a row starts it near, instead of "
                                 "initialising O and statistics in far memory",
                                 true);
    return &a;
}

} // namespace pantile::inline v0::simulator
