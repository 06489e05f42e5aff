/// \file
/// The CPU machine of walk::backward: query rows in SIMD lanes, key-stationary (FlashAttention-2, Algorithm 2).
///
/// One call of score works on a row tile of up to R rows (panels of W) and a key tile, in strips of c <= 96 keys:
///
///     Sᵀ  = K·Qᵀ                 [key][row]   P = 2^((Sᵀ - reference)·c - log_sum)   product 1, exp2 in its epilogue
///     dPᵀ = V·dOᵀ                [key][row]   dS = P ∘ (dP - delta)                  product 2, dS in its epilogue
///     dV += P·dO,  dK += dS·Q    [key][dim]                                          products 3 and 4
///     dQᵀ += Kᵀ·dS               [dim][row]                                          product 5
///
/// With a score function (soft cap, ALiBi) product 1 stores S, and the score stage makes P of it, and what dS must still be multiplied
/// by after product 2. Both epilogues stay as they are, and so does what plain calls run.
///
/// 10·rows·keys·dim operations (head dim = value dim). P and dS of a strip are written once and read twice, in L1. K and V
/// of a key tile are read, dK and dV read and written, in L2; Q, dO (rows and panels) and dQᵀ pass by once a key tile.
/// The scale of dQ and dK is applied once, at the end. c is the exponent's part of it, Qᵀ has the rest (core/scale.hpp).
#pragma once

#include <pantile/core/online_softmax.hpp>
#include <pantile/core/scale.hpp>
#include <pantile/core/walk.hpp>

#include "../forward/panel.hpp"
#include "../micro/exp2.hpp"
#include "../score/stage.hpp"
#include "call.hpp"

namespace pantile::inline v0::cpu::backward {

/// One query head of the running work item, prepared: row-major and panel forms, statistics, dQᵀ.
template <class T>
struct head_data {
    const T* q_rows = nullptr; ///< [row][q_stride]
    index_t q_stride = 0;
    const T* dout_rows = nullptr; ///< [row][dout_stride]
    index_t dout_stride = 0;
    const T* qt = nullptr;  ///< [panel][head_dim][W], times its factor
    const T* dot = nullptr; ///< [panel][value_dim][W]
    /// [row]: with s a score and c its factor in the exponent, P = 2^((s - reference)·c - log_sum); after a score stage the exponent
    /// is y and c is 1. The reference is 0 where
    /// lse tells P well enough, else the largest score (statistics.hpp); log_sum is +inf for a row that sees no key and for
    /// padding: its P is 0.
    const T* reference = nullptr;
    const T* log_sum = nullptr;
    const T* delta = nullptr; ///< [row] rowsum(dO ∘ O)
    T slope = T(0);           ///< of ALiBi, in base 2
    T* dqt = nullptr;         ///< [panel][head_dim][W]
};

/// One key tile in rows, and where its gradients are summed.
template <class T>
struct key_data {
    const T* k = nullptr; ///< [key][k_stride]
    index_t k_stride = 0;
    const T* v = nullptr;
    index_t v_stride = 0;
    T* dk = nullptr; ///< [key][head_dim padded]
    T* dv = nullptr;
};

/// Source: a work item (work_item.hpp) that hands out key tiles in rows.
template <class V, class Source>
class machine {
    using T = number_t<V>;
    static constexpr int width = panel_vectors<V>;              // vectors in a panel
    static constexpr index_t panel = index_t{width} * lanes<V>; // W

  public:
    PANTILE_INLINE machine(Source& source, const head_data<T>& head, const core::problem& p, const core::band& band,
                           const head_layout& layout, index_t row_tile, T* p_tile, T* ds_tile, T* derivative_tile,
                           bool sums_slopes)
        : source_(source), head_(head), band_(band), layout_(layout), head_dim_(p.head_dim), value_dim_(p.value_dim),
          row_tile_(row_tile), p_(p_tile), ds_(ds_tile), derivative_(derivative_tile),
          stage_(p.features, core::split_scale<T>(p.scale).exponent), exponent_scale_(stage_.exponent_scale()),
          sums_slopes_(sums_slopes) {}

