/// \file
/// The one product kernel of the CPU machine, used by every matrix product of the forward and the backward pass:
///
///     C[m][n] = Σ_k A(m, k) · B[k][n]        n runs through the lanes of `vectors` SIMD registers
///
/// A is read from its natural layout and broadcast, B in rows of vectors; nothing is packed. A block of C stays in
/// registers over the whole sum, starts at zero, and is handed to an epilogue that stores, adds, or folds a maximum.
///
///     product       A(m, k)                    B[k]                  C
///     scores        K rows      (m = key)      Qᵀ (k = dim)          Sᵀ[key][query]
///     P·V           V columns   (m = dim)      P  (k = key)          Oᵀ[dim][query]
///     dV, dK        P, dS rows  (m = key)      dO, Q rows (k = row)  [key][dim]
///     dQ            K columns   (m = dim)      dS (k = key)          dQᵀ[dim][query]
///
/// Per step of k a block of r × v registers loads r + v times for r·v multiply-adds: 10 for 24 with AVX-512 (two ports of
/// each kind), so the multiply-adds bind. Reads per block: r·k of A, v·lanes·k of B; B should fit the L1 cache.
#pragma once

#include "simd.hpp"

namespace pantile::inline v0::cpu {

/// A(m, k) = data[m·stride + k]: the rows of a row-major matrix.
template <class T>
struct rows_of {
    const T* data;
    index_t stride;
    PANTILE_INLINE const T* at(index_t m, index_t k) const { return data + m * stride + k; }
    PANTILE_INLINE index_t row_step() const { return stride; }
    PANTILE_INLINE index_t k_step() const { return 1; }
};

/// A(m, k) = data[k·stride + m]: the columns of a row-major matrix.
template <class T>
struct columns_of {
    const T* data;
    index_t stride;
    PANTILE_INLINE const T* at(index_t m, index_t k) const { return data + k * stride + m; }
    PANTILE_INLINE index_t row_step() const { return 1; }
    PANTILE_INLINE index_t k_step() const { return stride; }
};

/// B[k] = data + k·stride: rows of vectors. Any alignment.
template <class T>
struct vectors_of {
    const T* data;
    index_t stride;
};

/// k runs over [0, length) for every vector of C.
struct whole_sum {
    index_t length;
};

/// k runs over [0, end[v]) for vector v of C, end ascending: the diagonal of a causal mask, where the queries of a lower
/// vector see fewer keys.
struct staircase_sum {
    const index_t* end;
};

/// One block of C in registers.
template <class V, int rows, int vectors>
struct register_block {
    V at[rows][vectors];
};

namespace detail {

/// c[m][v] += A(m, k)·B[k][v] for k in [begin, end) and the vectors from `first` on.
template <int first, class V, int rows, int vectors, class A>
PANTILE_INLINE inline void add_products(register_block<V, rows, vectors>& c, const A& a, index_t m0,
                                        vectors_of<number_t<V>> b, index_t begin, index_t end) {
    using T = number_t<V>;
    const T* b_row = b.data + begin * b.stride;
    const T* a_row = a.at(m0, begin);
    const index_t row_step = a.row_step();
    const index_t k_step = a.k_step();
    for (index_t k = begin; k < end; ++k) {
        V bv[vectors];
        unroll<vectors - first>(
            [&](auto v) PANTILE_INLINE { bv[v + first] = V::load_unaligned(b_row + (v + first) * lanes<V>); });
        unroll<rows>([&](auto m) PANTILE_INLINE {
            const V am(a_row[m * row_step]);
            unroll<vectors - first>(
                [&](auto v) PANTILE_INLINE { c.at[m][v + first] = xsimd::fma(am, bv[v + first], c.at[m][v + first]); });
        });
        b_row += b.stride;
        a_row += k_step;
    }
}

template <class V, int rows, int vectors, class A>
PANTILE_INLINE inline void sum_up(register_block<V, rows, vectors>& c, const A& a, index_t m0,
                                  vectors_of<number_t<V>> b, whole_sum k) {
    add_products<0>(c, a, m0, b, 0, k.length);
}

template <class V, int rows, int vectors, class A>
PANTILE_INLINE inline void sum_up(register_block<V, rows, vectors>& c, const A& a, index_t m0,
                                  vectors_of<number_t<V>> b, staircase_sum k) {
    add_products<0>(c, a, m0, b, 0, k.end[0]);
    unroll<vectors - 1>([&](auto v) PANTILE_INLINE { add_products<v + 1>(c, a, m0, b, k.end[v], k.end[v + 1]); });
}

/// One block: rows [m0, m0 + rows) of C.
template <class V, int rows, int vectors, class A, class K, class Epilogue>
PANTILE_INLINE inline void block(const A& a, index_t m0, vectors_of<number_t<V>> b, K k, Epilogue& epilogue) {
    register_block<V, rows, vectors> c;
    unroll<rows>([&](auto m) PANTILE_INLINE { unroll<vectors>([&](auto v) PANTILE_INLINE { c.at[m][v] = V(0); }); });
    sum_up(c, a, m0, b, k);
    epilogue(m0, c);
}

} // namespace detail

/// All rows [0, m_length) of C. `epilogue(m0, block)` receives each finished register_block. Rows that fill no whole block
/// go through blocks of 4, 2 and 1.
template <class V, int vectors, class A, class K, class Epilogue>
void product(index_t m_length, const A& a, vectors_of<number_t<V>> b, K k, Epilogue epilogue) {
    constexpr int rows = block_rows<V, vectors>;
    // A rest of 2 rows has too few sums to hide the latency of an addition: 6 + 2 is done as 4 + 4.
    const index_t rest = rows == 6 && m_length % 6 == 2 && m_length > 6 ? 8 : m_length % rows;
    index_t m = 0;
    for (; m < m_length - rest; m += rows) detail::block<V, rows, vectors>(a, m, b, k, epilogue);
    if constexpr (rows > 4) {
        for (; m + 4 <= m_length; m += 4) detail::block<V, 4, vectors>(a, m, b, k, epilogue);
    }
    if (m + 2 <= m_length) {
        detail::block<V, 2, vectors>(a, m, b, k, epilogue);
        m += 2;
    }
    if (m < m_length) detail::block<V, 1, vectors>(a, m, b, k, epilogue);
}

} // namespace pantile::inline v0::cpu
