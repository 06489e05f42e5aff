#pragma once

#include <pantile/core/score.hpp>

#include <cmath>

// core::score_function, as the kernels of this room compute it: in units of raw scores. An exponent is factor · s, where s is a raw
// score, capped at the height of the cap in such units, and less slope · |distance|; the factor is handed on as the scale.

namespace pantile::inline v0::cuda {

template <class V>
struct score_constants {
    bool capped = false;
    bool sloped = false;
    bool multiplies =
        false; ///< the exponent's factor is too small for such units: s is multiplied by it, and the factor is 1
    V multiplier = V(1);
    V inner = V(1);      ///< capped: s = outer · tanh(inner · s)
    V outer = V(1);      ///< 1 / inner
    V head_slope = V(1); ///< what a head's slope is multiplied by
    /// Up to a size of `far` (inner · s = 1/8) tanh(x) = x + third·x³ + fifth·x⁵ with x = inner · s, 8e-9 of it off; third and fifth with
    /// the powers of inner in them.
    V far = V(0);
    V third = V(0);
    V fifth = V(0);

    /// Of a call's features; `exponent`, the factor of raw scores, becomes that of what the stage leaves.
    static score_constants of(const core::features& features, double& exponent) {
        const auto f = core::score_function<V>::of(features, exponent);
        score_constants made;
        made.sloped = f.sloped;
        made.capped = f.capped;
        if (made.capped) {
            const double inner = exponent * core::ln_2 / features.softcap;
            constexpr double least = 0x1p-30; // of which the fourth power keeps its digits
            constexpr double most = 0x1p30;
            made.inner = f.inner;
            made.outer = V(1) / f.inner;
            if (inner > least && inner < most) {
                made.far = static_cast<V>(0.125 / inner);
                made.third = static_cast<V>(-0x1.5553dcp-2 * inner * inner);
                made.fifth = static_cast<V>(0x1.0eaddap-3 * inner * inner * inner * inner);
            } else {
                made.far = V(-1);
            }
        }
        constexpr double smallest = 0x1p-90; // below it slopes in units of raw scores could overflow
        if (exponent < smallest) {
            made.multiplies = true;
            made.multiplier = static_cast<V>(exponent);
            exponent = 1.0;
        }
        made.head_slope = static_cast<V>(core::log2_e / exponent);
        return made;
    }
    /// The slope of a head.
    PANTILE_FN V slope_of(const core::features& features, index_t batch, index_t head) const {
        return sloped ? static_cast<V>(features.slopes(batch, head)) * head_slope : V(0);
    }
};

} // namespace pantile::inline v0::cuda
