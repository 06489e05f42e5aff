/// \file
/// Gradients of single rows and keys over the pairs that are visible, and no others.
///
/// A panel computes hidden pairs beside visible ones; their P and dS are 0, but 0 · NaN is NaN: an infinite or NaN number
/// of a key reaches dQ of rows that do not see it, one of a row's Q or dO reaches dK or dV of keys that it does not see.
/// So a gradient that is not finite, although a hidden pair computed beside it can be to blame, is computed again here.
/// Rare, and slow: number by number, sums in double.
#pragma once

#include "prepare.hpp"

namespace pantile::inline v0::cpu::backward {

template <class T>
PANTILE_INLINE inline bool all_finite(const T* data, index_t count) {
    T zero = T(0); // stays 0 as long as all numbers are finite
    for (index_t x = 0; x < count; ++x) zero += data[x] * T(0);
    return zero == T(0);
}
/// The same of whole vectors, `rows` rows one after the other.
template <class V>
PANTILE_INLINE inline bool all_finite_vectors(const number_t<V>* data, index_t rows, index_t row) {
    V zero[2] = {V(number_t<V>(0)), V(number_t<V>(0))};
    const index_t count = rows * row;
    index_t x = 0;
    for (; x + 2 * lanes<V> <= count; x += 2 * lanes<V>) {
        unroll<2>([&](auto i) PANTILE_INLINE {
            zero[i] = xsimd::fma(V::load_unaligned(data + x + i * lanes<V>), V(number_t<V>(0)), zero[i]);
        });
    }
    if (x < count) zero[0] = xsimd::fma(V::load_unaligned(data + x), V(number_t<V>(0)), zero[0]);
    return xsimd::all(zero[0] + zero[1] == V(number_t<V>(0)));
}

/// One query head against the keys of its kv head.
template <class V>
class visible_pairs {
    using T = number_t<V>;
    static constexpr index_t panel = index_t{panel_vectors<V>} * lanes<V>;

  public:
    /// `scratch`: as prepared_rows takes it; `v_scratch`: room for a row of V.
    visible_pairs(const call& c, index_t batch, index_t kv_head, const key_scratch<T>& scratch, T* v_scratch)
        : call_(c), batch_(batch), kv_head_(kv_head), k_scratch_(scratch.k), v_scratch_(v_scratch),
          sequence_(c.problem.sequence_of(batch)), band_(c.problem.band_of(sequence_)),
          stage_(c.problem.features, core::split_scale<T>(c.problem.scale).exponent) {}

    /// Has row i a key that its panel computes, that it does not see, and that is not finite?
    [[gnu::noinline, gnu::cold]] bool blames_a_key(index_t i) {
        const index_t first = i / panel * panel;
        const index_t last = core::min(first + panel, call_.problem.q_len) - 1;
        const core::span seen = band_.keys(i);
        for (index_t j = band_.lo(first); j < band_.hi(last); ++j) {
            if (j >= seen.begin && j < seen.end) continue;
            if (!all_finite(key(j).data, call_.problem.head_dim)) return true;
        }
        return false;
    }

    /// Has key j a row of query head `h` that is computed beside it, that does not see it, and whose Q or dO is not finite?
    [[gnu::noinline, gnu::cold]] bool blames_a_row(index_t h, index_t j) {
        const core::problem& p = call_.problem;
        const core::span seers = band_.rows(p.q_len, {j, j + 1});
        const index_t end = core::min(core::round_up(seers.end, panel), p.q_len);
        for (index_t i = seers.begin / panel * panel; i < end; ++i) {
            if (band_.visible(i, j)) continue;
            const auto q = bring_rows<V>(call_.q, batch_, h, i, {0, 1}, p.head_dim, false, k_scratch_);
            const auto dout = bring_rows<V>(call_.dout, batch_, h, i, {0, 1}, p.value_dim, false, v_scratch_);
            if (!all_finite(q.data, p.head_dim) || !all_finite(dout.data, p.value_dim)) return true;
        }
        return false;
    }

