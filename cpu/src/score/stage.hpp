/// \file
/// The score stage: what becomes of a call's scores between its first product and its softmax, written once for every machine.
///
///     raw score -> score function (core/score.hpp) -> hide what is not visible -> maxima (forward), P (backward)
///
/// A pass of its own over a tile of scores while it lies in L1, taken only by calls with arithmetic features: plain calls fold
/// their scale into the exponent and never come here. What the stage leaves are exponents y in base 2, to which no scale is
/// applied any more. A soft cap's order matters: tanh of minus infinity is -1, so pairs are hidden after the function.
///
/// What it costs is in docs/performance.md.
#pragma once

#include <pantile/core/score.hpp>

#include "../micro/tanh.hpp"
#include "fragment.hpp"

namespace pantile::inline v0::cpu::score {

/// A vector as a score function takes it: with the tanh of micro/ instead of xsimd's.
template <class V>
struct numbers {
    V v;

    PANTILE_INLINE numbers(const V& x) : v(x) {} // NOLINT(google-explicit-constructor)
    explicit PANTILE_INLINE numbers(number_t<V> x) : v(x) {}
    friend PANTILE_INLINE numbers operator+(const numbers& a, const numbers& b) { return a.v + b.v; }
    friend PANTILE_INLINE numbers operator-(const numbers& a, const numbers& b) { return a.v - b.v; }
    friend PANTILE_INLINE numbers operator*(const numbers& a, const numbers& b) { return a.v * b.v; }
    friend PANTILE_INLINE numbers abs(const numbers& a) { return xsimd::abs(a.v); }
    friend PANTILE_INLINE numbers tanh(const numbers& a) { return hyperbolic_tangent(a.v); }
};

/// What the backward pass asks for beside P, where it is wanted.
template <class V>
struct probability {
    V reference; ///< P = 2^((y - reference) - log_sum)
    V log_sum;
    number_t<V>* derivative; ///< like the scores: dy/ds in units of the scale; written only with a cap
};

/// Weights of less than 2^this are dropped: no sum has a digit for them, and the products of larger ones with V and dP stay normal.
template <class T>
inline constexpr T least_exponent = sizeof(T) == 8 ? T(-960) : T(-96);

template <class V>
class stage {
    using T = number_t<V>;

  public:
    /// Of a call whose scores are multiplied by `exponent` (core::split_scale's) in base 2.
    PANTILE_INLINE stage(const core::features& f, double exponent)
        : function_(core::score_function<T>::of(f, exponent)), on_(f.arithmetic()) {}

    /// Does the call have a score function beyond its scale?
    [[nodiscard]] PANTILE_INLINE bool on() const { return on_; }
    [[nodiscard]] PANTILE_INLINE bool capped() const { return on_ && function_.capped; }
    /// What the softmax multiplies its scores by: after the stage nothing.
    [[nodiscard]] PANTILE_INLINE T exponent_scale() const { return on_ ? T(1) : function_.linear; }

    /// Scores to exponents, minus infinity where hidden; returns the lanes' largest, `largest` included.
    [[gnu::noinline]] V fold(const fragment<V>& s, V largest) const {
        walk(s, [&](T* at, index_t, const value& x) PANTILE_INLINE {
            x.y.store_aligned(at);
            largest = xsimd::max(largest, x.y);
        });
        return largest;
    }

    /// Once the references are known: exponents whose 2^(y - reference) is next to nothing become minus infinity. Far keys under
    /// ALiBi pass through the subnormal numbers, and a multiply-add takes a hundred clocks over each.
    [[gnu::noinline]] void drop_tails(const fragment<V>& s, const V& reference) const {
        T* at = s.scores;
        for (index_t j = s.begin; j < s.end; j += s.keys_a_step, at += s.stride) {
            const V y = V::load_aligned(at);
            without_tail(y, y - reference).store_aligned(at);
        }
    }

    /// Scores to P, 0 where hidden, and the derivative (0 where hidden, for a hidden score may be anything).
    [[gnu::noinline]] void probabilities(const fragment<V>& s, const probability<V>& of) const {
        const bool differs = capped();
        walk(s, [&](T* at, index_t place, const value& x) PANTILE_INLINE {
            const V exponent = (x.y - of.reference) - of.log_sum;
            x.keep(power_of_two(without_tail(exponent, exponent))).store_aligned(at);
            if (differs) x.keep(x.derivative).store_aligned(of.derivative + place);
        });
    }