    /// Σ dS·|distance| of all pairs so far, if asked for.
    [[nodiscard]] double slope_sum() const { return slope_sum_; }

    void open(const core::key_tile& t) {
        keys_ = t.keys;
        key_ = source_.keys(t.keys);
    }

    void fetch_row(const core::row_tile&) {} // rows are prepared once a head; the hardware prefetcher streams them

    /// P and dS of a strip of keys are used up before the next strip, so that they stay near.
    void score(const core::row_tile& t, core::full_tile) {
        for_each_strip([&](core::span strip) PANTILE_INLINE {
            for_each_panel(t.rows,
                           [&](core::span rows) PANTILE_INLINE { probabilities<false>(t.rows, rows, strip, strip); });
            add_gradients(t.rows, t.rows, strip, strip);
        });
    }
    /// A partial tile is worked panel by panel, each against the keys that its rows see.
    void score(const core::row_tile& t, core::partial_tile) {
        for_each_strip([&](core::span strip) PANTILE_INLINE {
            for_each_panel(t.rows, [&](core::span rows) PANTILE_INLINE {
                const core::span seen = keys_seen_by(rows, strip);
                if (seen.empty()) return;
                if (band_.lo(rows.end - 1) <= seen.begin && band_.hi(rows.begin) >= seen.end) {
                    probabilities<false>(t.rows, rows, strip, seen);
                } else {
                    probabilities<true>(t.rows, rows, strip, seen);
                }
                add_gradients(t.rows, rows, strip, seen);
            });
        });
    }

    void gradients(const core::row_tile&) {} // done by score, strip by strip

    void close() {}

  private:
    template <class F>
    static PANTILE_INLINE void for_each_panel(core::span rows, F f) {
        for (index_t r = rows.begin; r < rows.end; r += panel) f(core::span{r, core::min(r + panel, rows.end)});
    }
    template <class F>
    PANTILE_INLINE void for_each_strip(F f) const {
        for (index_t k = keys_.begin; k < keys_.end; k += strip_keys) {
            f(core::span{k, core::min(k + strip_keys, keys_.end)});
        }
    }
    core::span keys_seen_by(core::span rows, core::span strip) const {
        return {core::max(strip.begin, band_.lo(rows.begin)), core::min(strip.end, band_.hi(rows.end - 1))};
    }

