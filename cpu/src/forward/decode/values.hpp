/// \file
/// The P·V kernel of decode: value dims in lanes, P broadcast.
#pragma once

#include "ahead.hpp"
#include "chunk.hpp"

namespace pantile::inline v0::cpu::decode {

/// Sums that are kept in registers: enough to hide the latency of a multiply-add on two ports, and rows · vectors of them
/// leave room for what is loaded.
template <class V>
inline constexpr int value_sums = registers<V> == 32 ? 16 : 8;
/// Vectors of value dims that `rows` rows work on at once.
template <class V, int rows>
inline constexpr int value_vectors = value_sums<V> / rows < 8 ? value_sums<V> / rows : 8;

/// Keys that one chain of additions runs over before it joins O: its error grows with them, most where all products are
/// alike. The error rule of docs/numerics.md allows for 128.
inline constexpr index_t longest_sum = 128;

/// Some keys of V and the P of some rows.
template <class V, class From>
struct weighted_keys {
    const number_t<V>* p; ///< [key][row]
    index_t p_stride;
    const From* v; ///< [key][dim]
    index_t v_stride;
    index_t keys;
};

/// O[row] = O[row] · factor[row] + Σ P·V for `rows` rows and `vectors` vectors of dims from dim x of V on.
///
/// Per key: rows + vectors loads for rows·vectors multiply-adds; V comes once a strip, P stays in L1.
template <class V, int rows, int vectors, class From>
PANTILE_INLINE inline void add_strip(const weighted_keys<V, From>& in, index_t x, number_t<V>* o, index_t o_stride,
                                     const number_t<V>* factor, ahead next, index_t first_line, index_t lines) {
    constexpr int per_chunk = chunk<V, From>::vectors;
    const From* v = in.v + x;
    const number_t<V>* p = in.p;
    index_t j = 0;
    do {
        const bool joins_factor = j == 0;
        const index_t end = core::min(j + longest_sum, in.keys);
        V sum[rows][vectors];
        unroll<rows>([&](auto r) PANTILE_INLINE {
            unroll<vectors>([&](auto i) PANTILE_INLINE { sum[r][i] = V(number_t<V>(0)); });
        });
        for (; j < end; ++j) {
            next.ask(j, first_line, lines);
            chunk<V, From> value[vectors / per_chunk];
            unroll<vectors / per_chunk>(
                [&](auto c) PANTILE_INLINE { value[c] = chunk<V, From>::load(v + c * chunk<V, From>::dims); });
            unroll<rows>([&](auto r) PANTILE_INLINE {
                const V weight(p[r]);
                unroll<vectors>([&](auto i) PANTILE_INLINE {
                    sum[r][i] = xsimd::fma(weight, value[i / per_chunk].at[i % per_chunk], sum[r][i]);
                });
            });
            v += in.v_stride;
            p += in.p_stride;
        }
        unroll<rows>([&](auto r) PANTILE_INLINE {
            const V scale(joins_factor ? factor[r] : number_t<V>(1));
            unroll<vectors>([&](auto i) PANTILE_INLINE {
                number_t<V>* to = o + r * o_stride + i * lanes<V>;
                xsimd::fma(V::load_aligned(to), scale, sum[r][i]).store_aligned(to);
            });
        });
    } while (j < in.keys);
}

/// All dims of `rows` rows: strips of value_vectors, then of half as many, and so on. Each strip asks for its share of the
/// rows of `next`.
template <class V, int rows, class From>
void add_values(const weighted_keys<V, From>& in, cut<V, From> dims, number_t<V>* o, index_t o_stride,
                const number_t<V>* factor, ahead next) {
    constexpr int per_chunk = chunk<V, From>::vectors;
    constexpr int widest = value_vectors < V, rows >> per_chunk ? value_vectors<V, rows> : per_chunk;
    index_t c = 0;
    index_t line = 0;
    const auto strips = [&](auto vectors, index_t end) PANTILE_INLINE {
        constexpr int chunks = vectors / per_chunk;
        for (; c + chunks <= end; c += chunks) {
            const index_t until = core::min(next.lines, core::ceil_div(next.lines * (c + chunks), dims.chunks()));
            add_strip<V, rows, vectors>(in, dims.first(c), o + c * chunk<V, From>::dims, o_stride, factor, next, line,
                                        until - line);
            line = until;
        }
    };
    strips(std::integral_constant<int, widest>{}, dims.whole());
    if constexpr (widest / 2 >= per_chunk) strips(std::integral_constant<int, widest / 2>{}, dims.whole());
    if constexpr (widest / 4 >= per_chunk) strips(std::integral_constant<int, widest / 4>{}, dims.whole());
    if constexpr (widest / 8 >= per_chunk) strips(std::integral_constant<int, widest / 8>{}, dims.whole());
    strips(std::integral_constant<int, per_chunk>{}, dims.chunks());
}

} // namespace pantile::inline v0::cpu::decode
