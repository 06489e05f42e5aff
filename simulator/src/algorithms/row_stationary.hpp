/// \file
/// The machine of core's forward walk: Q, O and {max, sum} stay near, K and V pass by. Used by fa2, by each split of
/// split_keys, and by each round of ring.
#pragma once

#include <pantile/core/walk.hpp>

#include "algorithms/running_rows.hpp"

namespace pantile::inline v0::simulator {

class row_stationary_forward {
  public:
    /// Results go to (out, lse) at head place `out_place`.
    row_stationary_forward(processor& p, const workload& w, const head_task& task, tensor out, tensor lse,
                           index_t out_place)
        : p_(p), task_(task), stage_(w, task), out_(out), lse_(lse), out_place_(out_place),
          row_capacity_(std::min(task.plan.row_size * task.row_scale, task.q_rows())),
          key_capacity_(std::min(task.plan.key_size, task.plan.seq.k_len)),
          q_(p.hold("Q", row_capacity_, w.head_dim, tile_role::operand)),
          k_(p.hold("K", key_capacity_, w.head_dim, tile_role::operand)),
          v_(p.hold("V", key_capacity_, w.value_dim, tile_role::operand)),
          s_(p.hold("S", row_capacity_, key_capacity_, tile_role::accumulator)),
          o_(p.hold("O", row_capacity_, w.value_dim, tile_role::accumulator)), state_(p, row_capacity_) {
        for (int stage = 1; stage < p.near().stages; ++stage) {
            spare_.push_back(p.hold("K ahead", key_capacity_, w.head_dim, tile_role::operand));
            spare_.push_back(p.hold("V ahead", key_capacity_, w.value_dim, tile_role::operand));
        }
        if (!p.near().probabilities_in_place) {
            spare_.push_back(p.hold("P", row_capacity_, key_capacity_, tile_role::operand));
        }
    }

    /// The next row tile begins with what (partial_out, partial_lse) hold of it.
    void resume() { resumes_ = true; }
    /// Results of the next row tiles go to (out, lse).
    void results_to(tensor out, tensor lse) {
        out_ = out;
        lse_ = lse;
    }

    /// Results are the library's partial record instead: O as it was summed, and {max, sum}. One part's rows carry the sinks.
    void leave_partial(bool carries_sinks) {
        partial_ = true;
        sunk_ = carries_sinks;
    }

    void open(const core::row_tile& t) {
        rows_ = task_.rows(t.rows);
        p_.begin_block(out_place_, t.index);
        p_.load(q_, tensor::q, task_.q_place, rows_);
        state_.start(rows_, stage_, sunk_);
        if (resumes_) {
            p_.load(o_, tensor::partial_out, out_place_, rows_);
            state_.resume(tensor::partial_lse, out_place_, rows_);
            resumes_ = false;
        } else {
            o_.use(rows_.size(), o_.columns());
            p_.clear(o_);
        }
    }
    void fetch_key(const core::key_tile& t) { p_.load(k_, tensor::k, task_.kv_place, task_.keys(t.keys)); }
    void fetch_value(const core::key_tile& t) { p_.load(v_, tensor::v, task_.kv_place, task_.keys(t.keys)); }
    void score(const core::key_tile& t, core::full_tile) { score(t, false); }
    void score(const core::key_tile& t, core::partial_tile) { score(t, true); }
    void accumulate(const core::key_tile&) { p_.multiply(o_, s_, v_, transpose::none, true); }
    void close() {
        if (partial_) {
            p_.store(o_, tensor::partial_out, out_place_, rows_);
            state_.store(0, tensor::partial_max, out_place_, rows_);
            state_.store(1, tensor::partial_sum, out_place_, rows_);
        } else {
            state_.finish(&o_);
            p_.store(o_, out_, out_place_, rows_);
            state_.store(0, lse_, out_place_, rows_);
        }
        p_.end_block();
    }

  private:
    void score(const core::key_tile& t, bool partial) {
        p_.multiply(s_, q_, k_, transpose::right);
        mask_scores(p_, s_, task_, stage_, rows_, t.keys, partial);
        state_.fold(s_, &o_);
    }

    processor& p_;
    const head_task& task_;
    score_stage stage_;
    tensor out_;
    tensor lse_;
    index_t out_place_;
    index_t row_capacity_;
    index_t key_capacity_;
    tile q_, k_, v_, s_, o_;
    running_rows state_;
    std::vector<tile> spare_;
    core::span rows_;
    bool resumes_ = false;
    bool partial_ = false;
    bool sunk_ = true;
};

static_assert(core::forward_machine<row_stationary_forward>);

} // namespace pantile::inline v0::simulator
