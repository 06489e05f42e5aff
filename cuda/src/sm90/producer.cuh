#pragma once

#include "../ptx/copy.cuh"
#include "../tile/key_run.hpp"
#include "counter.cuh"
#include "order.hpp"
#include "shared.cuh"

// The producers: two threads that have the copy engine bring every tile, as far ahead as the rings allow.

namespace pantile::inline v0::cuda {

/// One tile, a panel of 64 columns at a time; its bytes count against `done`.
template <int rows, int columns>
__device__ __forceinline__ void load_panels(char* to, const CUtensorMap& map, ptx::barrier& done, int row, int head,
                                            int batch) {
    ptx::arrive_expecting(done, tile_bytes(rows, columns));
#pragma unroll
    for (int panel = 0; panel < columns / panel_columns; ++panel) {
        ptx::copy_box(to + panel * rows * panel_row_bytes, map, done, panel * panel_columns, row, head, batch);
    }
}

/// Takes row tiles, tells the key producer of them, and the consumers with Q.
template <class tile>
class query_producer {
  public:
    __device__ __forceinline__ query_producer(const forward_arguments& a, const work_order& order,
                                              sm90_shared<tile>& shared, const CUtensorMap& q_map)
        : a_(a), order_(order), shared_(shared), q_map_(q_map) {}

    /// The first row tile is the block's number; the next ones come from a counter if row tiles differ in length, so that
    /// free blocks take them, else in turns.
    __device__ __forceinline__ void run() {
        for (std::uint32_t n = blockIdx.x;; n = next(n)) {
            const bool exists = n < order_.items;
            const head_rows at = exists ? order_.item(n) : head_rows{-1, 0, 0, 0};
            ptx::wait(shared_.item_empty[item_ring_.stage], item_ring_.parity ^ 1);
            shared_.item[item_ring_.stage] = at;
            ptx::arrive(shared_.item_full[item_ring_.stage]);
            item_ring_.advance();
            ptx::wait(shared_.q_empty[q_ring_.stage], q_ring_.parity ^ 1);
            if (!exists) break;
            const core::schedule plan = schedule_of<tile>(a_, at.batch);
            const key_run run = key_run::of<tile::keys>(plan, at.row_tile);
            const core::band& mask = plan.mask;
            const auto narrow = [&](index_t key) { return static_cast<int>(core::clamp(key, -far, mask.k_len)); };
            shared_.row[q_ring_.stage] = {at.batch,
                                          at.head,
                                          at.row_tile,
                                          run.visible_begin,
                                          run.visible_end,
                                          narrow(mask.offset - mask.left),
                                          narrow(mask.offset + mask.right + 1),
                                          static_cast<int>(mask.k_len),
                                          narrow_offset(mask.offset),
                                          a_.score.slope_of(a_.shape.features, at.batch, at.head)};
            if (run.begin == run.end) {
                ptx::arrive(shared_.q_full[q_ring_.stage]);
            } else {
                load_panels<tile::rows, tile::dim>(shared_.q[q_ring_.stage], q_map_, shared_.q_full[q_ring_.stage],
                                                   at.row_tile * tile::rows, at.head, at.batch);
            }
            q_ring_.advance();
        }
        shared_.row[q_ring_.stage] = {-1};
        ptx::arrive(shared_.q_full[q_ring_.stage]);
    }

  private:
    /// With two Q tiles the next row tile is taken when Q of the one before this has been read: a block then has one row
    /// tile in hand beside the one it works on. With one Q tile it is taken at once, or its first keys would come late.
    __device__ __forceinline__ std::uint32_t next(std::uint32_t n) {
        if (a_.workspace == nullptr) return n + order_.blocks;
        if constexpr (tile::q_stages > 1) ptx::wait(shared_.q_empty[q_ring_.stage], q_ring_.parity ^ 1);
        ptx::wait(shared_.counter_is_open, 0);
        return item_counter::of(a_).take(order_.blocks, order_.items);
    }

