#pragma once

#include "../ptx/copy.cuh"
#include "swizzle.hpp"

#include <pantile/core/band.hpp>

// From global memory to a swizzled tile in shared memory, by the threads of a block.

namespace pantile::inline v0::cuda {

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

/// Where element (row, column) of a tile lies.
template <int rows, class T>
__device__ __forceinline__ T* element_at(char* tile, int row, int column) {
    constexpr int elements = 16 / static_cast<int>(sizeof(T));
    return reinterpret_cast<T*>(tile + chunk_offset<rows>(row, column / elements)) + column % elements;
}

/// Starts the copies of a tile of `rows` x `dim`; cp.async in 16-byte pieces where alignment allows, else element by
/// element. Neighbouring threads take neighbouring pieces of a row: traffic is rows·dim elements, each line once.
template <int rows, int dim, int threads, class T>
__device__ __forceinline__ void load_tile(char* shared, const tile_source<T>& from,
                                          int thread = static_cast<int>(threadIdx.x)) {
    // A thread keeps its chunk column and walks down the rows; the swizzle repeats every 8 rows. A row whose chunks are no
    // power of two (head dims 96 and 192) leaves the threads of the missing columns idle.
    constexpr int elements = 16 / static_cast<int>(sizeof(T));
    constexpr int row_chunks = dim / elements;
    constexpr int chunks = row_chunks <= 8    ? 8
                           : row_chunks <= 16 ? 16
                           : row_chunks <= 32 ? 32
                           : row_chunks <= 64 ? 64
                                              : 128;
    constexpr int step = threads / chunks;
    static_assert(step > 0 && rows % step == 0);
    if (from.vectors) {
        const int chunk = thread % chunks;
        const int first_row = thread / chunks;
        if (chunk >= row_chunks) return;
        const bool column_valid = chunk * elements < from.columns;
        char* top = shared + chunk_offset<rows>(first_row, chunk);
        const T* source = from.first + first_row * from.stride + chunk * elements;
        const auto to = [&](int i) { // row first_row + i·step
            return step % 8 == 0 ? top + i * step * panel_row_bytes
                                 : shared + chunk_offset<rows>(first_row + i * step, chunk);
        };
        if (from.begin <= 0 && from.end >= rows &&
            from.columns == dim) { // nothing is left out: a third of the instructions
#pragma unroll
            for (int i = 0; i < rows / step; ++i) {
                ptx::copy_async_16(to(i), source, true);
                source += step * from.stride;
            }
            return;
        }
#pragma unroll
        for (int i = 0; i < rows / step; ++i) {
            const int row = first_row + i * step;
            const bool valid = column_valid && row >= from.begin && row < from.end;
            ptx::copy_async_16(to(i), valid ? source : from.first, valid);
            source += step * from.stride;
        }
    } else {
        for (int at = thread; at < rows * dim; at += threads) {
            const int row = at / dim;
            const int column = at % dim;
            const bool valid = row >= from.begin && row < from.end && column < from.columns;
            const T x = valid ? from.first[row * from.stride + column] : T(0.0F);
            *element_at<rows, T>(shared, row, column) = x;
        }
    }
}

} // namespace pantile::inline v0::cuda
