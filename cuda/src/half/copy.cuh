#pragma once

#include "../arguments.hpp"
#include "../ptx/copy.cuh"
#include "../tile/load.cuh"
#include "thread.cuh"
#include "work.cuh"

#include <pantile/core/schedule.hpp>

// Q, K and V from global into shared memory, by cp.async.

namespace pantile::inline v0::cuda {

/// This thread's copies have come, and every other's: what is awaited may be read, and all have read what they awaited
/// before.
__device__ __forceinline__ void await_copies() {
    ptx::copy_async_wait<0>();
    __syncthreads();
}

/// What a thread copies: of K and V tiles one 16-byte column, down whose rows it walks. Most of these copies are issued a few
/// at a time beside the products of the other operand (beside_values, beside_keys), so key_due and value_due only say of
/// which tile; tiles where something is missing are copied at once.
template <class T, class tile>
class half_copies {
  public:
    __device__ __forceinline__ half_copies(const forward_arguments& a, const half_constants& constants,
                                           const half_work<T>& work, char* tiles)
        : a_(a), constants_(constants), work_(work), tiles_(tiles),
          to_(pinned(ptx::shared_address(tiles) + tile::k_at + chunk_offset<tile::keys>(first_row(), chunk()))) {}

    /// Begins to bring Q near. Before open, and before the block knows its key tiles.
    __device__ __forceinline__ void fetch_queries(index_t batch, index_t head, index_t row_tile) {
        const index_t begin = row_tile * tile::rows;
        load_tile<tile::rows, tile::dim, tile::threads>(
            tiles_, tile_source<T>{static_cast<const T*>(a_.q) + a_.q_layout.place(batch, head, begin), a_.q_layout.row,
                                   0, static_cast<int>(core::min(a_.shape.q_len - begin, tile::rows)),
                                   static_cast<int>(a_.shape.head_dim), a_.vectors});
        ptx::copy_async_commit();
    }

    /// Before the first tile of K.
    __device__ __forceinline__ void open() {
        const index_t first = static_cast<index_t>(work_.run.begin) * tile::keys + first_row();
        k_from_ = work_.k + first * a_.k_layout.row + chunk() * 8;
        v_from_ = work_.v + first * a_.v_layout.row + chunk() * 8;
    }

    __device__ __forceinline__ void key_due(const tile_run::tile& t) {
        due_ = whole(t);
        if (!due_) copy_bounded(t.index, true);
    }
    __device__ __forceinline__ void value_due(const tile_run::tile& t) {
        due_ = whole(t);
        if (!due_) copy_bounded(t.index, false);
    }
    __device__ __forceinline__ void none_due() { due_ = false; }

    /// All copies of the tile of K that is due.
    __device__ __forceinline__ void keys_now() { copy(0, copies, tile::k_at, k_from_, a_.k_layout.row); }
    /// Those of K that belong beside the i-th product of P·V.
    __device__ __forceinline__ void beside_values(int i) { copy_beside(i, tile::k_at, k_from_, a_.k_layout.row); }
    /// Those of V that belong beside the i-th product of Q·Kᵀ.
    __device__ __forceinline__ void beside_keys(int i) { copy_beside(i, tile::v_at, v_from_, a_.v_layout.row); }

  private:
    static constexpr int step = tile::threads / tile::row_movers; ///< rows from one copy of a thread to its next
    static constexpr int copies = tile::keys / step;
    static_assert(tile::keys % (2 * step) == 0);

    static __device__ __forceinline__ int chunk() { return static_cast<int>(threadIdx.x) % tile::row_movers; }
    static __device__ __forceinline__ int first_row() { return static_cast<int>(threadIdx.x) / tile::row_movers; }

    /// Tile t is copied without looking at limits.
    __device__ __forceinline__ bool whole(const tile_run::tile& t) const {
        return t.due == core::visit::full && constants_.whole;
    }

    /// Copies [begin, end) of this thread's column of the tile at `tile_at`, if they are due. After the last, `from` is in
    /// the next tile.
    __device__ __forceinline__ void copy(int begin, int end, int tile_at, const T*& from, index_t stride) {
        const bool wanted = due_ && (tile::row_chunks == tile::row_movers || chunk() < tile::row_chunks);
#pragma unroll
        for (int n = 0; n < copies; ++n) {
            if (n < begin || n >= end) continue;
            const std::uint32_t to =
                (to_ ^ ((n * step & 7) << 4)) + (tile_at - tile::k_at) + n * step * panel_row_bytes;
            ptx::copy_async_16_if(wanted, to, from);
            from += step * stride;
        }
    }
    /// Two copies beside the i-th of many products: one after the other at once, copies wait for each other's address
    /// registers. (For d = 64, with fewer products a byte, at once is faster: all beside the first.)
    __device__ __forceinline__ void copy_beside(int i, int tile_at, const T*& from, index_t stride) {
        constexpr int together = tile::dim == 64 ? copies : 2;
        copy(i * together, (i + 1) * together, tile_at, from, stride);
    }

    /// Tile t of K (or V) where rows or columns may be missing, or rows do not consist of 16-byte pieces. Rows of V that no
    /// row of the tile sees become zeros.
    __device__ __forceinline__ void copy_bounded(int t, bool key) {
        const index_t first = static_cast<index_t>(t) * tile::keys;
        const index_t stride = key ? a_.k_layout.row : a_.v_layout.row;
        const auto near = [first](index_t at) { return static_cast<int>(core::clamp(at - first, 0, tile::keys)); };
        load_tile<tile::keys, tile::dim, tile::threads>(
            tiles_ + (key ? tile::k_at : tile::v_at),
            tile_source<T>{(key ? work_.k : work_.v) + first * stride, stride, key ? 0 : near(work_.visible.begin),
                           near(key ? work_.k_len : work_.visible.end),
                           static_cast<int>(key ? a_.shape.head_dim : a_.shape.value_dim), a_.vectors});
    }

    const forward_arguments& a_;
    const half_constants& constants_;
    const half_work<T>& work_;
    char* tiles_;
    std::uint32_t to_; ///< where this thread copies to (K)
    const T* k_from_;  ///< where from, of the next tile
    const T* v_from_;
    bool due_ = false; ///< the next products issue the copies of a tile
};

} // namespace pantile::inline v0::cuda
