#pragma once

#include "../ptx/address.cuh"
#include "../tile/softmax.cuh"
#include "exp2.cuh"
#include "tile.hpp"

// The online softmax in fp64. fp64's exponents are so wide that a row's reference, which its exponents are taken against,
// may stay while scores exceed it: O is multiplied only where a tile exceeds it by more than 2^slack. So a tile's scores need
// no maximum, only a look whether all lie in the range that the references serve: on their upper halves, which the fp64
// unit, busy with products, need not see. Elements lie as in tile/softmax.cuh.

namespace pantile::inline v0::cuda {

/// What a launch computes once on the host.
struct f64_constants {
    double query;             ///< what Q is multiplied by
    double scale;             ///< logit · log2(e) = scale · score with scale > 0
    double inverse;           ///< 1 / scale
    double slack;             ///< how far an exponent may rise before the reference does
    double largest_reference; ///< beyond it references are not rounded to the steps of the table
    /// A partial result names the maximum itself: its reference does not lag and is not rounded.
    static f64_constants of(const core::scale_split& s, bool names_maximum) {
        return {s.query, s.exponent, 1.0 / s.exponent, names_maximum ? 0.0 : 8.0,
                names_maximum ? 0.0 : f64_largest_reference};
    }
};

/// The upper half of a number, as a float: it orders as the number does.
__device__ __forceinline__ float upper_half(double x) { return __int_as_float(__double2hiint(x)); }
__device__ __forceinline__ float max_or_nan(float a, float b) {
    float r;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
    return r;
}

/// The state of a row in one thread.
struct f64_row {
    double reference = -HUGE_VAL; ///< near the largest exponent so far; minus infinity: no key seen
    double sum = 0.0;             ///< Σ 2^(exponent - reference) over this thread's columns
    float most = -HUGE_VALF;      ///< scores in [least, most] are served by this reference; upper halves
    float least = HUGE_VALF;

    __device__ __forceinline__ bool rounded(const f64_constants& c) const {
        return fabs(reference) < c.largest_reference;
    }
    __device__ __forceinline__ void refer_to(double exponent, const f64_constants& c) {
        reference = exponent;
        if (fabs(exponent) < c.largest_reference) reference = (exponent + f64_round) - f64_round;
        most = rounded(c) ? upper_half((reference + c.slack) * c.inverse) : -HUGE_VALF;
        least = rounded(c) ? upper_half((reference + f64_least_exponent) * c.inverse) : HUGE_VALF;
    }
};

/// What the exponentials of one tile need.
struct f64_exponents {
    double base[2];             ///< of f64_exp2, for rows g and g + 8
    std::uint32_t vanished = 0; ///< bit i: 2^(exponent i) is 0
    bool usual = true;          ///< none vanished, in any lane
};

/// The rare path: raises the references, and what was summed against them, to the scores that exceed them, finds what
/// vanishes, and brings scores of rows whose reference is not rounded into the range of f64_exp2.
template <int n, int m>
__device__ __forceinline__ void raise_references(f64_exponents& e, double (&s)[n], f64_row (&row)[2], double (&o)[m],
                                                 const f64_constants& c) {
    double factor[2] = {1.0, 1.0};
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        double top = -HUGE_VAL;
#pragma unroll
        for (int i = 2 * r; i < n; i += 4) {
            top = top < s[i] ? s[i] : top;
            top = top < s[i + 1] ? s[i + 1] : top;
        }
#pragma unroll
        for (int x = 1; x < 4; x *= 2) {
            const double other = __shfl_xor_sync(0xffffffffU, top, x);
            top = top < other ? other : top;
        }
        const double before = row[r].reference;
        if (top * c.scale > before + c.slack) {
            row[r].refer_to(top * c.scale, c);
            factor[r] = exp2_f64(before - row[r].reference);
            row[r].sum *= factor[r];
        }
        e.base[r] = row[r].rounded(c) ? f64_round - row[r].reference : f64_round;
    }
    e.usual = false;
#pragma unroll
    for (int i = 0; i < n; ++i) {
        const f64_row& of = row[fragment::row(i)];
        // Without a reference the logits so far are minus infinity, hidden or not: a score of theirs may be finite. Beyond
        // f64_largest_reference the product is rounded as the reference was: the exact one may lie far above it.
        const double exponent = of.reference == -HUGE_VAL                    ? __dmul_rn(s[i], c.scale)
                                : fabs(of.reference) < f64_largest_reference ? fma(s[i], c.scale, -of.reference)
                                                                             : __dmul_rn(s[i], c.scale) - of.reference;
        if (exponent < f64_least_exponent) e.vanished |= 1U << i;
        if (!of.rounded(c)) s[i] = exponent * c.inverse;
    }
    if (__all_sync(0xffffffffU, factor[0] == 1.0 && factor[1] == 1.0)) return;
    const int t = static_cast<int>(threadIdx.x % 4);
#pragma unroll
    for (int x = 0; x < 4; ++x) { // O's query rows in this thread: 2t + x % 2 + 8 (x / 2)
        const double f = __shfl_sync(0xffffffffU, factor[x / 2], (2 * t + x % 2) * 4);
#pragma unroll
        for (int i = x / 2 * 4 + x % 2; i < m; i += 8) {
            o[i] *= f;
            o[i + 2] *= f;
        }
    }
}

