/// \file
/// Transposes in registers, lanes × lanes numbers at a time: the way of Q into the kernels, of O out of them, and of
/// column-major inputs.
#pragma once

#include "convert.hpp"

namespace pantile::inline v0::cpu {

namespace detail {

/// The same bits as another type of vector.
template <class To, class From>
PANTILE_INLINE inline To recast(const From& x) {
    if constexpr (std::is_same_v<To, From>) {
        return x;
    } else {
        return xsimd::bitwise_cast<To>(x);
    }
}
template <class V>
using as_float = xsimd::batch<float, typename V::arch_type>;

// The 128-bit lanes of 2 or 4 vectors as a square matrix, transposed.
template <class V>
void transpose_lanes(V& a, V& b);
template <class V>
void transpose_lanes(V& a, V& b, V& c, V& d);
#if XSIMD_WITH_AVX
template <class V>
PANTILE_INLINE inline void transpose_lanes(V& a, V& b) {
    const __m256 x = recast<as_float<V>>(a);
    const __m256 y = recast<as_float<V>>(b);
    a = recast<V>(as_float<V>(_mm256_permute2f128_ps(x, y, 0x20)));
    b = recast<V>(as_float<V>(_mm256_permute2f128_ps(x, y, 0x31)));
}
#endif
#if XSIMD_WITH_AVX512F
/// Lanes 0 and 2 (0x88) or 1 and 3 (0xdd) of a, then of b.
template <int which, class V>
PANTILE_INLINE inline V pick_lanes(const V& a, const V& b) {
    return recast<V>(as_float<V>(_mm512_shuffle_f32x4(recast<as_float<V>>(a), recast<as_float<V>>(b), which)));
}
template <class V>
PANTILE_INLINE inline void transpose_lanes(V& a, V& b, V& c, V& d) {
    const V ab_even = pick_lanes<0x88>(a, b);
    const V ab_odd = pick_lanes<0xdd>(a, b);
    const V cd_even = pick_lanes<0x88>(c, d);
    const V cd_odd = pick_lanes<0xdd>(c, d);
    a = pick_lanes<0x88>(ab_even, cd_even);
    b = pick_lanes<0x88>(ab_odd, cd_odd);
    c = pick_lanes<0xdd>(ab_even, cd_even);
    d = pick_lanes<0xdd>(ab_odd, cd_odd);
}
#endif

} // namespace detail

/// t[i] lane j <-> t[j] lane i. First inside 128-bit lanes (xsimd's zip works lane by lane), then the lanes themselves.
template <class V>
PANTILE_INLINE inline void transpose(V (&t)[V::size]) {
    constexpr int inner = 16 / static_cast<int>(sizeof(number_t<V>)); // numbers in a 128-bit lane
    constexpr int outer = lanes<V> / inner;                           // lanes in a vector
    unroll<outer>([&](auto g) PANTILE_INLINE {
        V* r = t + g * inner;
        if constexpr (inner == 2) {
            const V low = xsimd::zip_lo(r[0], r[1]);
            r[1] = xsimd::zip_hi(r[0], r[1]);
            r[0] = low;
        } else {
            using pairs = xsimd::batch<double, typename V::arch_type>;
            const pairs a = detail::recast<pairs>(xsimd::zip_lo(r[0], r[1]));
            const pairs b = detail::recast<pairs>(xsimd::zip_hi(r[0], r[1]));
            const pairs c = detail::recast<pairs>(xsimd::zip_lo(r[2], r[3]));
            const pairs d = detail::recast<pairs>(xsimd::zip_hi(r[2], r[3]));
            r[0] = detail::recast<V>(xsimd::zip_lo(a, c));
            r[1] = detail::recast<V>(xsimd::zip_hi(a, c));
            r[2] = detail::recast<V>(xsimd::zip_lo(b, d));
            r[3] = detail::recast<V>(xsimd::zip_hi(b, d));
        }
    });
    unroll<inner>([&](auto j) PANTILE_INLINE {
        if constexpr (outer == 4) {
            detail::transpose_lanes(t[j], t[inner + j], t[2 * inner + j], t[3 * inner + j]);
        } else if constexpr (outer == 2) {
            detail::transpose_lanes(t[j], t[inner + j]);
        }
    });
}

/// Lane i of the result is the sum of t[i]'s lanes: a transpose that adds as it goes, 32 shuffles for 16 × 16. (xsimd 8.1
/// has haddp, but its AVX-512 form gives the sums in another order.) Overwrites t.
template <class V>
PANTILE_INLINE inline V horizontal_sums(V (&t)[V::size]) {
    constexpr int inner = 16 / static_cast<int>(sizeof(number_t<V>)); // numbers in a 128-bit lane
    constexpr int outer = lanes<V> / inner;                           // lanes in a vector
    const auto halves = [](const V& a, const V& b) PANTILE_INLINE { return xsimd::zip_lo(a, b) + xsimd::zip_hi(a, b); };
    V part[outer];
    unroll<outer>([&](auto g) PANTILE_INLINE {
        V* r = t + g * inner;
        if constexpr (inner == 2) {
            part[g] = halves(r[0], r[1]);
        } else {
            using pairs = xsimd::batch<double, typename V::arch_type>;
            const pairs ab = xsimd::bitwise_cast<pairs>(halves(r[0], r[1]));
            const pairs cd = xsimd::bitwise_cast<pairs>(halves(r[2], r[3]));
            part[g] = xsimd::bitwise_cast<V>(xsimd::zip_lo(ab, cd)) + xsimd::bitwise_cast<V>(xsimd::zip_hi(ab, cd));
        }
    });
    if constexpr (outer == 4) {
        detail::transpose_lanes(part[0], part[1], part[2], part[3]);
        return (part[0] + part[2]) + (part[1] + part[3]);
    } else if constexpr (outer == 2) {
        detail::transpose_lanes(part[0], part[1]);
        return part[0] + part[1];
    } else {
        return part[0];
    }
}

/// to[c][r] = scale(from[r][c], c) for r < rows, c < cols; both sides have unit inner stride, the outer strides are in
/// elements. Reads and writes rows·cols numbers once, but for the overlap of the last blocks: edges are not handled by
/// narrower blocks but by blocks that end at the edge. `scale(vector, c)` sees the numbers of columns c, c + 1, ….
template <class V, class From, class To, class Scale>
void transpose_copy(index_t rows, index_t cols, const From* from, index_t from_stride, To* to, index_t to_stride,
                    Scale scale) {
    constexpr index_t n = lanes<V>;
    if (rows <= 0 || cols <= 0) return;
    const index_t last_r = core::max(rows - n, 0);
    const index_t last_c = core::max(cols - n, 0);
    const bool whole = rows >= n && cols >= n;
    for (index_t r_step = 0; r_step < rows; r_step += n) {
        const index_t r = core::min(r_step, last_r);
        for (index_t c_step = 0; c_step < cols; c_step += n) {
            const index_t c = core::min(c_step, last_c);
            const From* source = from + r * from_stride + c;
            To* target = to + c * to_stride + r;
            V t[V::size];
            if (whole) {
                unroll<lanes<V>>([&](auto i) PANTILE_INLINE { t[i] = scale(load_as<V>(source + i * from_stride), c); });
                transpose(t);
                unroll<lanes<V>>([&](auto i) PANTILE_INLINE { store_as(t[i], target + i * to_stride); });
            } else {
                const index_t height = core::min(rows, n);
                const index_t width = core::min(cols, n);
                for (index_t i = 0; i < n; ++i) {
                    t[i] = i < height ? scale(load_some<V>(source + i * from_stride, width), c) : V(0);
                }
                transpose(t);
                for (index_t i = 0; i < width; ++i) store_some(t[i], target + i * to_stride, height);
            }
        }
    }
}

/// No scaling.
struct unscaled {
    template <class V>
    PANTILE_INLINE V operator()(const V& x, index_t) const {
        return x;
    }
};

/// Every number times one factor.
template <class T>
struct scaled_by {
    T factor;
    template <class V>
    PANTILE_INLINE V operator()(const V& x, index_t) const {
        return x * V(factor);
    }
};

/// Column c times factor[c], and -0 made +0; `factor` is readable to the end of its last vector.
template <class T>
struct scaled_by_column {
    const T* factor;
    template <class V>
    PANTILE_INLINE V operator()(const V& x, index_t c) const {
        return xsimd::fma(x, V::load_unaligned(factor + c), V(T(0)));
    }
};

} // namespace pantile::inline v0::cpu
