#pragma once

#include "../arguments.hpp"
#include "../ptx/convert.cuh"
#include "../tile/finish.cuh"
#include "share.cuh"
#include "work.cuh"

// A row tile's result and its statistics.

namespace pantile::inline v0::cuda {

/// O, times the rows' factors, through Q's place in shared memory, so that whole rows leave in pieces of 16 bytes. A warp writes and
/// reads its own rows only.
template <class T, class tile>
__device__ __forceinline__ void store_tile(const forward_arguments& a, const half_work<T>& work, char* tiles,
                                           const half_output<tile>& o, const row_numbers<tile>& factors) {
    using thread = half_thread<tile>;
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const float factor = factors[m][r];
#pragma unroll
            for (int j = 0; j < tile::columns_of_warp / 8; ++j) {
                char* const at =
                    tiles + chunk_offset<tile::rows>(thread::row(m, r), thread::column(j) / 8) + thread::lane() % 4 * 4;
                *reinterpret_cast<std::uint32_t*>(at) =
                    ptx::pack<T>(o[m][4 * j + 2 * r] * factor, o[m][4 * j + 2 * r + 1] * factor);
            }
        }
    }
    if constexpr (tile::sharers == 1) {
        __syncwarp();
    } else {
        meet_partner<tile>();
    }
    // Neighbouring lanes take neighbouring pieces of a row.
    constexpr int lanes = core::min(tile::row_movers, 32);
    constexpr int mine = tile::rows_of_warp / tile::sharers; // rows to send
    const int chunk = thread::lane() % lanes;
    const int first = thread::first_row() + thread::group() * mine + thread::lane() / lanes;
    T* out =
        static_cast<T*>(a.out) + chunk * 8 + a.out_layout.place(work.batch, work.head, work.run.row_span.begin + first);
    const int rows = chunk * 8 < static_cast<int>(a.shape.value_dim) ? work.rows - first : 0;
#pragma unroll
    for (int i = 0; i < mine; i += 32 / lanes) {
        if (i < rows) {
            *reinterpret_cast<uint4*>(out) =
                *reinterpret_cast<const uint4*>(tiles + chunk_offset<tile::rows>(first + i, chunk));
        }
        out += 32 / lanes * a.out_layout.row;
    }
}

/// O, times the rows' factors, element by element.
template <class T, class tile, class Out>
__device__ __forceinline__ void store_rows(const forward_arguments& a, const half_work<T>& work, Out* out,
                                           const half_output<tile>& o, const row_numbers<tile>& factors) {
    using thread = half_thread<tile>;
    const auto columns = static_cast<int>(a.shape.value_dim);
    out += a.out_layout.place(work.batch, work.head, work.run.row_span.begin);
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const float factor = factors[m][r];
            if (thread::row(m, r) >= work.rows) continue;
            Out* const line = out + thread::row(m, r) * a.out_layout.row;
#pragma unroll
            for (int j = 0; j < tile::columns_of_warp / 8; ++j) {
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const int c = thread::column(j) + thread::lane() % 4 * 2 + e;
                    if (c < columns) line[c] = static_cast<Out>(o[m][4 * j + 2 * r + e] * factor);
                }
            }
        }
    }
}

/// Ends the rows, and stores O and the statistics, each in the form that the call wants.
template <class T, class tile>
__device__ __forceinline__ void store_result(const forward_arguments& a, const half_work<T>& work, char* tiles,
                                             const half_output<tile>& o, const half_states<tile>& states) {
    using thread = half_thread<tile>;
    constexpr int rows = 2 * tile::blocks;
    row_state<float> state[rows];
    float factor[rows];
    row_numbers<tile> factors;
#pragma unroll
    for (int i = 0; i < rows; ++i) state[i] = states[i / 2][i % 2];
    finish_rows<raised_binades<T>>(
        a, work.batch, state, factor, [&](int) { return work.head; },
        [&](int i) { return work.sees_keys(thread::row(i / 2, i % 2)); });
#pragma unroll
    for (int i = 0; i < rows; ++i) factors[i / 2][i % 2] = factor[i];
    const bool partial = a.kind == out_kind::partial;
    const index_t split = partial ? blockIdx.y : 0;
    if (partial) {
        store_rows<T, tile>(a, work, static_cast<float*>(a.out) + split * a.split_stride_out, o, factors);
    } else if (a.kind == out_kind::wide) {
        store_rows<T, tile>(a, work, static_cast<float*>(a.out), o, factors);
    } else if (a.out_vectors) {
        store_tile<T, tile>(a, work, tiles, o, factors);
    } else {
        store_rows<T, tile>(a, work, static_cast<T*>(a.out), o, factors);
    }
    if (a.lse == nullptr || thread::lane() % 4 != 0 || thread::group() != 0) return;
#pragma unroll
    for (int i = 0; i < rows; ++i) {
        const int row = thread::row(i / 2, i % 2);
        if (row >= work.rows) continue;
        store_statistics(a, work.batch, work.head, work.run.row_span.begin + row, split, state[i]);
    }
}

} // namespace pantile::inline v0::cuda
