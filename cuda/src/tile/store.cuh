#pragma once

#include "../arguments.hpp"
#include "../ptx/convert.cuh"
#include "finish.cuh"
#include "wide.hpp"

// From accumulator registers to out and lse.

namespace pantile::inline v0::cuda {

/// Transposes a 4x4 block of words over the four threads of a quad: thread t ends with word t of threads 0 to 3.
__device__ __forceinline__ void transpose_quad(std::uint32_t (&w)[4]) {
    const auto exchange = [](std::uint32_t& low, std::uint32_t& high, unsigned distance) {
        const bool upper = (threadIdx.x & distance) != 0;
        const std::uint32_t received = __shfl_xor_sync(0xffffffffU, upper ? low : high, static_cast<int>(distance));
        (upper ? low : high) = received;
    };
    exchange(w[0], w[1], 1);
    exchange(w[2], w[3], 1);
    exchange(w[0], w[2], 2);
    exchange(w[1], w[3], 2);
}

/// One row's share of a thread: o[4j + 2r] and o[4j + 2r + 1], j < n / 4, at columns 8j + 2t and the next, times `factor`,
/// to `row` (of `columns` columns). `exists` false: the row is outside the tensor and nothing is stored, but the thread
/// takes part in the exchange. Traffic: each 16-bit row leaves in 16-byte pieces, 64 bytes a quad.
template <class T, int n>
__device__ __forceinline__ void store_row(T* row, const float (&o)[n], int r, float factor, int columns, bool vectors,
                                          bool exists) {
    const int t = static_cast<int>(threadIdx.x % 4);
    if constexpr (sizeof(T) == 2) {
        if (vectors) {
#pragma unroll
            for (int j = 0; j < n / 4; j += 4) {
                std::uint32_t w[4];
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    w[i] = ptx::pack<T>(o[4 * (j + i) + 2 * r] * factor, o[4 * (j + i) + 2 * r + 1] * factor);
                }
                transpose_quad(w);
                const int column = 8 * (j + t);
                if (exists && column < columns) {
                    *reinterpret_cast<uint4*>(row + column) = make_uint4(w[0], w[1], w[2], w[3]);
                }
            }
            return;
        }
    }
    if (!exists) return;
    if constexpr (sizeof(T) == 4) {
        if (vectors) { // whole sectors of 32 bytes a quad
#pragma unroll
            for (int j = 0; j < n / 4; ++j) {
                const int column = 8 * j + 2 * t;
                if (column < columns) {
                    *reinterpret_cast<float2*>(row + column) =
                        make_float2(o[4 * j + 2 * r] * factor, o[4 * j + 2 * r + 1] * factor);
                }
            }
            return;
        }
    }
#pragma unroll
    for (int j = 0; j < n / 4; ++j) {
        const int column = 8 * j + 2 * t;
        if (column < columns) row[column] = static_cast<T>(o[4 * j + 2 * r] * factor);
        if (column + 1 < columns) row[column + 1] = static_cast<T>(o[4 * j + 2 * r + 1] * factor);
    }
}

/// The same for O in the order of tile/wide.hpp: 32 bytes of each panel in two pieces, 128 bytes a quad.
template <class V, int n>
__device__ __forceinline__ void store_wide_row(V* row, const V (&o)[n], int r, V factor, int columns, bool vectors,
                                               bool exists) {
    if (!exists) return;
    constexpr int products = panel_width<V> / 8;
    constexpr int piece = 16 / static_cast<int>(sizeof(V));
    struct alignas(16) chunk {
        V x[piece];
    };
    const int t = static_cast<int>(threadIdx.x % 4);
#pragma unroll
    for (int j = 0; j < n / 4; j += products) {
#pragma unroll
        for (int e = 0; e < 2; ++e) { // `products` neighbouring columns are one piece
            const int column = wide_column<V>(j, t, e);
            chunk c;
#pragma unroll
            for (int x = 0; x < piece; ++x) c.x[x] = o[4 * (j + x) + 2 * r + e] * factor;
            if (vectors) {
                if (column < columns) *reinterpret_cast<chunk*>(row + column) = c;
            } else {
#pragma unroll
                for (int x = 0; x < piece; ++x) {
                    if (column + x < columns) row[column + x] = c.x[x];
                }
            }
        }
    }
}

/// Row `i` of head `h`: its O from column `first_column` on, times the row's factor (as part `split` of a partial result), and its
/// statistics. `wide`: O lies as tile/wide.hpp says.
template <class T, bool wide, class V, int n>
__device__ __forceinline__ void store_finished(const forward_arguments& a, index_t b, index_t h, index_t i,
                                               index_t split, const V (&o)[n], int first_column, int r,
                                               const row_state<V>& state, V factor, bool exists) {
    const auto columns = static_cast<int>(a.shape.value_dim) - first_column;
    const index_t place = a.out_layout.place(b, h, i) + first_column;
    const auto store = [&](auto* to, bool vectors) {
        if constexpr (wide) {
            store_wide_row(to, o, r, factor, columns, vectors, exists);
        } else {
            store_row(to, o, r, factor, columns, vectors, exists);
        }
    };
    if (a.kind == out_kind::partial) {
        store(static_cast<V*>(a.out) + split * a.split_stride_out + place, wide && a.out_vectors);
    } else if (std::is_same_v<T, V> || a.kind == out_kind::same) {
        store(static_cast<T*>(a.out) + place, a.out_vectors);
    } else {
        store(static_cast<V*>(a.out) + place, false);
    }
    if (exists && threadIdx.x % 4 == 0 && first_column == 0) store_statistics(a, b, h, i, split, state);
}

} // namespace pantile::inline v0::cuda
