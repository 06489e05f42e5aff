/// \file
/// The part of a forward machine that does not depend on what computes its products: the state of a row tile's queries, the
/// queries in SIMD lanes, and the score stage and softmax that a panel of them goes through at each key tile.
#pragma once

#include "../micro/tile_io.hpp"
#include "../score/stage.hpp"
#include "../threads/arena.hpp"
#include "row_tile.hpp"

namespace pantile::inline v0::cpu {

/// The sums of a panel.
template <class T>
struct panel_sums {
    T* o;          ///< [dim][query]
    index_t width; ///< numbers from one dim to the next: its queries, rounded up to whole vectors
};

/// Base of the machines. Rows are counted from the row tile's first; `r` is the first of a panel.
template <class V>
class row_tile_machine {
  protected:
    using T = number_t<V>;
    static constexpr index_t n = lanes<V>;
    using softmax = core::online_softmax<vector_ops<V>>;
    static constexpr T softmax_lowest = -std::numeric_limits<T>::infinity();

  public:
    /// After any_suspect: is the row one to walk again?
    bool is_suspect(index_t row_in_tile) const { return suspects_[row_in_tile] != T(0); }

  protected:
    /// For counting scratch.
    explicit row_tile_machine(const forward_call& call) : call_(call), stage_({}, 1.0) {}
    row_tile_machine(const forward_call& call, const forward_work& work, const output& to,
                     const core::scale_split& scale)
        : call_(call), work_(work), to_(to), mask_(call.problem.band_of(work.seq)),
          q_factor_(static_cast<T>(scale.query)), stage_(call.problem.features, scale.exponent),
          exponent_scale_(stage_.exponent_scale()) {
        const index_t kv_head = call.problem.kv_head(work.head);
        q_ = matrix_of<T>(call.q, work.batch, work.head, work.seq.q_begin);
        k_ = matrix_of<T>(call.k, work.batch, kv_head, work.seq.k_begin);
        v_ = matrix_of<T>(call.v, work.batch, kv_head, work.seq.k_begin);
    }

    void take_state(arena& memory, index_t panel_rows, index_t rows) {
        for (T** a : {&tile_max_, &tile_sum_, &reference_, &first_visible_, &end_visible_}) {
            *a = memory.template take<T>(panel_rows);
        }
        for (T** a : {&max_, &sum_, &suspects_}) *a = memory.template take<T>(rows);
    }

    /// No key seen yet, but the sink, if there is one.
    void start_rows(index_t r, index_t count) {
        const core::softmax_state<T> start =
            core::start_row<T>(call_.problem.features, work_.carries_sink, work_.batch, work_.head);
        for (index_t i = r; i < r + count; i += n) {
            V(start.max).store_aligned(max_ + i);
            V(start.sum).store_aligned(sum_ + i);
        }
    }

    /// The score stage of `vectors` vectors of rows from row `row` of the sequence on, for a call that has one: scores[key][row] of
    /// the keys begin … end[v] - 1, counted from the key tile's first, `origin`. Folds into tile_max. If `hides`, after
    /// note_visible_keys for the same rows and origin.
    template <int vectors>
    [[gnu::noinline]] void shape_scores(index_t row, index_t origin, T* scores, index_t stride, index_t begin,
                                        const index_t (&end)[vectors], bool hides) {
        const V slope(core::score_function<T>::slope_of(call_.problem.features, work_.batch, work_.head));
        unroll<vectors>([&](auto v) PANTILE_INLINE {
            constexpr index_t at = v * n;
            const V distance = score::distances<V>(mask_, row + at, origin);
            const visible_keys<V> seen{V::load_aligned(first_visible_ + at), V::load_aligned(end_visible_ + at)};
            stage_
                .fold({scores + at, stride, begin, end[v], 1, distance, slope, seen, hides},
                      V::load_aligned(tile_max_ + at))
                .store_aligned(tile_max_ + at);
        });
    }

    /// The panel at `r` meets the key tile's maxima: gives the factor for O and the sum, and the reference of the exponents.
    /// Returns whether one is so large that its row needs keep_largest_scores.
    template <int vectors>
    PANTILE_INLINE bool fold(index_t r, T* factor) {
        return raise<V, vectors>(max_ + r, tile_max_, exponent_scale_, reference_, factor);
    }

    /// After fold, in a call with a score stage: drops the weights that are next to nothing, of the keys that shape_scores took. The reference is
    /// that of the panel.
    template <int vectors>
    PANTILE_INLINE void drop_tails(T* scores, index_t stride, index_t begin, const index_t (&end)[vectors]) {
        unroll<vectors>([&](auto v) PANTILE_INLINE {
            constexpr index_t at = v * n;
            score::fragment<V> s;
            s.scores = scores + at;
            s.stride = stride;
            s.begin = begin;
            s.end = end[v];
            stage_.drop_tails(s, V::load_aligned(reference_ + at));
        });
    }