    /// P and dS of one panel of the row tile against `keys` of the strip. Both lie as
    /// [key - strip.begin][row - tile.begin].
    template <bool masked>
    void probabilities(core::span tile, core::span rows, core::span strip, core::span keys) {
        const index_t row = rows.begin;
        const index_t stride = row_tile_;
        const index_t first = keys.begin - keys_.begin;
        const index_t place = (keys.begin - strip.begin) * stride + (row - tile.begin);
        T* p_tile = p_ + place;
        T* ds_tile = ds_ + place;
        V reference[width];
        V log_sum[width];
        V delta[width];
        V lane[width]; // row number in the panel
        unroll<width>([&](auto v) PANTILE_INLINE {
            reference[v] = V::load_unaligned(head_.reference + row + v * lanes<V>);
            log_sum[v] = V::load_unaligned(head_.log_sum + row + v * lanes<V>);
            delta[v] = V::load_unaligned(head_.delta + row + v * lanes<V>);
            lane[v] = score::lane_numbers<V>() + V(static_cast<T>(v * lanes<V>));
        });
        // Key j is seen by the rows [j - off - right, j - off + left]: as numbers of the panel, clamped so that they are
        // exact in T.
        const auto seers = [&](index_t m, V& low, V& high) PANTILE_INLINE {
            const index_t at = keys.begin + m - band_.offset - row;
            low = V(static_cast<T>(core::clamp(at - band_.right, -1, panel)));
            high = V(static_cast<T>(core::clamp(at + band_.left, -1, panel)));
        };
        const V scale(exponent_scale_);
        if (stage_.on()) {
            shaped_probabilities(row, keys, masked, p_tile, derivative_ + place);
        } else {
            product<V, width>(keys.size(), rows_of<T>{key_.k + first * key_.k_stride, key_.k_stride},
                              vectors_of<T>{head_.qt + row * head_dim_, panel}, whole_sum{head_dim_},
                              [&](index_t m0, auto& c) PANTILE_INLINE {
                                  constexpr int block = sizeof(c.at) / sizeof(c.at[0]);
                                  unroll<block>([&](auto m) PANTILE_INLINE {
                                      V low(T(0)), high(T(0));
                                      if constexpr (masked) seers(m0 + m, low, high);
                                      unroll<width>([&](auto v) PANTILE_INLINE {
                                          V p = power_of_two(xsimd::fms(c.at[m][v] - reference[v], scale, log_sum[v]));
                                          if constexpr (masked)
                                              p = xsimd::select(lane[v] >= low && lane[v] <= high, p, V(T(0)));
                                          p.store_unaligned(p_tile + (m0 + m) * stride + v * lanes<V>);
                                      });
                                  });
                              });
        }
        product<V, width>(keys.size(), rows_of<T>{key_.v + first * key_.v_stride, key_.v_stride},
                          vectors_of<T>{head_.dot + row * value_dim_, panel}, whole_sum{value_dim_},
                          [&](index_t m0, auto& c) PANTILE_INLINE {
                              constexpr int block = sizeof(c.at) / sizeof(c.at[0]);
                              unroll<block>([&](auto m) PANTILE_INLINE {
                                  V low(T(0)), high(T(0));
                                  if constexpr (masked) seers(m0 + m, low, high);
                                  unroll<width>([&](auto v) PANTILE_INLINE {
                                      const index_t at = (m0 + m) * stride + v * lanes<V>;
                                      V ds = V::load_unaligned(p_tile + at) * (c.at[m][v] - delta[v]);
                                      if constexpr (masked)
                                          ds = xsimd::select(lane[v] >= low && lane[v] <= high, ds, V(T(0)));
                                      ds.store_unaligned(ds_tile + at);
                                  });
                              });
                          });
        if (stage_.capped() || sums_slopes_) shape_gradients(row, rows.size(), keys, ds_tile, derivative_ + place);
    }

    /// `keys` against the rows of a vector of the panel, whose scores (or dS) lie at `scores`.
    PANTILE_INLINE score::fragment<V> fragment_of(index_t row, core::span keys, bool masked, T* scores) const {
        return {scores,
                row_tile_,
                0,
                keys.size(),
                1,
                score::distances<V>(band_, row, keys.begin),
                V(head_.slope),
                score::keys_seen<V>(band_, row, keys.begin),
                masked};
    }

    /// P of a panel by way of the score stage: product 1, then the score function on what it stored. The derivatives lie like P.
    [[gnu::noinline]] void shaped_probabilities(index_t row, core::span keys, bool masked, T* p_tile, T* derivative) {
        alignas(64) T largest[panel]; // not used
        for (T& x : largest) x = T(0);
        product<V, width>(keys.size(), rows_of<T>{key_.k + (keys.begin - keys_.begin) * key_.k_stride, key_.k_stride},
                          vectors_of<T>{head_.qt + row * head_dim_, panel}, whole_sum{head_dim_},
                          store_scores<V>{p_tile, row_tile_, largest});
        unroll<width>([&](auto v) PANTILE_INLINE {
            constexpr index_t at = v * lanes<V>;
            stage_.probabilities(fragment_of(row + at, keys, masked, p_tile + at),
                                 {V::load_unaligned(head_.reference + row + at),
                                  V::load_unaligned(head_.log_sum + row + at), derivative + at});
        });
    }

