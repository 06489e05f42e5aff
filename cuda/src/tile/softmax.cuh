#pragma once

#include "../ptx/address.cuh"
#include "../ptx/convert.cuh"
#include "exp2.cuh"
#include "fragment.hpp"

#include <pantile/core/band.hpp>
#include <pantile/core/online_softmax.hpp>
#include <pantile/core/scale.hpp>

#include <type_traits>

// The online softmax of a score tile in accumulator registers, elements as in fragment.hpp.

namespace pantile::inline v0::cuda {

/// core::online_softmax's operations on one row. On the device exp2 is the special-function unit's in fp32 and exp2_f64 in
/// fp64.
template <class V>
struct row_ops {
    using value = V;
    static PANTILE_FN V lowest() { return -static_cast<V>(HUGE_VALF); }
    static PANTILE_FN V zero() { return V(0); }
    static PANTILE_FN V max(V a, V b) {
        if constexpr (sizeof(V) == 4) return fmaxf(a, b);
        return a < b ? b : a;
    }
    static PANTILE_FN V exp2(V x) {
#if defined(__CUDA_ARCH__)
        if constexpr (sizeof(V) == 4) return ptx::exp2_fast(x);
        return exp2_f64(x);
#else
        return std::exp2(x);
#endif
    }
    static PANTILE_FN V finite_or_zero(V x) { return x == lowest() ? V(0) : x; }
};
template <class V>
using row_softmax = core::online_softmax<row_ops<V>>;
template <class V>
using row_state = core::softmax_state<V>;

/// logit · log2(e) = sign · scale · score, of kernels that leave Q as it is: `scale` > 0, so that the maximum of scores is that
/// of logits. A sign of 0 makes all scores 0.
struct score_scale {
    float scale;
    float sign;
    static PANTILE_FN score_scale of(const core::scale_split& s) {
        return {static_cast<float>(s.exponent), static_cast<float>(s.query)};
    }
};

/// Multiplies a lane's part of `bytes` of shared memory by `factor`: the warp's (threads 32), or the block's.
template <int bytes, int threads, class V>
__device__ __forceinline__ void multiply_shared(char* at, V factor) {
    struct alignas(16) chunk {
        V x[16 / sizeof(V)];
    };
    static_assert(bytes % (16 * threads) == 0);
    auto* mine = reinterpret_cast<chunk*>(at) + static_cast<int>(threadIdx.x) % threads;
#pragma unroll 4
    for (int i = 0; i < bytes / 16; i += threads) {
        chunk c = mine[i];
#pragma unroll
        for (V& x : c.x) x *= factor;
        mine[i] = c;
    }
}

/// Which columns of a tile one row sees: [begin, end).
struct column_limits {
    int begin;
    int end;
    /// Row `row` of the sequence against the tile of `width` columns whose first key is `first`.
    static __device__ __forceinline__ column_limits of(const core::band& mask, index_t row, index_t first, int width) {
        return {static_cast<int>(core::clamp(mask.lo(row) - first, 0, width)),
                static_cast<int>(core::clamp(mask.hi(row) - first, 0, width))};
    }
};

/// Minus infinity for the scores that `limits` hides; limits[0] of row g, limits[1] of row g + 8.
template <class V, int n>
__device__ __forceinline__ void hide(V (&s)[n], const column_limits (&limits)[2]) {
    const int shift = fragment::first_key(static_cast<int>(threadIdx.x % 32));
    const int begin[2] = {limits[0].begin - shift, limits[1].begin - shift};
    const int end[2] = {limits[0].end - shift, limits[1].end - shift};
#pragma unroll
    for (int i = 0; i < n; ++i) {
        const int r = fragment::row(i);
        if (fragment::key(i) < begin[r] || fragment::key(i) >= end[r]) s[i] = row_ops<V>::lowest();
    }
}

// The reference. Exponents of a row are taken against its largest so far, so that the largest probability is a power of two: a
// rounded P is then exact where most of the weight lies. In fp16, whose smallest number is 2^-24, the reference stands 14 binades
// below the maximum: P goes up to 2^14, and keys whose weight is 2^-38 of the largest still count. state.max is that reference; it,
// the sums and O are put right at the end of the row (finish.cuh).

/// Binades by which P of type T stands above 2^(exponent - max).
template <class T>
inline constexpr int raised_binades = std::is_same_v<T, __half> ? 14 : 0;

/// The exponent of a score, as references are rounded.
template <class T>
__device__ __forceinline__ float exponent_of(float score, float scale) {
    if constexpr (raised_binades<T> == 0) return __fmul_rn(score, scale);
    return fmaf(score, scale, -static_cast<float>(raised_binades<T>));
}

/// A reference is an exponent that was rounded to 24 bits; the exact one may exceed it by half a unit of its last place, and from
/// 2^31 on 2^(that) is not finite. So from here on, a rare path, exponents are rounded alike before the subtraction: the
/// largest is then exactly 0, and none is above.
inline constexpr float large_reference = 0x1p20F;

__device__ __forceinline__ bool any_large(const float (&reference)[2]) {
    return fmaxf(fabsf(reference[0]), fabsf(reference[1])) >= large_reference;
}
/// The rare path: scores become exponents, in place, to be taken against references of 0 and with a scale of 1.
template <class T, int n>
__device__ __forceinline__ void settle_large_references(float (&s)[n], float (&reference)[2], float scale) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        // Numbers of this path alone: the compiler would compute what it shares with the usual one before the branch, and keep it.
        float against = reference[r];
        asm volatile("" : "+f"(against));
        if (fabsf(against) >= large_reference) {
#pragma unroll
            for (int i = 0; i < n; ++i) {
                if (fragment::row(i) != r) continue;
                s[i] = exponent_of<T>(s[i], scale) - against;
                if constexpr (raised_binades<T> != 0) s[i] += static_cast<float>(raised_binades<T>);
            }
        } else {
#pragma unroll
            for (int i = 0; i < n; ++i) {
                if (fragment::row(i) == r) s[i] = fmaf(s[i], scale, -against);
            }
        }
        reference[r] = 0.0F;
    }
}

