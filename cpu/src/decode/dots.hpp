/// \file
/// The score kernel of decode: dims in lanes, so that K is read in whole vectors as it lies.
#pragma once

#include "../micro/transpose.hpp"
#include "chunk.hpp"

namespace pantile::cpu::decode {

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

/// q · K of `rows` rows and lanes / rows keys, in lane key·rows + row.
///
/// Per chunk of n dims: rows + keys loads and rows·keys = n multiply-adds (2 + 8 loads for 16 with AVX-512 and 8 rows);
/// at the end 2·n shuffles and n - 1 additions.
template <class V, int rows, class From>
PANTILE_INLINE inline V dots(packed_rows<V> q, const From* const (&key)[lanes<V> / rows], cut<V, From> dims) {
    constexpr int keys = lanes<V> / rows;
    constexpr int vectors = chunk<V, From>::vectors;
    V sum[V::size];
    unroll<lanes<V>>([&](auto i) PANTILE_INLINE { sum[i] = V(number_t<V>(0)); });
    const auto add = [&](index_t c, auto&& adjust) PANTILE_INLINE {
        const number_t<V>* qc = q.data + c * chunk<V, From>::dims;
        const index_t x = dims.first(c);
        if constexpr (rows > keys) { // the fewer ones stay in registers
            chunk<V, From> k[keys];
            unroll<keys>([&](auto j) PANTILE_INLINE { k[j] = adjust(chunk<V, From>::load(key[j] + x)); });
            unroll<vectors>([&](auto v) PANTILE_INLINE {
                unroll<rows>([&](auto r) PANTILE_INLINE {
                    const V qr = V::load_aligned(qc + r * q.stride + v * lanes<V>);
                    unroll<keys>([&](auto j) PANTILE_INLINE {
                        sum[j * rows + r] = xsimd::fma(k[j].at[v], qr, sum[j * rows + r]);
                    });
                });
            });
        } else {
            V qr[rows][vectors];
            unroll<rows>([&](auto r) PANTILE_INLINE {
                unroll<vectors>([&](auto v)
                                    PANTILE_INLINE { qr[r][v] = V::load_aligned(qc + r * q.stride + v * lanes<V>); });
            });
            unroll<keys>([&](auto j) PANTILE_INLINE {
                const chunk<V, From> k = adjust(chunk<V, From>::load(key[j] + x));
                unroll<vectors>([&](auto v) PANTILE_INLINE {
                    unroll<rows>([&](auto r) PANTILE_INLINE {
                        sum[j * rows + r] = xsimd::fma(k.at[v], qr[r][v], sum[j * rows + r]);
                    });
                });
            });
        }
    };
    const index_t whole = dims.whole();
    for (index_t c = 0; c < whole; ++c) add(c, [](const chunk<V, From>& k) PANTILE_INLINE { return k; });
    if (dims.has_rest()) {
        // Without the mask an infinite number of K would be multiplied by the zeros of Q.
        add(whole, [&](chunk<V, From> k) PANTILE_INLINE {
            unroll<vectors>([&](auto v) PANTILE_INLINE { k.at[v] = k.at[v] & V::load_aligned(q.keep + v * lanes<V>); });
            return k;
        });
    }
    return horizontal_sums(sum);
}

} // namespace pantile::cpu::decode
