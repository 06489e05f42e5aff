/// \file
/// What a backward pass must know of a row's softmax where the forward call's log-sum-exp no longer tells it.
///
/// A log-sum-exp of size L is rounded to L·u, and P = 2^(s·c - lse·log2e) has that as its relative error: at 10^7 in fp32
/// it is off by a factor of 2, at 10^9 by 2^60. A maximum and a sum lose nothing. So rows beyond `trusted_lse` take another
/// look at their keys: one more product of scores, a fifth of the pass's work, for the panels that hold such rows. With a score
/// function its exponents take the place of the scores, and c is 1.
#pragma once

#include "../forward/panel.hpp"
#include "../score/stage.hpp"
#include "call.hpp"

namespace pantile::inline v0::cpu::backward {

/// Up to this size lse gives P to 256·u, no worse than scores of that size are themselves.
inline constexpr int trusted_lse = 256;

/// One panel of query rows, W of them, side by side in lanes.
template <class V>
class panel_statistics {
    using T = number_t<V>;
    static constexpr int width = panel_vectors<V>;
    static constexpr index_t panel = index_t{width} * lanes<V>;

  public:
    /// Of a head with this slope and sink, both in base 2; minus infinity: no sink.
    panel_statistics(const score::stage<V>& stage, T slope, double sink)
        : stage_(stage), slope_(slope), exponent_scale_(stage.exponent_scale()), sink_(sink) {
        for (index_t i = 0; i < panel; ++i) {
            max_[i] = -std::numeric_limits<T>::infinity();
            sum_[i] = T(0);
        }
    }

    /// `keys` keys in rows, the first of which is number `first` of the sequence; `qt`: the panel's Qᵀ, [dim][W]; `scores`:
    /// room for keys·W numbers. Row i of the panel is row `row` + i of the sequence.
    void add(const T* k, index_t k_stride, index_t first, index_t keys, const T* qt, index_t head_dim, index_t row,
             const core::band& band, T* scores) {
        alignas(64) T tile_max[panel];
        alignas(64) T first_visible[panel];
        alignas(64) T end_visible[panel];
        for (index_t i = 0; i < panel; ++i) {
            tile_max[i] = -std::numeric_limits<T>::infinity();
            first_visible[i] = static_cast<T>(core::clamp(band.lo(row + i) - first, 0, keys));
            end_visible[i] = static_cast<T>(core::clamp(band.hi(row + i) - first, 0, keys));
        }
        product<V, width>(keys, rows_of<T>{k, k_stride}, vectors_of<T>{qt, panel}, whole_sum{head_dim},
                          store_masked_scores<V>{{scores, panel, tile_max}, first_visible, end_visible, 0});
        if (stage_.on()) {
            unroll<width>([&](auto v) PANTILE_INLINE {
                constexpr index_t at = v * lanes<V>;
                const visible_keys<V> seen{V::load_aligned(first_visible + at), V::load_aligned(end_visible + at)};
                stage_
                    .fold({scores + at, panel, 0, keys, 1, score::distances<V>(band, row + at, first), V(slope_), seen,
                           true},
                          vector_ops<V>::lowest())
                    .store_aligned(tile_max + at);
            });
        }
        unroll<width>([&](auto v) PANTILE_INLINE { fold(v * lanes<V>, tile_max, scores, keys); });
    }

    /// The reference of row i of the panel, and what to take from exponents beside it: P = 2^((s - reference)·c - log_sum).
    ///
    /// `lse` may count keys that this call does not see (the other steps of a ring): then it is larger than the sum that was
    /// found here, the sink included, by more than its own rounding, and says how large the whole is.
    void finish(index_t i, T lse, T& reference, T& log_sum) const {
        const double largest = static_cast<double>(max_[i]) * static_cast<double>(exponent_scale_);
        const double own = with_sink(std::log2(static_cast<double>(sum_[i])), sink_ - largest);
        const double given = static_cast<double>(lse) * core::log2_e - largest;
        const double rounding =
            4.0 * core::log2_e * std::numeric_limits<T>::epsilon() / 2 * std::fabs(static_cast<double>(lse));
        reference = max_[i];
        log_sum = static_cast<T>(given > own + rounding ? given : own);
    }

  private:
    /// log2(2^sum + 2^sink).
    static PANTILE_INLINE double with_sink(double sum, double sink) {
        if (!(sink > -std::numeric_limits<double>::infinity())) return sum;
        const double larger = sum < sink ? sink : sum;
        return larger + std::log2(std::exp2(sum - larger) + std::exp2(sink - larger));
    }

    /// The online softmax of lanes<V> rows on differences of scores, which are exact where they matter.
    PANTILE_INLINE void fold(index_t at, const T* tile_max, const T* scores, index_t keys) {
        const V c(exponent_scale_);
        const V before = V::load_aligned(max_ + at);
        const V after = xsimd::max(before, V::load_aligned(tile_max + at));
        const V reference = vector_ops<V>::finite_or_zero(after);
        V sum = V::load_aligned(sum_ + at) * power_of_two((before - reference) * c);
        for (index_t k = 0; k < keys; ++k) {
            sum = sum + power_of_two((V::load_aligned(scores + k * panel + at) - reference) * c);
        }
        after.store_aligned(max_ + at);
        sum.store_aligned(sum_ + at);
    }

    score::stage<V> stage_;
    T slope_;
    T exponent_scale_;
    double sink_;
    alignas(64) T max_[panel]; // of scores
    alignas(64) T sum_[panel]; // of 2^((s - max)·c)
};

} // namespace pantile::inline v0::cpu::backward
