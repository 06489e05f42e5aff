#include "algorithms/fa2_backward.hpp"

#include <algorithm>
#include <optional>

#include <pantile/core/walk.hpp>

#include "algorithms/running_rows.hpp"

namespace pantile::inline v0::simulator {

namespace {

/// Tiles that both passes share: what a tile pair's P and dS are computed from.
class gradient_tiles {
  protected:
    gradient_tiles(processor& p, const workload& w, const head_task& task)
        : p_(p), task_(task), stage_(w, task),
          row_capacity_(std::min(task.plan.row_size * task.row_scale, task.q_rows())),
          key_capacity_(std::min(task.plan.key_size, task.plan.seq.k_len)),
          q_(p.hold("Q", row_capacity_, w.head_dim, tile_role::operand)),
          dout_(p.hold("dO", row_capacity_, w.value_dim, tile_role::operand)),
          k_(p.hold("K", key_capacity_, w.head_dim, tile_role::operand)),
          v_(p.hold("V", key_capacity_, w.value_dim, tile_role::operand)),
          lse_(p.hold("lse", row_capacity_, 1, tile_role::statistic)),
          delta_(p.hold("delta", row_capacity_, 1, tile_role::statistic)),
          p_tile_(p.hold("P", row_capacity_, key_capacity_, tile_role::accumulator)),
          ds_(p.hold("dS", row_capacity_, key_capacity_, tile_role::accumulator)) {}

    void load_rows(core::span rows) {
        rows_ = rows;
        p_.load(q_, tensor::q, task_.q_place, rows);
        p_.load(dout_, tensor::dout, task_.q_place, rows);
        p_.load(lse_, tensor::lse, task_.q_place, rows);
        p_.load(delta_, tensor::delta, task_.q_place, rows);
    }
    void load_keys(core::span keys) {
        keys_ = keys;
        p_.load(k_, tensor::k, task_.kv_place, task_.keys(keys));
        p_.load(v_, tensor::v, task_.kv_place, task_.keys(keys));
    }
    /// P = exp(S - lse), 0 where hidden.
    void probabilities(bool partial) {
        p_.multiply(p_tile_, q_, k_, transpose::right);
        p_.each(p_tile_, 2, 1, [&](index_t i, index_t j) {
            const bool seen = !partial || task_.visible(rows_.begin + i, keys_.begin + j);
            const double y = seen ? stage_(p_tile_(i, j), rows_.begin + i, keys_.begin + j) : hidden;
            p_tile_.set(i, j, seen ? std::exp2(y - lse_(i, 0) * core::log2_e) : 0.0);
        });
    }
    /// dS = P ∘ (dO·Vᵀ - delta), with the scale of the logits.
    void dscores() {
        p_.multiply(ds_, dout_, v_, transpose::right);
        p_.each(ds_, 2, 0, [&](index_t i, index_t j) {
            const double prob = p_tile_(i, j);
            if (prob == 0.0) return ds_.set(i, j, 0.0);
            const double y = std::log2(prob) + lse_(i, 0) * core::log2_e; // the logit that P came from
            ds_.set(i, j, prob * (ds_(i, j) - delta_(i, 0)) * stage_.derivative(y, rows_.begin + i, keys_.begin + j));
        });
    }

    processor& p_;
    const head_task& task_;
    score_stage stage_;
    index_t row_capacity_;
    index_t key_capacity_;
    tile q_, dout_, k_, v_, lse_, delta_, p_tile_, ds_;
    core::span rows_;
    core::span keys_;
};

/// The machine of core's backward walk.
class key_stationary_backward : gradient_tiles {
  public:
    key_stationary_backward(processor& p, const workload& w, const head_task& task, dq_way way)
        : gradient_tiles(p, w, task), way_(way), dkv_place_(w.packed_heads ? task.kv_place : task.q_place),
          dk_(p.hold("dK", key_capacity_, w.head_dim, tile_role::accumulator)),
          dv_(p.hold("dV", key_capacity_, w.value_dim, tile_role::accumulator)) {
        for (int stage = 1; stage < p.near().stages; ++stage) {
            spare_.push_back(p.hold("Q ahead", row_capacity_, w.head_dim, tile_role::operand));
            spare_.push_back(p.hold("dO ahead", row_capacity_, w.value_dim, tile_role::operand));
        }
        if (way != dq_way::recompute) dq_.emplace(p.hold("dQ", row_capacity_, w.head_dim, tile_role::accumulator));
        if (way == dq_way::printed) out_.emplace(p.hold("O", row_capacity_, w.value_dim, tile_role::operand));
    }

