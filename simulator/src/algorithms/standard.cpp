// The unfused algorithm: every matrix goes through far memory. Its machine concept has no tiles: a machine of the
// materialising walk does whole matrices, as calls of a matrix library do, and each product is idealised: it reads each
// operand once, whatever near memory is.

#include "algorithms/all.hpp"
#include "algorithms/running_rows.hpp"
#include "closed_forms/visits.hpp"

namespace pantile::inline v0::simulator {

namespace {

/// A machine of the materialising walk, one head at a time.
template <class M>
concept materialising_machine = requires(M& m) {
    m.score();     // forward: S = Q·Kᵀ             backward: dV = Pᵀ·dO, dP = dO·Vᵀ
    m.normalise(); // forward: P = softmax(S)       backward: dS = P ∘ (dP - rowsum(P ∘ dP))
    m.combine();   // forward: O = P·V              backward: dQ = dS·K, dK = dSᵀ·Q
};

template <materialising_machine M>
void materialise(M&& machine) {
    machine.score();
    machine.normalise();
    machine.combine();
}

/// What both passes need: whole matrices that stream through near memory.
class matrices {
  public:
    matrices(processor& p, const workload& w, const head_task& task)
        : p_(p), w_(w), task_(task), q_rows_{0, task.q_rows()}, keys_{0, task.plan.seq.k_len} {}

  protected:
    tile empty(index_t rows, index_t columns) { return p_.hold("matrix", rows, columns, tile_role::streamed); }
    /// A tensor with a row for each query row: rows × columns.
    tile load_rows(tensor t, index_t columns) { return load(t, task_.q_place, q_rows_, columns); }
    tile load_keys(tensor t, index_t columns) { return load(t, task_.kv_place, keys_, columns); }
    tile load(tensor t, index_t place, core::span rows, index_t columns) {
        tile m = empty(rows.size(), columns);
        p_.load(m, t, place, rows);
        return m;
    }
    /// c = a·b, a matrix of its own in far memory.
    void product(tensor c, index_t place, const tile& a, const tile& b, transpose which) {
        const index_t rows = which == transpose::left ? a.columns() : a.rows();
        tile m = empty(rows, which == transpose::right ? b.rows() : b.columns());
        p_.begin_block(place, static_cast<index_t>(c));
        p_.multiply(m, a, b, which);
        p_.store(m, c, place, {0, rows});
        p_.end_block();
    }

    processor& p_;
    const workload& w_;
    const head_task& task_;
    core::span q_rows_;
    core::span keys_;
};

class forward_matrices : matrices {
  public:
    using matrices::matrices;

    void score() {
        product(tensor::scores, task_.q_place, load_rows(tensor::q, w_.head_dim), load_keys(tensor::k, w_.head_dim),
                transpose::right);
    }
    void normalise() {
        tile s = load_rows(tensor::scores, keys_.size());
        const score_stage stage(w_, task_);
        mask_scores(p_, s, task_, stage, q_rows_, keys_, w_.banded());
        p_.each(s, 4, 1, [](index_t, index_t) {});
        for (index_t i = 0; p_.computes() && i < s.rows(); ++i) {
            const auto start = stage.start(i, true); // nothing, or the sink
            double largest = start.max;
            for (index_t j = 0; j < s.columns(); ++j) largest = std::max(largest, s(i, j));
            double sum = start.sum == 0.0 ? 0.0 : std::exp2(start.max - largest);
            for (index_t j = 0; j < s.columns(); ++j) sum += largest == hidden ? 0.0 : std::exp2(s(i, j) - largest);
            for (index_t j = 0; j < s.columns(); ++j) {
                s.set(i, j, sum == 0.0 ? 0.0 : std::exp2(s(i, j) - largest) / sum);
            }
        }
        p_.store(s, tensor::probabilities, task_.q_place, q_rows_);
    }
    void combine() {
        product(tensor::out, task_.q_place, load_rows(tensor::probabilities, keys_.size()),
                load_keys(tensor::v, w_.value_dim), transpose::none);
    }
};

class backward_matrices : matrices {
  public:
    using matrices::matrices;