    /// dS of the exponents, in place of the scores, to dS of the scores; returns the lanes' sums of dS·|distance| if wanted.
    [[gnu::noinline]] V gradients(const fragment<V>& s, const T* derivative, bool sums) const {
        V sum(T(0));
        V key(static_cast<T>(s.begin));
        T* at = s.scores;
        const bool differs = capped();
        for (index_t j = s.begin; j < s.end; j += s.keys_a_step, at += s.stride, derivative += differs ? s.stride : 0) {
            const V ds = V::load_aligned(at);
            if (sums) sum = xsimd::fma(ds, xsimd::abs(s.distance - key), sum);
            if (differs) (ds * V::load_aligned(derivative)).store_aligned(at);
            key = key + V(static_cast<T>(s.keys_a_step));
        }
        return sum;
    }

    /// y and dy/ds of one visible score in all lanes, as the functions above have it.
    PANTILE_INLINE void apply(const V& score, const V& distance, const V& slope, V& y, V& derivative) const {
        const value x = value_of(function_, score, distance, slope);
        y = x.y;
        derivative = x.derivative;
    }

  private:
    using flags = typename xsimd::batch_bool<T, typename V::arch_type>;
    struct value {
        V y;
        V derivative;
        bool hides;
        flags visible; ///< counts if `hides`

        [[nodiscard]] PANTILE_INLINE V keep(const V& x) const { return hides ? xsimd::select(visible, x, V(T(0))) : x; }
    };

    /// The derivative comes from y without its slope: beside a large distance y would keep few digits of a capped score.
    static PANTILE_INLINE value value_of(const core::score_function<T>& function, const V& score, const V& distance,
                                         const V& slope) {
        const core::pair_place<numbers<V>> place{distance, slope};
        core::score_function<T> cap = function;
        cap.sloped = false;
        const numbers<V> s = score;
        return {function(s, place).v, cap.derivative(cap(s, place), place).v, false, flags(true)};
    }

    /// `y`, or minus infinity where `exponent` says that its weight is next to nothing. NaN stays.
    static PANTILE_INLINE V without_tail(const V& y, const V& exponent) {
        return xsimd::select(exponent < V(least_exponent<T>), vector_ops<V>::lowest(), y);
    }

    /// f(scores of a vector, their place from the first, value) for each vector of the fragment.
    template <class F>
    PANTILE_INLINE void walk(const fragment<V>& s, F&& f) const {
        if (s.hides) return walk_with(s, std::true_type{}, f);
        walk_with(s, std::false_type{}, f);
    }
    /// What the function does is said at compile time: the loop then has no branch.
    template <class Hides, class F>
    PANTILE_INLINE void walk_with(const fragment<V>& s, Hides hides, F&& f) const {
        if (function_.capped && function_.sloped) return walk_as(s, hides, std::true_type{}, std::true_type{}, f);
        if (function_.capped) return walk_as(s, hides, std::true_type{}, std::false_type{}, f);
        if (function_.sloped) return walk_as(s, hides, std::false_type{}, std::true_type{}, f);
        walk_as(s, hides, std::false_type{}, std::false_type{}, f); // a cap too large to matter
    }
    template <class Hides, class Capped, class Sloped, class F>
    PANTILE_INLINE void walk_as(const fragment<V>& s, Hides, Capped, Sloped, F&& f) const {
        core::score_function<T> function = function_;
        function.capped = Capped::value;
        function.sloped = Sloped::value;
        const V step(static_cast<T>(s.keys_a_step));
        V key(static_cast<T>(s.begin));
        index_t place = 0;
        for (index_t j = s.begin; j < s.end; j += s.keys_a_step, place += s.stride) {
            value x = value_of(function, V::load_aligned(s.scores + place), s.distance - key, s.slope);
            if constexpr (Hides::value) {
                x.hides = true;
                x.visible = s.visible.sees(key);
                x.y = xsimd::select(x.visible, x.y, vector_ops<V>::lowest());
            }
            f(s.scores + place, place, x);
            key = key + step;
        }
    }

    core::score_function<T> function_;
    bool on_;
};

} // namespace pantile::inline v0::cpu::score