    /// dQ of row i, not yet scaled: to[x · stride].
    [[gnu::noinline, gnu::cold]] void dq_row(const head_data<T>& head, index_t i, T* to, index_t stride) {
        const index_t d = call_.problem.head_dim;
        for (index_t x = 0; x < d; ++x) to[x * stride] = T(0);
        const core::span seen = band_.keys(i);
        // Sums of many keys start anew, so that T's digits do.
        constexpr index_t together = 64;
        for (index_t j0 = seen.begin; j0 < seen.end; j0 += together) {
            T ds[together];
            const index_t count = core::min(together, seen.end - j0);
            for (index_t j = 0; j < count; ++j) ds[j] = pair(head, i, j0 + j).ds;
            for (index_t x = 0; x < d; ++x) {
                double sum = 0.0;
                for (index_t j = 0; j < count; ++j) {
                    sum += static_cast<double>(ds[j]) * static_cast<double>(key_number(j0 + j, x));
                }
                to[x * stride] = static_cast<T>(static_cast<double>(to[x * stride]) + sum);
            }
        }
    }

    /// Adds the rows of `head` to dK and dV of key j, dK not yet scaled.
    [[gnu::noinline, gnu::cold]] void add_key(const head_data<T>& head, index_t j, double* dk, double* dv) {
        const core::problem& p = call_.problem;
        const core::span seers = band_.rows(p.q_len, {j, j + 1});
        for (index_t i = seers.begin; i < seers.end; ++i) {
            if (!band_.visible(i, j)) continue;
            const weights w = pair(head, i, j);
            const T* q = head.q_rows + i * head.q_stride;
            const T* dout = head.dout_rows + i * head.dout_stride;
            for (index_t x = 0; x < p.head_dim; ++x) dk[x] += static_cast<double>(w.ds) * static_cast<double>(q[x]);
            for (index_t x = 0; x < p.value_dim; ++x) dv[x] += static_cast<double>(w.p) * static_cast<double>(dout[x]);
        }
    }

  private:
    struct weights {
        T p;
        T ds;
    };

    rows_in_memory<T> key(index_t j) {
        return bring_rows<V>(call_.k, batch_, kv_head_, j, {0, 1}, call_.problem.head_dim, false, k_scratch_);
    }
    T key_number(index_t j, index_t x) const {
        T number = T(0);
        const matrix_ref k = matrix_of<T>(call_.k, batch_, kv_head_, j);
        with_elements<T>(k.data, k.type, [&](auto* p) PANTILE_INLINE { number = static_cast<T>(p[x * k.col_stride]); });
        return number;
    }

    /// P and dS of a visible pair. The score is added up as the product kernel does, so that it is the same number.
    weights pair(const head_data<T>& head, index_t i, index_t j) {
        const core::problem& p = call_.problem;
        const T* k = key(j).data;
        const T* v = bring_rows<V>(call_.v, batch_, kv_head_, j, {0, 1}, p.value_dim, false, v_scratch_).data;
        const T* qt = head.qt + i / panel * panel * p.head_dim + i % panel;
        const T* dot = head.dot + i / panel * panel * p.value_dim + i % panel;
        V score(T(0));
        for (index_t x = 0; x < p.head_dim; ++x) score = xsimd::fma(V(k[x]), V(qt[x * panel]), score);
        V dp(T(0));
        for (index_t x = 0; x < p.value_dim; ++x) dp = xsimd::fma(V(v[x]), V(dot[x * panel]), dp);
        V exponent = xsimd::fms(score - V(head.reference[i]), V(stage_.exponent_scale()), V(head.log_sum[i]));
        V derivative(T(1));
        if (stage_.on()) {
            V y(T(0));
            stage_.apply(score, V(static_cast<T>(i + band_.offset - j)), V(head.slope), y, derivative);
            exponent = (y - V(head.reference[i])) - V(head.log_sum[i]);
        }
        const V probability = power_of_two(exponent);
        V ds = probability * (dp - V(head.delta[i]));
        if (stage_.capped()) ds = ds * derivative;
        T numbers[V::size];
        weights w{};
        probability.store_unaligned(numbers);
        w.p = numbers[0];
        ds.store_unaligned(numbers);
        w.ds = numbers[0];
        return w;
    }

    const call& call_;
    index_t batch_;
    index_t kv_head_;
    T* k_scratch_; // a row of K or Q, as far as it cannot be read in place
    T* v_scratch_; // a row of V or dO
    core::sequence sequence_;
    core::band band_;
    score::stage<V> stage_;
};

} // namespace pantile::inline v0::cpu::backward
