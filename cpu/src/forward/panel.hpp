/// \file
/// What a panel does with a product while it is in registers, and the exponentials between its two products.
///
/// A panel is up to panel_vectors·lanes queries side by side in SIMD lanes; its scores are [key][query], its sums [dim][query].
#pragma once

#include <pantile/core/online_softmax.hpp>

#include "../micro/product.hpp"
#include "row_tile.hpp"

namespace pantile::inline v0::cpu {

/// Stores a block of scores and folds it into the column maxima.
template <class V>
struct store_scores {
    number_t<V>* scores; ///< [key][query]
    index_t stride;
    number_t<V>* max; ///< [query]

    template <int rows, int vectors>
    PANTILE_INLINE void operator()(index_t m0, register_block<V, rows, vectors>& block) const {
        unroll<vectors>([&](auto v) PANTILE_INLINE {
            V largest = V::load_aligned(max + v * lanes<V>);
            unroll<rows>([&](auto m) PANTILE_INLINE {
                block.at[m][v].store_aligned(scores + (m0 + m) * stride + v * lanes<V>);
                largest = xsimd::max(largest, block.at[m][v]);
            });
            largest.store_aligned(max + v * lanes<V>);
        });
    }
};

/// The same with hidden pairs set to minus infinity. Lane q sees the keys first_visible[q] <= key < end_visible[q],
/// counted like `first_key`.
template <class V>
struct store_masked_scores {
    store_scores<V> store;
    const number_t<V>* first_visible;
    const number_t<V>* end_visible;
    index_t first_key; ///< key of row m0 = 0

    template <int rows, int vectors>
    PANTILE_INLINE void operator()(index_t m0, register_block<V, rows, vectors>& block) const {
        unroll<vectors>([&](auto v) PANTILE_INLINE {
            const visible_keys<V> seen{V::load_aligned(first_visible + v * lanes<V>),
                                       V::load_aligned(end_visible + v * lanes<V>)};
            unroll<rows>([&](auto m) PANTILE_INLINE {
                block.at[m][v] = seen.hide(block.at[m][v], V(static_cast<number_t<V>>(first_key + m0 + m)));
            });
        });
        store(m0, block);
    }
};

/// O = O · factor + block: how a tile's own sum joins the sum of the earlier tiles.
template <class V>
struct join_tile {
    number_t<V>* sums; ///< [dim][query]
    index_t stride;
    const number_t<V>* factor; ///< [query]

    template <int rows, int vectors>
    PANTILE_INLINE void operator()(index_t m0, register_block<V, rows, vectors>& block) const {
        unroll<vectors>([&](auto v) PANTILE_INLINE {
            const V scale = V::load_aligned(factor + v * lanes<V>);
            unroll<rows>([&](auto m) PANTILE_INLINE {
                number_t<V>* p = sums + (m0 + m) * stride + v * lanes<V>;
                xsimd::fma(V::load_aligned(p), scale, block.at[m][v]).store_aligned(p);
            });
        });
    }
};

/// scores -> probabilities of the keys [begin, end), 2^(score·c - reference), and their sums.
template <class V, int vectors>
PANTILE_INLINE inline void exponentiate(number_t<V>* scores, index_t stride, index_t begin, index_t end,
                                        number_t<V> exponent_scale, const number_t<V>* reference, number_t<V>* sums) {
    const V c(exponent_scale);
    V total[vectors];
    V against[vectors];
    unroll<vectors>([&](auto v) PANTILE_INLINE {
        total[v] = V::load_aligned(sums + v * lanes<V>);
        against[v] = V::load_aligned(reference + v * lanes<V>);
    });
    for (index_t k = begin; k < end; ++k) {
        number_t<V>* row = scores + k * stride;
        unroll<vectors>([&](auto v) PANTILE_INLINE {
            const V p = power_of_two(xsimd::fms(V::load_aligned(row + v * lanes<V>), c, against[v]));
            p.store_aligned(row + v * lanes<V>);
            total[v] = total[v] + p;
        });
    }
    unroll<vectors>([&](auto v) PANTILE_INLINE { total[v].store_aligned(sums + v * lanes<V>); });
}

} // namespace pantile::inline v0::cpu
