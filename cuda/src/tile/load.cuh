#pragma once

#include "../ptx/copy.cuh"
#include "swizzle.hpp"

#include <pantile/core/band.hpp>

// From global memory to a swizzled tile in shared memory, by the threads of a block.

namespace pantile::cuda {

/// Rows of one tile: row r of the tile is at `first + r * stride`, and only rows of [begin, end) are read; the others, and
/// the columns from `columns` on, become zeros. A zero row of V keeps what lies outside the visible keys (an unfilled
/// cache, say) from meeting a zero probability as infinity or NaN.
template <class T>
struct tile_source {
    const T* first;
    index_t stride;
    int begin;
    int end;
    int columns;
    bool vectors; ///< first, stride and columns are multiples of 16 bytes
};

/// Starts the copies of a tile of `rows` x `dim`; cp.async in 16-byte pieces where alignment allows, else element by
/// element. Neighbouring threads take neighbouring pieces of a row: traffic is rows·dim elements, each line once.
template <int rows, int dim, int threads, class T>
__device__ __forceinline__ void load_tile(char* shared, const tile_source<T>& from) {
    // A thread keeps its chunk column and walks down the rows; the swizzle repeats every 8 rows. A head dim of 96 or 192
    // leaves the threads of the missing columns idle.
    constexpr int chunks = dim <= 64 ? 8 : dim <= 128 ? 16 : 32;
    constexpr int step = threads / chunks;
    static_assert(rows % step == 0);
    if (from.vectors) {
        const int chunk = static_cast<int>(threadIdx.x) % chunks;
        const int first_row = static_cast<int>(threadIdx.x) / chunks;
        if (chunk >= dim / 8) return;
        const bool column_valid = chunk * 8 < from.columns;
        char* top = shared + chunk_offset<rows>(first_row, chunk);
        const T* source = from.first + first_row * from.stride + chunk * 8;
#pragma unroll
        for (int i = 0; i < rows / step; ++i) {
            const int row = first_row + i * step;
            const bool valid = column_valid && row >= from.begin && row < from.end;
            char* to = step % 8 == 0 ? top + i * step * panel_row_bytes : shared + chunk_offset<rows>(row, chunk);
            ptx::copy_async_16(to, valid ? source : from.first, valid);
            source += step * from.stride;
        }
    } else {
        for (int at = static_cast<int>(threadIdx.x); at < rows * dim; at += threads) {
            const int row = at / dim;
            const int column = at % dim;
            const bool valid = row >= from.begin && row < from.end && column < from.columns;
            const T x = valid ? from.first[row * from.stride + column] : T(0.0F);
            *reinterpret_cast<T*>(shared + chunk_offset<rows>(row, column / 8) + column % 8 * 2) = x;
        }
    }
}

} // namespace pantile::cuda