/// Brings the references up to the scores of a tile.
template <int n, int m>
__device__ __forceinline__ f64_exponents follow_scores(double (&s)[n], f64_row (&row)[2], double (&o)[m],
                                                       const f64_constants& c) {
    bool served = true;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        float most = upper_half(s[2 * r]);
        float least = most;
#pragma unroll
        for (int i = 2 * r; i < n; i += 4) {
#pragma unroll
            for (int x = i; x < i + 2; ++x) {
                most = max_or_nan(most, upper_half(s[x]));
                least = fminf(least, upper_half(s[x]));
            }
        }
        served = served && most <= row[r].most && least >= row[r].least;
    }
    f64_exponents e{{f64_round - row[0].reference, f64_round - row[1].reference}};
    if (!__all_sync(0xffffffffU, served)) raise_references(e, s, row, o, c);
    return e;
}

/// P = 2^(exponent - reference) as the second product reads it (f64_place_in_p), and its sums. `table` is f64_exp2's, 2048-byte
/// aligned in shared memory.
/// 2^(exponent - reference) of one score. `table` is f64_exp2's, in shared memory.
__device__ __forceinline__ double exponential(double score, double scale, double base, std::uint32_t table) {
    return f64_exp2(score, scale, base, [table](std::uint32_t n) {
        return ptx::load_shared<double>(table + (n * 8 & (8 * f64_steps - 8)));
    });
}

/// P of a tile's scores as the second product reads it (f64_place_in_p).
template <int n>
__device__ __forceinline__ void exponentials(double (&p)[n], const double (&s)[n], const f64_exponents& e, double scale,
                                             std::uint32_t table) {
#pragma unroll
    for (int i = 0; i < n; ++i) p[f64_place_in_p(i)] = exponential(s[i], scale, e.base[fragment::row(i)], table);
    if (e.usual) return;
#pragma unroll
    for (int i = 0; i < n; ++i) {
        double& x = p[f64_place_in_p(i)];
        x = (e.vanished >> i & 1U) != 0 ? 0.0 : x;
    }
}

/// Of 16 keys P holds four numbers of row g, then four of row g + 8.
template <int n>
__device__ __forceinline__ void add_sums(f64_row (&row)[2], const double (&p)[n]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        double sum[2] = {p[4 * r], p[4 * r + 1]};
#pragma unroll
        for (int i = 2; i < n / 2; ++i) sum[i % 2] += p[i / 4 * 8 + 4 * r + i % 4];
        row[r].sum += sum[0] + sum[1];
    }
}

} // namespace pantile::inline v0::cuda
