#pragma once

#include "../arguments.hpp"
#include "../ptx/convert.cuh"
#include "exp2.cuh"
#include "fragment.hpp"

#include <pantile/core/tanh.hpp>

// The score stage: raw scores in accumulator registers go through the call's score function, before the mask. Only calls with one
// (a.scored) come here. What is left of it, a factor, is the scale that every call has in its exponential.

namespace pantile::inline v0::cuda {

/// Of a call that computes in V.
template <class V>
__device__ __forceinline__ const score_constants<V>& score_of(const forward_arguments& a) {
    if constexpr (sizeof(V) == 8) {
        return a.score_f64;
    } else {
        return a.score;
    }
}

/// Where a thread's two rows stand in a key tile.
template <class V>
struct row_places {
    V distance[2]; ///< row + offset - the thread's first key
    V slope[2];    ///< of each row's head, as score_constants has it

    /// `diagonal(r)` row + offset of row r; `slope(r)` of its head; `first_key` of the tile, or of the warp's part of it.
    template <class Diagonal, class Slope>
    static __device__ __forceinline__ row_places of(const forward_arguments& a, index_t first_key,
                                                    const Diagonal& diagonal, const Slope& slope) {
        row_places at{};
        if (!score_of<V>(a).sloped) return at;
        const index_t key = first_key + fragment::first_key(static_cast<int>(threadIdx.x % 32));
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            at.distance[r] = static_cast<V>(diagonal(r) - key);
            at.slope[r] = slope(r);
        }
        return at;
    }
};

/// tanh(x) for |x| >= 1 within 3 units in the last place: 1 - 2 / (1 + 2^(2·log2(e)·|x|)), two operations of the special-function unit.
/// (Below, what these round is no longer small beside the result.)
__device__ __forceinline__ float tanh_beyond_one(float x) {
    constexpr auto c = static_cast<float>(2.0 * core::log2_e);
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(1.0F + ptx::exp2_fast(fabsf(x) * c)));
    return copysignf(fmaf(-2.0F, r, 1.0F), x);
}

/// s = tanh(inner · s) / inner. Mostly scores lie well below the cap, and four operations serve where all of a warp's do, none of them
/// the special-function unit's.
template <int n>
__device__ __forceinline__ void cap_scores(float (&s)[n], const score_constants<float>& f) {
    float top[2] = {0.0F, 0.0F};
#pragma unroll
    for (int i = 0; i < n; ++i) top[i % 2] = fmaxf(top[i % 2], fabsf(s[i]));
    if (__any_sync(0xffffffffU, fmaxf(top[0], top[1]) > f.far)) {
#pragma unroll
        for (float& x : s) {
            const float inner = x * f.inner;
            const float near = core::score::tanh_within_one(inner);
            const float far = tanh_beyond_one(inner); // both: a branch a score would take longer
            x = f.outer * (fabsf(inner) <= 1.0F ? near : far);
        }
    } else {
#pragma unroll
        for (float& x : s) {
            const float w = x * x;
            x = fmaf(w * fmaf(w, f.fifth, f.third), x, x);
        }
    }
}

/// 1 / x within 1 ulp, for x between 1 and 2^127: an estimate of 20 bits, two Newton steps.
__device__ __forceinline__ double reciprocal(double x) {
    double r;
    asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(r) : "d"(x));
    r = fma(r, fma(-x, r, 1.0), r);
    return fma(r, fma(-x, r, 1.0), r);
}
/// tanh(x) within 4 ulp: (2^y - 1) / (2^y + 1) with y = 2·log2(e)·|x|, of which 2^y - 1 is good to the last digits near 0, too.
__device__ __forceinline__ double tanh_f64(double x) {
    const double grown = exp2_less_one(2.0 * core::log2_e * fmin(fabs(x), 22.0)); // from there on tanh is 1
    return x != x ? x : copysign(grown * reciprocal(grown + 2.0), x);
}
template <int n>
__device__ __forceinline__ void cap_scores(double (&s)[n], const score_constants<double>& f) {
#pragma unroll
    for (double& x : s) x = f.outer * tanh_f64(x * f.inner);
}

/// Raw scores become what, times the scale, are exponents: logit · log2(e).
template <class V, int n>
__device__ __forceinline__ void apply_score_function(V (&s)[n], const score_constants<V>& f, const row_places<V>& at) {
    if (f.capped) {
        cap_scores(s, f);
    }
    if (f.multiplies) {
#pragma unroll
        for (V& x : s) x *= f.multiplier;
    }
    if (!f.sloped) return;
#pragma unroll
    for (int i = 0; i < n; ++i) {
        const int r = fragment::row(i);
        s[i] = fma(-at.slope[r], fabs(at.distance[r] - static_cast<V>(fragment::key(i))), s[i]);
    }
}

} // namespace pantile::inline v0::cuda
