/// \file
/// The running softmax of a row: {max, sum}, folded tile by tile, merged, finished (Milakov & Gimelshein,
/// arXiv 1805.02867; FlashAttention, arXiv 2205.14135, section 3.1; FlashAttention-2, arXiv 2307.08691, section 3.1).
///
/// Exponents are in base 2: with x the logit, y = x · log2(e), and
///     max = max of y so far,   sum = Σ 2^(y - max),   O = Σ 2^(y - max) · v  (held by the machine).
/// A fold returns `factor`, by which the machine multiplies what it accumulated before.
///
/// T may be a number or a SIMD register of numbers, one row a lane: `Ops` gives the five operations. scalar_ops serves
/// plain numbers on host and device.
#pragma once

#include <cmath>

#include <pantile/core/macros.hpp>

// A row that has seen no key has the maximum minus infinity. Where the compiler takes every number for finite, what is written
// below would give NaN or worse for it, so nothing of it is instantiated there.
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ == 1
#define PANTILE_HAS_INFINITIES false
#else
#define PANTILE_HAS_INFINITIES true
#endif

namespace pantile::inline v0::core {

inline constexpr double log2_e = 1.4426950408889634073599246810018921;
inline constexpr double ln_2 = 0.69314718055994530941723212145817657;

/// The operations of the online softmax on plain numbers.
template <class T>
struct scalar_ops {
    using value = T;
    static_assert(PANTILE_HAS_INFINITIES || sizeof(T) == 0,
                  "the online softmax needs infinities: compile this source without -ffast-math or -ffinite-math-only");
    static PANTILE_FN T lowest() { return -static_cast<T>(HUGE_VALF); } ///< minus infinity
    static PANTILE_FN T zero() { return T(0); }
    static PANTILE_FN T max(T a, T b) { return a < b ? b : a; }
    static PANTILE_FN T exp2(T x) { return std::exp2(x); }
    /// 0 where x is minus infinity, else x: the reference of a row that has seen no key, so that no inf - inf appears.
    static PANTILE_FN T finite_or_zero(T x) { return x == lowest() ? T(0) : x; }
};

/// State of one row (or of one row a lane).
template <class T>
struct softmax_state {
    T max; ///< largest base-2 exponent so far
    T sum; ///< Σ 2^(y - max)
};

template <class Ops>
struct online_softmax {
    using value = typename Ops::value;
    static_assert(PANTILE_HAS_INFINITIES || sizeof(value) == 0,
                  "the online softmax needs infinities: compile this source without -ffast-math or -ffinite-math-only");
    using state = softmax_state<value>;

    /// No key seen.
    static PANTILE_FN state start() { return {Ops::lowest(), Ops::zero()}; }
    /// Only a sink seen: it adds 2^sink to the denominator and nothing to O. `sink` in base 2, `one` 1; {lowest, 0} is no sink.
    static PANTILE_FN state start(value sink, value one) { return {sink, one}; }

    /// Raises the maximum to that of the next tile. Returns the factor for the earlier sum and O: 2^(old - new), and 0
    /// for a row that had seen nothing. The caller multiplies: sum = sum·factor + tile's sum, O = O·factor + tile's O.
    static PANTILE_FN value raise(state& s, value tile_max) {
        const value raised = Ops::max(s.max, tile_max);
        const value factor = Ops::exp2(s.max - Ops::finite_or_zero(raised));
        s.max = raised;
        return factor;
    }

    /// The reference that the tile's exponents are taken against after `raise`.
    static PANTILE_FN value reference(const state& s) { return Ops::finite_or_zero(s.max); }

    /// Two parts of the same row over disjoint keys. Returns the merged state; factor_a and factor_b scale their O.
    /// Numbers only. Where neither part has a logit above minus infinity, the mark of mark_overflow stays, and so does NaN.
    static PANTILE_FN state merge(const state& a, const state& b, value& factor_a, value& factor_b) {
        const value raised = Ops::max(a.max, b.max);
        const value reference = Ops::finite_or_zero(raised);
        factor_a = Ops::exp2(a.max - reference);
        factor_b = Ops::exp2(b.max - reference);
        if (raised == Ops::lowest()) return {raised, a.sum + b.sum}; // not the larger: one may be NaN
        return {raised, a.sum * factor_a + b.sum * factor_b};
    }
};

/// At the end of a row: hidden and overflowed are not the same. Both leave the maximum at minus infinity and add nothing,
/// but a row that `sees_a_key` has logits, all of them below the type's range: it is marked by a sum above 0, and ends as NaN.
/// (A sum that is NaN already says more, and stays.)
template <class T>
PANTILE_FN softmax_state<T> mark_overflow(const softmax_state<T>& s, bool sees_a_key) {
    const bool unmarked = s.max == scalar_ops<T>::lowest() && s.sum == T(0);
    return unmarked && sees_a_key ? softmax_state<T>{s.max, T(1)} : s;
}
/// Has the row no answer in T: all its logits below the type's range, or one above it? (Beside an infinite reference a finite
/// score times its scale is minus infinity, so that the sum of the latter may be 0.)
template <class T>
PANTILE_FN bool overflowed(const softmax_state<T>& s) {
    return s.max == -scalar_ops<T>::lowest() || (s.max == scalar_ops<T>::lowest() && s.sum != T(0));
}

/// 1/sum: out = O · this. 0 for a row that saw no key, NaN for one that overflowed.
template <class T>
PANTILE_FN T finish_factor(const softmax_state<T>& s) {
    if (overflowed(s)) return static_cast<T>(NAN);
    return s.sum == T(0) ? T(0) : T(1) / s.sum;
}

/// Natural log-sum-exp of the row; minus infinity if it saw no key, NaN if it overflowed.
template <class T>
PANTILE_FN T finish_lse(const softmax_state<T>& s) {
    if (overflowed(s)) return static_cast<T>(NAN);
    if (s.sum == T(0)) return scalar_ops<T>::lowest();
    return (s.max + std::log2(s.sum)) * static_cast<T>(ln_2);
}

} // namespace pantile::inline v0::core
