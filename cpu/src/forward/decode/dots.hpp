/// \file
/// The score kernel of decode: dims in lanes, so that K is read in whole vectors as it lies.
#pragma once

#include "../../micro/transpose.hpp"
#include "chunk.hpp"

namespace pantile::inline v0::cpu::decode {

/// Rows that go through the score kernel together. With the keys beside them their sums fill the square that one
/// transposing addition turns into a vector of scores.
template <class V>
inline constexpr int most_rows = lanes<V> > 2 ? lanes<V> / 2 : 1;

/// Packed Q of some rows, in the order of chunk<V, From>.
template <class V>
struct packed_rows {
    const number_t<V>* data; ///< [row][dim], zeros where a chunk repeats dims
    index_t stride;
    const number_t<V>* keep; ///< of the last chunk: all bits where a dim counts, none where it is repeated
};

/// Keys whose dims are gone through side by side: more share a load of Q, but jump further through K, which the
/// processor's prefetch takes less well.
template <class V>
inline constexpr int keys_together = registers<V> == 32 ? 4 : 2;

/// q · K of `rows` rows and lanes / rows keys, in lane key·rows + row.
///
/// At the end 2·n shuffles and n - 1 additions, n the lanes.
template <class V, int rows, class From>
PANTILE_INLINE inline V dots(packed_rows<V> q, const From* const (&key)[lanes<V> / rows], cut<V, From> dims) {
    constexpr int keys = lanes<V> / rows;
    constexpr int vectors = chunk<V, From>::vectors;
    constexpr int together = keys_together<V> < keys ? keys_together<V> : keys;
    V sum[V::size];
    unroll<lanes<V>>([&](auto i) PANTILE_INLINE { sum[i] = V(number_t<V>(0)); });
    unroll<keys / together>([&](auto group) PANTILE_INLINE {
        constexpr int first = group * together;
        const auto add = [&](index_t c, auto&& adjust) PANTILE_INLINE {
            const number_t<V>* qc = q.data + c * chunk<V, From>::dims;
            const index_t x = dims.first(c);
            chunk<V, From> k[together];
            unroll<together>([&](auto j) PANTILE_INLINE { k[j] = adjust(chunk<V, From>::load(key[first + j] + x)); });
            unroll<vectors>([&](auto v) PANTILE_INLINE {
                unroll<rows>([&](auto r) PANTILE_INLINE {
                    const V qr = V::load_aligned(qc + r * q.stride + v * lanes<V>);
                    unroll<together>([&](auto j) PANTILE_INLINE {
                        V& s = sum[(first + j) * rows + r];
                        s = xsimd::fma(k[j].at[v], qr, s);
                    });
                });
            });
        };
        const index_t whole = dims.whole();
        for (index_t c = 0; c < whole; ++c) add(c, [](const chunk<V, From>& k) PANTILE_INLINE { return k; });
        if (dims.has_rest()) {
            // Without the mask an infinite number of K would be multiplied by the zeros of Q.
            add(whole, [&](chunk<V, From> k) PANTILE_INLINE {
                unroll<vectors>([&](auto v)
                                    PANTILE_INLINE { k.at[v] = k.at[v] & V::load_aligned(q.keep + v * lanes<V>); });
                return k;
            });
        }
    });
    return horizontal_sums(sum);
}

} // namespace pantile::inline v0::cpu::decode
