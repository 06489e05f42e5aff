#pragma once

#include "../tile/swizzle.hpp"

// Sizes of the 16-bit kernels for many query rows, and who holds what.
//
// What binds is shared memory: an ldmatrix of four 8x8 matrices keeps it busy for 4 clocks, and a quadrant's matrix unit
// takes at least 4 clocks for an m16n8k16 product. With 16 rows a warp, one ldmatrix of K or V feeds two products, and the
// four quadrants' products wait for memory; with 32 rows it feeds four. O of 32 rows and 128 columns is 128 registers a
// thread. Above that two warps share 32 rows: each takes half of the keys for Q·Kᵀ and half of the columns of O for P·V,
// and they exchange maxima and P through shared memory.

namespace pantile::inline v0::cuda {

/// Padded head dim, query rows and keys of a tile, warps, blocks that a multiprocessor should hold (registers are shared
/// out accordingly), warps that share rows.
template <class T, int dim_, int rows_, int keys_, int warps_, int resident_, int sharers_ = 1>
struct half_tile {
    using input = T;
    static constexpr int dim = dim_;
    static constexpr int rows = rows_;
    static constexpr int keys = keys_;
    static constexpr int threads = 32 * warps_;
    static constexpr int resident = resident_;
    static constexpr int sharers = sharers_;
    static constexpr int rows_of_warp = rows * sharers / warps_;
    static constexpr int blocks = rows_of_warp / 16;      ///< of 16 rows
    static constexpr int keys_of_warp = keys / sharers;   ///< of S and P
    static constexpr int columns_of_warp = dim / sharers; ///< of O
    static_assert(rows_of_warp % 16 == 0 && keys_of_warp % 16 == 0 && columns_of_warp % 32 == 0);
    static_assert(sharers == 1 || sharers == 2);

    /// 16-byte chunks of a row, and how many threads move them side by side. Where a row's chunks are no power of two (head
    /// dims 96 and 192) the threads of the missing columns are idle.
    static constexpr int row_chunks = dim / 8;
    static constexpr int row_movers = row_chunks <= 8 ? 8 : row_chunks <= 16 ? 16 : 32;

    // Shared memory: Q, one tile of K, one of V, then what two warps tell each other.
    static constexpr int q_bytes = tile_bytes(rows, dim);
    static constexpr int kv_bytes = tile_bytes(keys, dim);
    static constexpr int k_at = q_bytes;
    static constexpr int v_at = k_at + kv_bytes;
    static constexpr int p_at = v_at + kv_bytes;
    static constexpr int p_bytes = sharers == 1 ? 0 : rows * keys * 2;
    static constexpr int maxima_at = p_at + p_bytes;
    static constexpr int maxima_bytes = sharers == 1 ? 0 : rows * sharers * 4;
    static constexpr int shared_bytes = maxima_at + maxima_bytes + tile_alignment;

    /// Which 16 columns of V and of O are the x-th of a warp, counted from its first: all of them, or half of each panel.
    static PANTILE_FN int columns_at(int x) { return sharers == 1 ? x : x / 2 * 4 + x % 2; }
};

} // namespace pantile::inline v0::cuda