    /// After product 2: dS of the exponents to dS of the scores, and what it adds to the slope's gradient by the panel's `rows` rows.
    [[gnu::noinline]] void shape_gradients(index_t row, index_t rows, core::span keys, T* ds_tile,
                                           const T* derivative) {
        T sums[panel];
        unroll<width>([&](auto v) PANTILE_INLINE {
            constexpr index_t at = v * lanes<V>;
            stage_.gradients(fragment_of(row + at, keys, false, ds_tile + at), derivative + at, sums_slopes_)
                .store_unaligned(sums + at);
        });
        if (!sums_slopes_) return;
        for (index_t i = 0; i < rows; ++i) slope_sum_ += static_cast<double>(sums[i]);
    }

    void add_gradients(core::span tile, core::span rows, core::span strip, core::span keys) {
        const index_t first = keys.begin - keys_.begin;
        // Of (keys.begin, row) in the score tiles, less row.
        const index_t place = (keys.begin - strip.begin) * row_tile_ - tile.begin;
        const rows_of<T> p{p_ + place + rows.begin, row_tile_};
        const rows_of<T> ds{ds_ + place + rows.begin, row_tile_};
        add_rows(keys.size(), p, {head_.dout_rows + rows.begin * head_.dout_stride, head_.dout_stride}, rows.size(),
                 key_.dv + first * layout_.padded_value_dim, layout_.padded_value_dim);
        add_rows(keys.size(), ds, {head_.q_rows + rows.begin * head_.q_stride, head_.q_stride}, rows.size(),
                 key_.dk + first * layout_.padded_head_dim, layout_.padded_head_dim);
        const columns_of<T> k{key_.k + first * key_.k_stride, key_.k_stride};
        for_each_panel(rows, [&](core::span r) PANTILE_INLINE {
            product<V, width>(head_dim_, k, vectors_of<T>{ds_ + place + r.begin, row_tile_}, whole_sum{keys.size()},
                              add_to{head_.dqt + r.begin * head_dim_, panel});
        });
    }

    /// C[key][dim] += A(key, row)·B[row][dim], in strips of at most a panel's vectors.
    void add_rows(index_t keys, rows_of<T> a, vectors_of<T> b, index_t rows, T* c, index_t dims) {
        index_t x = 0;
        for (; x + panel <= dims; x += panel) strip<width>(keys, a, b, rows, c, dims, x);
        switch ((dims - x) / lanes<V>) {
        case 3:
            if constexpr (width > 3) strip<3>(keys, a, b, rows, c, dims, x);
            break;
        case 2:
            if constexpr (width > 2) strip<2>(keys, a, b, rows, c, dims, x);
            break;
        case 1:
            strip<1>(keys, a, b, rows, c, dims, x);
            break;
        default:
            break;
        }
    }
    template <int vectors>
    void strip(index_t keys, rows_of<T> a, vectors_of<T> b, index_t rows, T* c, index_t dims, index_t x) {
        product<V, vectors>(keys, a, vectors_of<T>{b.data + x, b.stride}, whole_sum{rows}, add_to{c + x, dims});
    }

    /// Epilogue: C += block.
    struct add_to {
        T* data;
        index_t stride;
        template <class Block>
        PANTILE_INLINE void operator()(index_t m0, const Block& c) const {
            constexpr int rows = sizeof(c.at) / sizeof(c.at[0]);
            constexpr int vectors = sizeof(c.at[0]) / sizeof(V);
            unroll<rows>([&](auto m) PANTILE_INLINE {
                unroll<vectors>([&](auto v) PANTILE_INLINE {
                    T* at = data + (m0 + m) * stride + v * lanes<V>;
                    (V::load_unaligned(at) + c.at[m][v]).store_unaligned(at);
                });
            });
        }
    };

    Source& source_;
    head_data<T> head_;
    core::band band_;
    head_layout layout_;
    index_t head_dim_;
    index_t value_dim_;
    index_t row_tile_;
    T* p_;
    T* ds_;
    T* derivative_; // of the same shape, with a soft cap
    score::stage<V> stage_;
    T exponent_scale_;
    bool sums_slopes_;
    double slope_sum_ = 0.0;
    core::span keys_;
    key_data<T> key_;
};

} // namespace pantile::inline v0::cpu::backward