    void open(const core::key_tile& t) {
        p_.begin_block(task_.q_place, t.index);
        load_keys(t.keys);
        dk_.use(t.keys.size(), dk_.columns());
        dv_.use(t.keys.size(), dv_.columns());
        p_.clear(dk_);
        p_.clear(dv_);
    }
    // The walk asks for the next row tile while the current one is still in use. Traffic does not depend on how early it
    // comes, so it is counted when its turn comes; a second stage only costs room.
    void fetch_row(const core::row_tile&) {}
    void score(const core::row_tile& t, core::full_tile) { score(t, false); }
    void score(const core::row_tile& t, core::partial_tile) { score(t, true); }
    void gradients(const core::row_tile&) {
        p_.multiply(dv_, p_tile_, dout_, transpose::left, true);
        dscores();
        p_.multiply(dk_, ds_, q_, transpose::left, true);
        if (!dq_) return;
        const tensor sum = way_ == dq_way::printed ? tensor::dq : tensor::dq_sum;
        p_.load(*dq_, sum, task_.q_place, rows_);
        p_.multiply(*dq_, ds_, k_, transpose::none, true);
        p_.store(*dq_, sum, task_.q_place, rows_);
    }
    void close() {
        p_.store(dk_, tensor::dk, dkv_place_, task_.keys(keys_));
        p_.store(dv_, tensor::dv, dkv_place_, task_.keys(keys_));
        p_.end_block();
    }

  private:
    void score(const core::row_tile& t, bool partial) {
        load_rows(task_.rows(t.rows));
        if (out_) p_.load(*out_, tensor::out, task_.q_place, rows_);
        probabilities(partial);
    }

    dq_way way_;
    index_t dkv_place_;
    tile dk_, dv_;
    std::optional<tile> dq_;
    std::optional<tile> out_;
    std::vector<tile> spare_;
};

static_assert(core::backward_machine<key_stationary_backward>);

/// dQ by core's forward walk: the row tile stays, K and V pass by once more.
class row_stationary_dq : gradient_tiles {
  public:
    row_stationary_dq(processor& p, const workload& w, const head_task& task)
        : gradient_tiles(p, w, task), dq_(p.hold("dQ", row_capacity_, w.head_dim, tile_role::accumulator)) {}

    void open(const core::row_tile& t) {
        p_.begin_block(task_.q_place, t.index);
        load_rows(task_.rows(t.rows));
        dq_.use(rows_.size(), dq_.columns());
        p_.clear(dq_);
    }
    void fetch_key(const core::key_tile&) {} // K is in use until accumulate; both come in when their turn comes
    void fetch_value(const core::key_tile& t) { load_keys(t.keys); }
    void score(const core::key_tile&, core::full_tile) { probabilities(false); }
    void score(const core::key_tile&, core::partial_tile) { probabilities(true); }
    void accumulate(const core::key_tile&) {
        dscores();
        p_.multiply(dq_, ds_, k_, transpose::none, true);
    }
    void close() {
        p_.store(dq_, tensor::dq, task_.q_place, rows_);
        p_.end_block();
    }

  private:
    tile dq_;
};

static_assert(core::forward_machine<row_stationary_dq>);

/// delta = rowsum(dO ∘ O), row tile by row tile.
void row_deltas(processor& p, const workload& w, const head_task& task) {
    for (index_t i = 0; i < task.plan.row_tiles(); ++i) {
        const core::span rows = task.rows(task.plan.rows(i));
        p.begin_block(task.q_place, i);
        tile out = p.hold("O", rows.size(), w.value_dim, tile_role::operand);
        tile dout = p.hold("dO", rows.size(), w.value_dim, tile_role::operand);
        tile delta = p.hold("delta", rows.size(), 1, tile_role::statistic);
        p.load(out, tensor::out, task.q_place, rows);
        p.load(dout, tensor::dout, task.q_place, rows);
        p.each(out, 2, 0, [](index_t, index_t) {});
        p.each(delta, 0, 0, [&](index_t row, index_t) {
            double sum = 0.0;
            for (index_t x = 0; x < out.columns(); ++x) sum += out(row, x) * dout(row, x);
            delta.set(row, 0, sum);
        });
        p.store(delta, tensor::delta, task.q_place, rows);
        p.end_block();
    }
}

/// Zeroes dQ's sum, or converts it to dQ.
void pass_over_dq(processor& p, const workload& w, const head_task& task, std::optional<tensor> from, tensor to) {
    for (index_t i = 0; i < task.plan.row_tiles(); ++i) {
        const core::span rows = task.rows(task.plan.rows(i));
        p.begin_block(task.q_place, i);
        tile dq = p.hold("dQ", rows.size(), w.head_dim, tile_role::accumulator);
        p.clear(dq);
        if (from) p.load(dq, *from, task.q_place, rows);
        p.store(dq, to, task.q_place, rows);
        p.end_block();
    }
}

} // namespace

void fa2_backward(processor& p, const workload& w, const tile_plan& plan, dq_way way) {
    for_each_head(w, plan, [&](const head_task& task) {
        row_deltas(p, w, task);
        if (way == dq_way::printed) pass_over_dq(p, w, task, std::nullopt, tensor::dq);
        if (way == dq_way::accumulate) pass_over_dq(p, w, task, std::nullopt, tensor::dq_sum);
        {
            key_stationary_backward machine(p, w, task, way);
            for (index_t j = 0; j < task.plan.key_tiles(); ++j) core::walk::backward(machine, task.plan, j);
        }
        if (way == dq_way::accumulate) pass_over_dq(p, w, task, tensor::dq_sum, tensor::dq);
        if (way == dq_way::recompute) {
            row_stationary_dq machine(p, w, task);
            for (index_t i = 0; i < task.plan.row_tiles(); ++i) core::walk::forward(machine, task.plan, i);
        }
    });
}

} // namespace pantile::inline v0::simulator
