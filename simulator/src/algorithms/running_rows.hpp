/// \file
/// The online softmax of a row tile, shared by the algorithms that keep {max, sum} near: logits, mask, fold, finish.
#pragma once

#include <cmath>

#include <pantile/core/online_softmax.hpp>
#include <pantile/simulator/processor.hpp>

#include "algorithms/score_stage.hpp"

namespace pantile::inline v0::simulator {

inline constexpr double hidden = -HUGE_VAL; ///< logit of a hidden pair

/// S := logits in base 2, minus infinity where hidden. `rows` are rows of q, `keys` keys of the schedule.
inline void mask_scores(processor& p, tile& s, const head_task& task, const score_stage& stage, core::span rows,
                        core::span keys, bool partial) {
    p.each(s, 1, 0, [&](index_t i, index_t j) {
        const bool seen = !partial || task.visible(rows.begin + i, keys.begin + j);
        s.set(i, j, seen ? stage(s(i, j), rows.begin + i, keys.begin + j) : hidden);
    });
}

class running_rows {
  public:
    using softmax = core::online_softmax<core::scalar_ops<double>>;

    /// {max, sum} of `rows` rows.
    running_rows(processor& p, index_t rows) : p_(p), state_(p.hold("max, sum", rows, 2, tile_role::statistic)) {}

    /// `sunk`: these rows begin with their sinks, if the call has any.
    void start(core::span rows, const score_stage& stage, bool sunk) {
        state_.use(rows.size(), 2);
        p_.each(state_, 0, 0, [&](index_t i, index_t j) {
            const softmax::state row = stage.start(rows.begin + i, sunk);
            state_.set(i, j, j == 0 ? row.max : row.sum);
        });
    }

    /// Goes on from a finished part of the rows, given by its log-sum-exp in far memory: {lse, 1} in base 2.
    void resume(tensor lse, index_t place, core::span rows) {
        tile one = p_.hold("lse carried", rows.size(), 1, tile_role::streamed);
        p_.load(one, lse, place, rows);
        p_.each(one, 1, 0, [&](index_t i, index_t) {
            state_.set(i, 0, one(i, 0) * core::log2_e);
            state_.set(i, 1, one(i, 0) == hidden ? 0.0 : 1.0);
        });
    }

    /// S (logits) := P = 2^(S - max); the state takes the tile in; O, if any, is rescaled to the new maximum.
    void fold(tile& s, tile* o) {
        p_.each(s, 3, 1, [](index_t, index_t) {}); // maximum, subtraction, sum; one exponential
        p_.each(state_, 1, 0, [](index_t, index_t) {});
        if (o != nullptr) p_.each(*o, 1, 0, [](index_t, index_t) {});
        if (!p_.computes()) return;
        for (index_t i = 0; i < s.rows(); ++i) {
            softmax::state row{state_(i, 0), state_(i, 1)};
            double tile_max = hidden;
            for (index_t j = 0; j < s.columns(); ++j) tile_max = std::max(tile_max, s(i, j));
            const double factor = softmax::raise(row, tile_max);
            double sum = 0.0;
            for (index_t j = 0; j < s.columns(); ++j) {
                s.set(i, j, std::exp2(s(i, j) - softmax::reference(row)));
                sum += s(i, j);
            }
            state_.set(i, 0, row.max);
            state_.set(i, 1, row.sum * factor + sum);
            for (index_t j = 0; o != nullptr && j < o->columns(); ++j) o->set(i, j, (*o)(i, j) * factor);
        }
    }

    /// O := O / sum; the state becomes {log-sum-exp, sum}, so that column 0 is lse.
    void finish(tile* o) {
        if (o != nullptr) p_.each(*o, 1, 0, [&](index_t i, index_t j) { o->set(i, j, (*o)(i, j) * factor(i)); });
        p_.each(state_, 1, 0, [&](index_t i, index_t j) {
            if (j == 0) state_.set(i, 0, core::finish_lse(softmax::state{state_(i, 0), state_(i, 1)}));
        });
    }

    /// One column of the state to far memory: 0 the maximum (after finish: lse), 1 the sum.
    void store(index_t column, tensor to, index_t place, core::span rows) {
        tile one = p_.hold("statistic", rows.size(), 1, tile_role::streamed);
        p_.each(one, 0, 0, [&](index_t i, index_t) { one.set(i, 0, state_(i, column)); });
        p_.store(one, to, place, rows);
    }

  private:
    [[nodiscard]] double factor(index_t row) const {
        return core::finish_factor(softmax::state{state_(row, 0), state_(row, 1)});
    }

    processor& p_;
    tile state_;
};

} // namespace pantile::inline v0::simulator