/// The largest scores of the two rows, of all lanes that share them.
template <int n>
__device__ __forceinline__ void maxima_of(const float (&s)[n], float (&top)[2]) {
    using ops = row_ops<float>;
    // Two chains a row: of each pair of columns the left ones and the right ones.
    float chain[4] = {s[0], s[1], s[2], s[3]};
#pragma unroll
    for (int i = 4; i < n; ++i) chain[i % 4] = ops::max(chain[i % 4], s[i]);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        top[r] = ops::max(chain[2 * r], chain[2 * r + 1]);
        top[r] = ops::max(top[r], __shfl_xor_sync(0xffffffffU, top[r], 1));
        top[r] = ops::max(top[r], __shfl_xor_sync(0xffffffffU, top[r], 2));
    }
}

/// The two rows' state after a score tile, and what the tile leaves behind: s becomes 2^(exponent - reference), factor what the
/// rows' earlier O must be multiplied by. The sums cover this thread's columns only; reduce_rows joins them at the end. T is the
/// type that P will be rounded to, or that of V. Instructions a score: one maximum, one multiply-add, one exponential, one sum.
template <class T, int n>
__device__ __forceinline__ void fold(float (&s)[n], row_state<float> (&state)[2], float (&factor)[2], float scale) {
    float top[2];
    maxima_of(s, top);
    float reference[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        factor[r] = row_softmax<float>::raise(state[r], exponent_of<T>(top[r], scale));
        reference[r] = row_softmax<float>::reference(state[r]);
    }
    if (__builtin_expect(static_cast<long>(__any_sync(0xffffffffU, any_large(reference))), 0)) {
        settle_large_references<T>(s, reference, scale);
        scale = 1.0F;
    }
    float sum[4] = {0.0F, 0.0F, 0.0F, 0.0F};
#pragma unroll
    for (int i = 0; i < n; ++i) {
        s[i] = row_ops<float>::exp2(fmaf(s[i], scale, -reference[fragment::row(i)]));
        sum[i % 4] += s[i];
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) state[r].sum = fmaf(state[r].sum, factor[r], sum[2 * r] + sum[2 * r + 1]);
}

/// The rows' sums over the four threads that share a row.
template <class V>
__device__ __forceinline__ void reduce_rows(row_state<V> (&state)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        state[r].sum += __shfl_xor_sync(0xffffffffU, state[r].sum, 1);
        state[r].sum += __shfl_xor_sync(0xffffffffU, state[r].sum, 2);
    }
}

} // namespace pantile::inline v0::cuda