    static constexpr index_t far = index_t{1} << 30; ///< more than any row's number
    static __device__ __forceinline__ int narrow_offset(index_t offset) {
        return static_cast<int>(core::clamp(offset, -far, far));
    }
    const forward_arguments& a_;
    const work_order& order_;
    sm90_shared<tile>& shared_;
    const CUtensorMap& q_map_;
    ring<sm90_shared<tile>::items> item_ring_;
    ring<tile::q_stages> q_ring_;
};

/// Brings K and V of the row tiles that the query producer names, in the order of need: K of a tile, then V of the tile
/// before it.
template <class tile>
class key_producer {
  public:
    __device__ __forceinline__ key_producer(const forward_arguments& a, sm90_shared<tile>& shared,
                                            const CUtensorMap& k_map, const CUtensorMap& v_map)
        : a_(a), shared_(shared), k_map_(k_map), v_map_(v_map) {}

    __device__ __forceinline__ void run() {
        for (head_rows at = take(); at.batch >= 0; at = take()) produce(at);
        load_pending_value();
    }

  private:
    __device__ __forceinline__ head_rows take() {
        ptx::wait(shared_.item_full[item_ring_.stage], item_ring_.parity);
        const head_rows at = shared_.item[item_ring_.stage];
        ptx::arrive(shared_.item_empty[item_ring_.stage]);
        item_ring_.advance();
        return at;
    }

    __device__ __forceinline__ void produce(const head_rows& at) {
        const key_run run = key_run::of<tile::keys>(schedule_of<tile>(a_, at.batch), at.row_tile);
        // A row tile without keys: the consumers pass it when they have used the last V before it.
        if (run.begin == run.end) load_pending_value();
        for (int n = run.begin; n < run.end; ++n) {
            const int first = n * tile::keys;
            int flags = n + 1 == run.end ? key_note::last : 0;
            if (first < run.common_begin) flags |= key_note::cut_left;
            if (first + tile::keys > run.common_end) flags |= key_note::cut_right;
            // Values that no row sees must not count; beyond the tensor zeros arrive.
            const int seen_end = run.visible_end < static_cast<int>(a_.shape.k_len) ? run.visible_end : beyond_all_keys;
            if (first < run.visible_begin || first + tile::keys > seen_end) flags |= key_note::trim;
            load_key(at, {first, flags});
            load_pending_value();
            pending_key_ = first;
            pending_head_ = at.kv_head;
            pending_batch_ = at.batch;
        }
    }

    __device__ __forceinline__ void load_key(const head_rows& at, key_note note) {
        ptx::wait(shared_.k_empty[k_ring_.stage], k_ring_.parity ^ 1);
        shared_.key[k_ring_.stage] = note;
        load_panels<tile::keys, tile::dim>(shared_.k[k_ring_.stage], k_map_, shared_.k_full[k_ring_.stage], note.first,
                                           at.kv_head, at.batch);
        k_ring_.advance();
    }

    __device__ __forceinline__ void load_pending_value() {
        if (pending_key_ < 0) return;
        ptx::wait(shared_.v_empty[v_ring_.stage], v_ring_.parity ^ 1);
        load_panels<tile::keys, tile::value_dim>(shared_.v[v_ring_.stage], v_map_, shared_.v_full[v_ring_.stage],
                                                 pending_key_, pending_head_, pending_batch_);
        pending_key_ = -1;
        v_ring_.advance();
    }

    static constexpr int beyond_all_keys = 0x7fffffff;
    const forward_arguments& a_;
    sm90_shared<tile>& shared_;
    const CUtensorMap& k_map_;
    const CUtensorMap& v_map_;
    ring<sm90_shared<tile>::items> item_ring_;
    ring<tile::stages> k_ring_;
    ring<tile::stages> v_ring_;
    int pending_key_ = -1; ///< first key of the K tile whose V is still to be loaded; -1: none
    int pending_head_ = 0;
    int pending_batch_ = 0;
};

} // namespace pantile::inline v0::cuda
