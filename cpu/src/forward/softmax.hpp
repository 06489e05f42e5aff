/// \file
/// The online softmax of rows in SIMD lanes, one row a lane: what every forward machine does between its two products,
/// whatever computes them. With s a score and c = |scale| · log2(e) (core/scale.hpp), the exponent of a pair is s·c - reference.
///
///     raise       max = max(max, tile's max · c), the factor of what was summed before, the reference of the tile's exponents
///     add_sums    sum = sum · factor + tile's sum
///
/// Both are vertical: a machine hands over the numbers of `vectors` vectors of rows.
#pragma once

#include <limits>

#include <pantile/core/online_softmax.hpp>

#include "../micro/exp2.hpp"

namespace pantile::inline v0::cpu {

/// The online softmax on vectors, one row a lane.
template <class V>
struct vector_ops {
    using value = V;
    using T = number_t<V>;
    static PANTILE_INLINE V lowest() { return V(-std::numeric_limits<T>::infinity()); }
    static PANTILE_INLINE V zero() { return V(T(0)); }
    static PANTILE_INLINE V max(const V& a, const V& b) { return xsimd::max(a, b); }
    static PANTILE_INLINE V exp2(const V& x) { return cpu::power_of_two(x); }
    static PANTILE_INLINE V finite_or_zero(const V& x) { return xsimd::select(x == lowest(), zero(), x); }
};

/// The keys that the row of each lane sees, first <= key < end, counted like the keys of a tile; whole numbers, exact in T.
template <class V>
struct visible_keys {
    V first;
    V end;

    /// Which lanes' rows see `key`.
    [[nodiscard]] PANTILE_INLINE auto sees(const V& key) const { return first <= key && key < end; }
    /// The scores of `key`, minus infinity in the lanes whose row does not see it.
    [[nodiscard]] PANTILE_INLINE V hide(const V& scores, const V& key) const {
        return xsimd::select(first <= key && key < end, scores, vector_ops<V>::lowest());
    }
};

/// The largest reference at which exponents y - reference stay where 2^x is good. The reference is the maximum rounded: from
/// twice this number on half a unit of its last place exceeds 64, and 2^x of what rounding took from it could overflow.
template <class T>
inline constexpr T largest_reference = sizeof(T) == 8 ? static_cast<T>(0x1p+60) : static_cast<T>(0x1p+31);

/// Is it beyond, and finite?
template <class T>
PANTILE_FN bool is_beyond(T reference) {
    const T size = reference < T(0) ? -reference : reference;
    return size >= largest_reference<T> && size <= std::numeric_limits<T>::max();
}

/// Scores of a row whose reference is beyond, s[0], s[stride], … of one key tile: there neighbouring numbers are exponents
/// so far apart that only the largest score has any weight. It becomes 0, the others minus infinity, to be taken against a
/// reference of 0. `tile_max` is the tile's largest score, `leads` tells whether it is the row's; NaN stays.
template <class V>
[[gnu::noinline, gnu::cold]] void keep_largest(number_t<V>* s, index_t stride, index_t keys, number_t<V> tile_max,
                                               bool leads) {
    using T = number_t<V>;
    for (index_t k = 0; k < keys; ++k, s += stride) {
        if (*s < tile_max || (*s == tile_max && !leads)) {
            *s = -std::numeric_limits<T>::infinity();
        } else if (*s == tile_max) {
            *s = T(0);
        }
    }
}

/// Of `vectors` vectors of rows: raises their maxima to those of the tile's scores, and gives the factors of their earlier sums
/// and O and the references of the tile's exponents. Returns whether a reference is so large that its row needs keep_largest.
template <class V, int vectors>
PANTILE_INLINE inline bool raise(number_t<V>* max, const number_t<V>* tile_max, number_t<V> exponent_scale,
                                 number_t<V>* reference, number_t<V>* factor) {
    using T = number_t<V>;
    using softmax = core::online_softmax<vector_ops<V>>;
    V largest(T(0));
    unroll<vectors>([&](auto v) PANTILE_INLINE {
        constexpr int at = v * lanes<V>;
        typename softmax::state s{V::load_aligned(max + at), V(T(0))};
        softmax::raise(s, V::load_aligned(tile_max + at) * V(exponent_scale)).store_aligned(factor + at);
        const V against = softmax::reference(s);
        against.store_aligned(reference + at);
        largest = xsimd::max(largest, xsimd::abs(against));
        s.max.store_aligned(max + at);
    });
    return xsimd::any(largest >= V(largest_reference<T>));
}

/// The tile's sums join those of the tiles before.
template <class V, int vectors>
PANTILE_INLINE inline void add_sums(number_t<V>* sum, const number_t<V>* factor, const number_t<V>* tile_sum) {
    unroll<vectors>([&](auto v) PANTILE_INLINE {
        constexpr int at = v * lanes<V>;
        xsimd::fma(V::load_aligned(sum + at), V::load_aligned(factor + at), V::load_aligned(tile_sum + at))
            .store_aligned(sum + at);
    });
}

/// After raise, row by row: if its reference is beyond largest_reference, its scores of the tile, scores[0], scores[stride], …,
/// are cut down to the largest (keep_largest), to be taken against a reference of 0. `max` is the row's raised maximum.
template <class V>
PANTILE_INLINE inline void keep_largest_beyond(number_t<V>& reference, number_t<V> max, number_t<V> tile_max,
                                               number_t<V> exponent_scale, number_t<V>* scores, index_t stride,
                                               index_t keys) {
    if (!is_beyond(reference)) return;
    keep_largest<V>(scores, stride, keys, tile_max, tile_max * exponent_scale == max);
    reference = number_t<V>(0);
}

} // namespace pantile::inline v0::cpu