    /// After fold: the rows beyond largest_reference among `rows` rows of the panel from lane `first` on, whose scores of the
    /// key tile are scores[key][lane].
    [[gnu::noinline, gnu::cold]] void keep_largest_scores(index_t r, index_t first, index_t rows, T* scores,
                                                          index_t stride, index_t keys) {
        for (index_t i = first; i < first + rows; ++i) {
            keep_largest_beyond<V>(reference_[i], max_[r + i], tile_max_[i], exponent_scale_, scores + i, stride, keys);
        }
    }

    /// The key tile's sums join those of the tiles before.
    template <int vectors>
    PANTILE_INLINE void add_tile_sums(index_t r, const T* factor) {
        add_sums<V, vectors>(sum_ + r, factor, tile_sum_);
    }

    /// first_visible and end_visible of the panel whose first row is `first_row` of the sequence, counted from key
    /// `origin` and below `limit`; clamped far outside a tile, where they are exact in T.
    template <int vectors>
    void note_visible_keys(index_t first_row, index_t origin, index_t limit = index_t{1} << 24) {
        constexpr index_t far = index_t{1} << 23;
        const index_t at = first_row + mask_.offset - origin;
        const index_t first = core::clamp(at - mask_.left, -far, far);
        const index_t end = core::clamp(at + mask_.right + 1, -far, far);
        for (index_t i = 0; i < vectors * n; ++i) {
            first_visible_[i] = static_cast<T>(first + i);
            end_visible_[i] = static_cast<T>(core::min(end + i, limit));
        }
    }

    /// Writes O and the statistics. `panels(r)` gives the panel_sums of the panel at r; `factor`: room for one panel.
    template <class Panels>
    void store_panels(index_t panel_rows, T* factor, Panels panels) {
        const matrix_ref out = matrix_of<T>(to_.out, work_.batch, work_.head, work_.seq.q_begin);
        const bool partial_result = to_.max.data != nullptr;
        for (index_t i = 0; i < rows_.size(); ++i) {
            if (max_[i] != softmax_lowest) continue;
            const core::span seen = mask_.keys(rows_.begin + i);
            sum_[i] = core::mark_overflow(core::softmax_state<T>{max_[i], sum_[i]}, !seen.empty()).sum;
        }
        for (index_t r = 0; r < rows_.size(); r += panel_rows) {
            const index_t rows = core::min(panel_rows, rows_.size() - r);
            const panel_sums<T> panel = panels(r);
            for (index_t i = 0; i < core::round_up(rows, n); ++i) {
                factor[i] =
                    partial_result ? T(1) : core::finish_factor(core::softmax_state<T>{max_[r + i], sum_[r + i]});
            }
            store_transposed<V>(panel.o, panel.width, factor, out, rows_.begin + r, rows, call_.problem.value_dim);
        }
        for (index_t i = 0; i < rows_.size(); ++i) {
            store_statistics(to_, work_.batch, work_.head, work_.seq.q_begin + rows_.begin + i,
                             core::softmax_state<T>{max_[i], sum_[i]});
        }
    }

    /// Are there rows whose output is not finite and may owe that to pairs that they do not see (0 · NaN of V)? Only partial
    /// tiles compute such pairs. Reads the row tile's O, then.
    template <class Panels>
    bool any_suspect(index_t panel_rows, Panels panels) {
        if (!partial_seen_) return false;
        bool any = false;
        for (index_t r = 0; r < rows_.size(); r += panel_rows) {
            const panel_sums<T> panel = panels(r);
            const index_t width = core::round_up(core::min(panel_rows, rows_.size() - r), n);
            for (index_t vector = 0; vector < width; vector += n) {
                V zero = V(T(0)); // stays 0 as long as all numbers are finite
                for (index_t x = 0; x < call_.problem.value_dim; ++x) {
                    zero = xsimd::fma(V::load_aligned(panel.o + x * panel.width + vector), V(T(0)), zero);
                }
                zero.store_aligned(suspects_ + r + vector);
                for (index_t i = 0; i < n; ++i) any = any || is_suspect(r + vector + i);
            }
        }
        return any;
    }

    const forward_call& call_;
    forward_work work_;
    output to_;
    core::band mask_;
    T q_factor_ = T(1); // these make logits in base 2 of the products of q and k: see core/scale.hpp
    score::stage<V> stage_;
    T exponent_scale_ = T(1); // what is left for the softmax to multiply by
    matrix_ref q_, k_, v_;
    core::span rows_;
    bool partial_seen_ = false; // some pairs of the row tile were computed and hidden

    T* tile_max_ = nullptr; // [query] of one panel, as the next ones
    T* tile_sum_ = nullptr;
    T* reference_ = nullptr;
    T* first_visible_ = nullptr;
    T* end_visible_ = nullptr;
    T* max_ = nullptr; // [query] of the row tile, as the next ones
    T* sum_ = nullptr;
    T* suspects_ = nullptr; // not 0: a row to walk again
};

} // namespace pantile::inline v0::cpu
