/// \file
/// Score functions: from a raw score s = (query · q)·k to its exponent y = logit · log2(e), over a number or a batch of numbers.
///
///     x = scale · q·k                           the scaled product
///     x = cap · tanh(x / cap)                   soft cap (Gemma 2, arXiv 2408.00118)
///     x = x - slope_h · |i + offset - j|        ALiBi (arXiv 2108.12409), offset that of the mask
///
/// A machine calls it once a (row, key) between its first product and the mask; where no feature is on it folds `linear` into
/// the exponent instead and calls nothing.
#pragma once

#include <cmath>
#include <limits>

#include <pantile/core/macros.hpp>
#include <pantile/core/online_softmax.hpp>
#include <pantile/core/problem.hpp>
#include <pantile/core/scale.hpp>
#include <pantile/core/tanh.hpp>

namespace pantile::inline v0::core {

// Mathematics of plain numbers. Batches bring their own, found by their namespace.
namespace score {

PANTILE_FN float abs(float x) { return std::fabs(x); }
PANTILE_FN double abs(double x) { return std::fabs(x); }

} // namespace score

/// Where pairs stand, as score functions ask. S is a number or a batch.
template <class S>
struct pair_place {
    S distance; ///< row + offset - key
    S slope;    ///< of the pair's query head, times log2(e); 0 without ALiBi
};

/// The built-in score function of a call that computes in T.
template <class T>
struct score_function {
    T linear = T(1); ///< without a cap y = linear · s
    T inner = T(0);  ///< with one y = outer · tanh(inner · s)
    T outer = T(0);
    bool capped = false;
    bool sloped = false; ///< ALiBi: y - slope · |distance|

    /// Of a call's features and its scale: `exponent` is scale_split's, which `linear` is.
    static PANTILE_FN score_function of(const features& f, double exponent) {
        score_function made;
        made.linear = static_cast<T>(exponent);
        made.sloped = f.slopes.given();
        if (f.softcap <= 0.0) return made;
        constexpr auto largest = static_cast<double>(std::numeric_limits<T>::max());
        constexpr auto smallest = static_cast<double>(std::numeric_limits<T>::min());
        const double inner = exponent * ln_2 / f.softcap; // of the scale's sign
        const double size = inner < 0.0 ? -inner : inner;
        if (size < smallest) return made; // no score below a hundredth of the type's range comes near such a cap
        made.inner = static_cast<T>(size <= largest ? inner : inner < 0.0 ? -largest : largest);
        const double outer = f.softcap * log2_e;
        made.outer = static_cast<T>(outer < smallest ? smallest : outer); // which derivative divides by
        made.capped = true;
        return made;
    }

    /// The slope of a head as pair_place holds it.
    static PANTILE_FN T slope_of(const features& f, index_t batch, index_t head) {
        return f.slopes.given() ? static_cast<T>(f.slopes(batch, head) * log2_e) : T(0);
    }

    /// y of a score.
    template <class S>
    PANTILE_FN S operator()(const S& s, const pair_place<S>& at) const {
        using score::abs;
        using score::tanh;
        S y = capped ? S(outer) * tanh(s * S(inner)) : s * S(linear);
        if (sloped) y = y - at.slope * abs(at.distance);
        return y;
    }
    /// dy/ds in units of `linear` (1 without a cap), from y: 1 - tanh².
    template <class S>
    PANTILE_FN S derivative(const S& y, const pair_place<S>& at) const {
        using score::abs;
        if (!capped) return S(T(1));
        const S t = (sloped ? y + at.slope * abs(at.distance) : y) * S(T(1) / outer);
        return S(T(1)) - t * t;
    }
};

/// The softmax of a row before its first key: nothing seen, or its sink, if the call has one and this part of the keys carries
/// it. Of the parts of a row exactly one must.
template <class T>
PANTILE_FN softmax_state<T> start_row(const features& f, bool carries_sink, index_t batch, index_t head) {
    softmax_state<T> s{scalar_ops<T>::lowest(), T(0)};
    if (!carries_sink || !f.sinks.given()) return s;
    s.max = static_cast<T>(f.sinks(batch, head) * log2_e);
    if (s.max != scalar_ops<T>::lowest()) s.sum = T(1); // a sink of minus infinity is none
    return s;
}

} // namespace pantile::inline v0::core