    void score() {
        const index_t kv_place = w_.packed_heads ? task_.kv_place : task_.q_place;
        product(tensor::dv, kv_place, load_rows(tensor::probabilities, keys_.size()),
                load_rows(tensor::dout, w_.value_dim), transpose::left);
        product(tensor::dprobabilities, task_.q_place, load_rows(tensor::dout, w_.value_dim),
                load_keys(tensor::v, w_.value_dim), transpose::right);
    }
    void normalise() {
        tile p = load_rows(tensor::probabilities, keys_.size());
        tile dp = load_rows(tensor::dprobabilities, keys_.size());
        const double scale = w_.problem().scale;
        p_.each(dp, 5, 0, [](index_t, index_t) {});
        for (index_t i = 0; p_.computes() && i < p.rows(); ++i) {
            double delta = 0.0;
            for (index_t j = 0; j < p.columns(); ++j) delta += p(i, j) * dp(i, j);
            for (index_t j = 0; j < p.columns(); ++j) dp.set(i, j, p(i, j) * (dp(i, j) - delta) * scale);
        }
        p_.store(dp, tensor::dscores, task_.q_place, q_rows_);
    }
    void combine() {
        const index_t kv_place = w_.packed_heads ? task_.kv_place : task_.q_place;
        product(tensor::dq, task_.q_place, load_rows(tensor::dscores, keys_.size()), load_keys(tensor::k, w_.head_dim),
                transpose::none);
        product(tensor::dk, kv_place, load_rows(tensor::dscores, keys_.size()), load_rows(tensor::q, w_.head_dim),
                transpose::left);
    }
};

class standard_algorithm : public algorithm {
  public:
    std::string_view name() const override { return "standard"; }
    std::string_view summary() const override {
        return "unfused: S and P through far memory (FlashAttention, arXiv 2205.14135, Algorithms 0 and 3)";
    }
    bool has(pass) const override { return true; }
    bool tiled() const override { return false; }
    bool recomputes_scores() const override { return false; }

    void run(processor& p, const workload& w, pass which, const tile_plan&) const override {
        // One row tile and one key tile: the schedule only carries sizes and the mask.
        const tile_plan whole{std::max<index_t>(1, w.q_len) * std::max<index_t>(1, w.group()),
                              std::max<index_t>(1, w.k_len), 1};
        for_each_head(w, whole, [&](const head_task& task) {
            if (which == pass::forward) {
                materialise(forward_matrices(p, w, task));
            } else {
                materialise(backward_matrices(p, w, task));
            }
        });
    }

    // Forward reads qd + kd + ke + 2qk, writes 2qk + qe; backward reads 5qk + 2qe + ke + kd + qd, writes
    // 2qk + ke + qd + kd, P being kept from the forward pass. A mask saves nothing.
    counts formula(const workload& w, pass which, const tile_plan&) const override {
        counts c;
        for_each_batch(w, {std::max<index_t>(1, w.group()), 1, 1}, [&](const head_sums& s) {
            const index_t pairs = product(s.heads, s.q, s.k);
            const index_t qd = product(s.heads, s.q, w.head_dim);
            const index_t qe = product(s.heads, s.q, w.value_dim);
            const index_t kd = product(s.heads, s.k, w.head_dim);
            const index_t ke = product(s.heads, s.k, w.value_dim);
            c.read(tensor::q, qd);
            c.read(tensor::k, kd);
            c.read(tensor::v, ke);
            if (which == pass::forward) {
                c += all({tensor::scores, tensor::probabilities}, pairs, pairs);
                c.write(tensor::out, qe);
            } else {
                c.read(tensor::probabilities, product(2, pairs));
                c += all({tensor::dprobabilities}, pairs, pairs);
                c += all({tensor::dscores}, product(2, pairs), pairs);
                c.read(tensor::dout, product(2, qe));
                c.write(tensor::dv, ke);
                c.write(tensor::dq, qd);
                c.write(tensor::dk, kd);
            }
        });
        return c;
    }

  private:
    static counts all(std::initializer_list<tensor> tensors, index_t reads, index_t writes) {
        counts c;
        for (const tensor t : tensors) {
            c.read(t, reads);
            c.write(t, writes);
        }
        return c;
    }
};

} // namespace

const algorithm* standard() {
    static const standard_algorithm a;
    return &a;
}

} // namespace pantile::inline v0::simulator
