#include "algorithms/fa1_machines.hpp"

#include <algorithm>

#include "algorithms/running_rows.hpp"

namespace pantile::inline v0::simulator {

namespace {

index_t row_capacity(const head_task& task) { return std::min(task.plan.row_size * task.row_scale, task.q_rows()); }
index_t key_capacity(const head_task& task) { return std::min(task.plan.key_size, task.plan.seq.k_len); }

} // namespace

void fa1_initialise(processor& p, const workload& w, const head_task& task, std::initializer_list<tensor> tensors,
                    const std::vector<bool>& started) {
    const score_stage stage(w, task);
    for (index_t i = 0; i < task.plan.row_tiles(); ++i) {
        if (!started.empty() && started[static_cast<std::size_t>(i)]) continue;
        const core::span rows = task.rows(task.plan.rows(i));
        p.begin_block(task.q_place, i);
        for (const tensor t : tensors) {
            tile start = p.hold("start", rows.size(), shape_of(t, w)[2], tile_role::streamed);
            p.each(start, 0, 0, [&](index_t r, index_t c) {
                const auto row = stage.start(rows.begin + r, true);
                start.set(r, c, t == tensor::row_max ? row.max : t == tensor::row_sum ? row.sum : 0.0);
            });
            p.store(start, t, task.q_place, rows);
        }
        p.end_block();
    }
}

void fa1_initialise_keys(processor& p, const workload& w, const head_task& task) {
    const index_t place = w.packed_heads ? task.kv_place : task.q_place;
    for (index_t j = 0; j < task.plan.key_tiles(); ++j) {
        const core::span keys = task.keys(task.plan.keys(j));
        p.begin_block(place, j);
        for (const tensor t : {tensor::dk, tensor::dv}) {
            tile zero = p.hold("zero", keys.size(), shape_of(t, w)[2], tile_role::streamed);
            p.clear(zero);
            p.store(zero, t, place, keys);
        }
        p.end_block();
    }
}

fa1_forward::fa1_forward(processor& p, const workload& w, const head_task& task, std::vector<bool>& started)
    : p_(p), task_(task), started_(started), stage_(w, task), row_capacity_(row_capacity(task)),
      key_capacity_(key_capacity(task)), q_(p.hold("Q", row_capacity_, w.head_dim, tile_role::operand)),
      k_(p.hold("K", key_capacity_, w.head_dim, tile_role::operand)),
      v_(p.hold("V", key_capacity_, w.value_dim, tile_role::operand)),
      o_(p.hold("O", row_capacity_, w.value_dim, tile_role::accumulator)),
      s_(p.hold("S", row_capacity_, key_capacity_, tile_role::accumulator)),
      max_(p.hold("m", row_capacity_, 1, tile_role::statistic)),
      sum_(p.hold("l", row_capacity_, 1, tile_role::statistic)),
      tile_max_(p.hold("m tile", row_capacity_, 1, tile_role::statistic)),
      tile_sum_(p.hold("l tile", row_capacity_, 1, tile_role::statistic)),
      new_max_(p.hold("m new", row_capacity_, 1, tile_role::statistic)),
      new_sum_(p.hold("l new", row_capacity_, 1, tile_role::statistic)) {}

void fa1_forward::open(const core::key_tile& t) {
    p_.begin_block(task_.q_place, t.index);
    keys_ = t.keys;
    p_.load(k_, tensor::k, task_.kv_place, task_.keys(keys_));
    p_.load(v_, tensor::v, task_.kv_place, task_.keys(keys_));
}

void fa1_forward::update(const core::row_tile& t) {
    const core::span rows = task_.rows(t.rows);
    p_.load(q_, tensor::q, task_.q_place, rows);
    if (started_[static_cast<std::size_t>(t.index)]) {
        p_.load(o_, tensor::out, task_.q_place, rows);
        p_.load(max_, tensor::row_max, task_.q_place, rows);
        p_.load(sum_, tensor::row_sum, task_.q_place, rows);
    } else {
        started_[static_cast<std::size_t>(t.index)] = true;
        o_.use(rows.size(), o_.columns());
        max_.use(rows.size(), 1);
        sum_.use(rows.size(), 1);
        p_.clear(o_);
        p_.each(max_, 0, 0, [&](index_t i, index_t) { max_.set(i, 0, stage_.start(rows.begin + i, true).max); });
        p_.each(sum_, 0, 0, [&](index_t i, index_t) { sum_.set(i, 0, stage_.start(rows.begin + i, true).sum); });
    }
    p_.multiply(s_, q_, k_, transpose::right);
    mask_scores(p_, s_, task_, stage_, rows, keys_, t.due == core::visit::partial);
    fold(rows);
    // O already holds its rescaled old part, divided by the new sum; P was divided by it too.
    p_.multiply(o_, s_, v_, transpose::none, true);
    p_.store(o_, tensor::out, task_.q_place, rows);
    p_.store(max_, tensor::row_max, task_.q_place, rows);
    p_.store(sum_, tensor::row_sum, task_.q_place, rows);
}

/// Lines 10 to 12 of Algorithm 1: S := P / l_new; O := O · l · 2^(m - m_new) / l_new; m, l := the new ones.
void fa1_forward::fold(core::span rows) {
    using softmax = running_rows::softmax;
    p_.each(s_, 4, 1, [](index_t, index_t) {});
    p_.each(o_, 2, 0, [](index_t, index_t) {});
    if (!p_.computes()) return;
    for (index_t i = 0; i < rows.size(); ++i) {
        double largest = hidden;
        for (index_t j = 0; j < s_.columns(); ++j) largest = std::max(largest, s_(i, j));
        softmax::state row{max_(i, 0), sum_(i, 0)};
        const double factor = softmax::raise(row, largest);
        double sum = row.sum * factor;
        for (index_t j = 0; j < s_.columns(); ++j) {
            s_.set(i, j, std::exp2(s_(i, j) - softmax::reference(row)));
            sum += s_(i, j);
        }
        const double inverse = sum == 0.0 ? 0.0 : 1.0 / sum;
        for (index_t j = 0; j < s_.columns(); ++j) s_.set(i, j, s_(i, j) * inverse);
        for (index_t x = 0; x < o_.columns(); ++x) o_.set(i, x, o_(i, x) * sum_(i, 0) * factor * inverse);
        max_.set(i, 0, row.max);
        sum_.set(i, 0, sum);
    }
}

void fa1_forward::close() { p_.end_block(); }

fa1_backward::fa1_backward(processor& p, const workload& w, const head_task& task)
    : p_(p), task_(task), stage_(w, task), dkv_place_(w.packed_heads ? task.kv_place : task.q_place),
      row_capacity_(row_capacity(task)), key_capacity_(key_capacity(task)),
      q_(p.hold("Q", row_capacity_, w.head_dim, tile_role::operand)),
      k_(p.hold("K", key_capacity_, w.head_dim, tile_role::operand)),
      v_(p.hold("V", key_capacity_, w.value_dim, tile_role::operand)),
      o_(p.hold("O", row_capacity_, w.value_dim, tile_role::operand)),
      dout_(p.hold("dO", row_capacity_, w.value_dim, tile_role::operand)),
      dq_(p.hold("dQ", row_capacity_, w.head_dim, tile_role::accumulator)),
      dk_(p.hold("dK", key_capacity_, w.head_dim, tile_role::accumulator)),
      dv_(p.hold("dV", key_capacity_, w.value_dim, tile_role::accumulator)),
      p_tile_(p.hold("P", row_capacity_, key_capacity_, tile_role::accumulator)),
      ds_(p.hold("dS", row_capacity_, key_capacity_, tile_role::accumulator)),
      max_(p.hold("m", row_capacity_, 1, tile_role::statistic)),
      sum_(p.hold("l", row_capacity_, 1, tile_role::statistic)),
      delta_(p.hold("delta", row_capacity_, 1, tile_role::statistic)) {}

void fa1_backward::open(const core::key_tile& t) {
    p_.begin_block(task_.q_place, t.index);
    keys_ = t.keys;
    p_.load(k_, tensor::k, task_.kv_place, task_.keys(keys_));
    p_.load(v_, tensor::v, task_.kv_place, task_.keys(keys_));
    dk_.use(keys_.size(), dk_.columns());
    dv_.use(keys_.size(), dv_.columns());
    p_.clear(dk_);
    p_.clear(dv_);
}

void fa1_backward::update(const core::row_tile& t) {
    const core::span rows = task_.rows(t.rows);
    p_.load(q_, tensor::q, task_.q_place, rows);
    p_.load(o_, tensor::out, task_.q_place, rows);
    p_.load(dout_, tensor::dout, task_.q_place, rows);
    p_.load(dq_, tensor::dq, task_.q_place, rows);
    p_.load(max_, tensor::row_max, task_.q_place, rows);
    p_.load(sum_, tensor::row_sum, task_.q_place, rows);

    delta_.use(rows.size(), 1);
    p_.each(o_, 2, 0, [](index_t, index_t) {});
    p_.each(delta_, 0, 0, [&](index_t i, index_t) {
        double sum = 0.0;
        for (index_t x = 0; x < o_.columns(); ++x) sum += o_(i, x) * dout_(i, x);
        delta_.set(i, 0, sum);
    });
    p_.multiply(p_tile_, q_, k_, transpose::right);
    p_.each(p_tile_, 3, 1, [&](index_t i, index_t j) {
        const bool seen = t.due == core::visit::full || task_.visible(rows.begin + i, keys_.begin + j);
        const double y = seen ? stage_(p_tile_(i, j), rows.begin + i, keys_.begin + j) : hidden;
        p_tile_.set(i, j, seen ? std::exp2(y - max_(i, 0)) / sum_(i, 0) : 0.0);
    });
    p_.multiply(dv_, p_tile_, dout_, transpose::left, true);
    p_.multiply(ds_, dout_, v_, transpose::right);
    p_.each(ds_, 2, 0, [&](index_t i, index_t j) {
        const double prob = p_tile_(i, j);
        if (prob == 0.0) return ds_.set(i, j, 0.0);
        const double y = std::log2(prob * sum_(i, 0)) + max_(i, 0); // the logit that P came from
        ds_.set(i, j, prob * (ds_(i, j) - delta_(i, 0)) * stage_.derivative(y, rows.begin + i, keys_.begin + j));
    });
    p_.multiply(dq_, ds_, k_, transpose::none, true);
    p_.store(dq_, tensor::dq, task_.q_place, rows);
    p_.multiply(dk_, ds_, q_, transpose::left, true);
}

void fa1_backward::close() {
    p_.store(dk_, tensor::dk, dkv_place_, task_.keys(keys_));
    p_.store(dv_, tensor::dv, dkv_place_, task_.keys(keys_));
    p_.end_block();
}

} // namespace pantile::inline v0::simulator
