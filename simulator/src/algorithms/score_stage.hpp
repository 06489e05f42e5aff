/// \file
/// What becomes of a score in a run that computes: core's score function with the places of a task's rows and keys, and the sinks
/// of its rows. Runs that only count never ask.
#pragma once

#include <pantile/core/score.hpp>
#include <pantile/simulator/workload.hpp>

namespace pantile::inline v0::simulator {

class score_stage {
  public:
    score_stage(const workload& w, const head_task& task)
        : problem_(w.problem()), task_(task),
          function_(core::score_function<double>::of(problem_.features, problem_.scale * core::log2_e)) {}

    /// The logit in base 2 of a score, at a row of q and a key of the schedule.
    [[nodiscard]] double operator()(double score, index_t row, index_t key) const {
        return function_(score, place(row, key));
    }
    /// d logit / d score, from the logit in base 2.
    [[nodiscard]] double derivative(double y, index_t row, index_t key) const {
        return problem_.scale * function_.derivative(y, place(row, key));
    }
    /// {max, sum} of a row before its first key; of the parts of a row one carries its sink.
    [[nodiscard]] core::softmax_state<double> start(index_t row, bool carries_sink) const {
        return core::start_row<double>(problem_.features, carries_sink, task_.batch, task_.head(row));
    }

  private:
    [[nodiscard]] core::pair_place<double> place(index_t row, index_t key) const {
        return {static_cast<double>(task_.position(row) + task_.plan.mask.offset - key),
                core::score_function<double>::slope_of(problem_.features, task_.batch, task_.head(row))};
    }

    core::problem problem_;
    const head_task& task_;
    core::score_function<double> function_;
};

} // namespace pantile::inline v0::simulator
