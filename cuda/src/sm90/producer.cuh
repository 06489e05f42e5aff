#pragma once

#include "../ptx/copy.cuh"
#include "../tile/key_run.hpp"
#include "order.hpp"
#include "shared.cuh"

namespace pantile::cuda {

/// The producer: one thread that has the copy engine bring every tile, as far ahead as the rings allow. The order is that
/// of need: K of a tile, V of the tile before it, and Q behind the first K of its row tile.
template <class tile>
class sm90_producer {
  public:
    __device__ __forceinline__ sm90_producer(const forward_arguments& a, const work_order& order,
                                             sm90_shared<tile>& shared, const CUtensorMap& q_map,
                                             const CUtensorMap& k_map, const CUtensorMap& v_map)
        : a_(a), order_(order), shared_(shared), q_map_(q_map), k_map_(k_map), v_map_(v_map) {}

    /// Items come from a counter if row tiles differ in length, else in turns.
    __device__ __forceinline__ void run() {
        std::uint32_t n = a_.next_item != nullptr ? atomicAdd(a_.next_item, 1U) : blockIdx.x;
        while (n < order_.items) {
            const head_rows at = order_.item(n);
            // Asked for now, needed when this row tile's loads are on their way.
            n = a_.next_item != nullptr ? atomicAdd(a_.next_item, 1U) : n + order_.blocks;
            produce(at);
        }
        load_pending_value();
        note_row({-1, 0, 0, 0, 0});
        ptx::arrive(shared_.q_full[q_ring_.stage]);
    }

  private:
    __device__ __forceinline__ void produce(const head_rows& at) {
        const key_run run = key_run::of<tile::keys>(schedule_of<tile>(a_, at.batch), at.row_tile);
        const row_note row{at.batch, at.head, at.row_tile, run.visible_begin, run.visible_end};
        if (run.begin == run.end) {
            load_pending_value();
            note_row(row);
            ptx::arrive(shared_.q_full[q_ring_.stage]);
            q_ring_.advance();
            return;
        }
        // Values that no row sees must not count; beyond the tensor zeros arrive.
        const bool trims_first = run.begin * tile::keys < run.visible_begin;
        const bool trims_last =
            run.end * tile::keys > run.visible_end && run.visible_end < static_cast<int>(a_.shape.k_len);
        for (int n = run.begin; n < run.end; ++n) {
            const bool first = n == run.begin;
            const bool last = n + 1 == run.end;
            const bool trims = (first && trims_first) || (last && trims_last);
            load_key(at.batch, at.kv_head,
                     {n * tile::keys, (run.hides<tile::keys>(n) ? key_note::partial : 0) | (last ? key_note::last : 0) |
                                          (trims ? key_note::trim : 0)});
            load_pending_value();
            if (first) load_query(row);
            pending_key_ = n * tile::keys;
            pending_head_ = at.kv_head;
            pending_batch_ = at.batch;
        }
    }

    /// One tile, a panel of 64 columns at a time; its bytes count against `done`.
    template <int rows, int columns>
    __device__ __forceinline__ static void load(char* to, const CUtensorMap& map, ptx::barrier& done, int row, int head,
                                                int batch) {
        ptx::arrive_expecting(done, tile_bytes(rows, columns));
#pragma unroll
        for (int panel = 0; panel < columns / panel_columns; ++panel) {
            ptx::copy_box(to + panel * rows * panel_row_bytes, map, done, panel * panel_columns, row, head, batch);
        }
    }

    __device__ __forceinline__ void load_key(int batch, int kv_head, key_note note) {
        ptx::wait(shared_.k_empty[k_ring_.stage], k_ring_.parity ^ 1);
        shared_.key[k_ring_.stage] = note;
        load<tile::keys, tile::dim>(shared_.k[k_ring_.stage], k_map_, shared_.k_full[k_ring_.stage], note.first,
                                    kv_head, batch);
        k_ring_.advance();
    }

    __device__ __forceinline__ void load_pending_value() {
        if (pending_key_ < 0) return;
        ptx::wait(shared_.v_empty[v_ring_.stage], v_ring_.parity ^ 1);
        load<tile::keys, tile::value_dim>(shared_.v[v_ring_.stage], v_map_, shared_.v_full[v_ring_.stage], pending_key_,
                                          pending_head_, pending_batch_);
        pending_key_ = -1;
        v_ring_.advance();
    }

    __device__ __forceinline__ void note_row(const row_note& note) {
        ptx::wait(shared_.q_empty[q_ring_.stage], q_ring_.parity ^ 1);
        shared_.row[q_ring_.stage] = note;
    }

    __device__ __forceinline__ void load_query(const row_note& row) {
        note_row(row);
        load<tile::rows, tile::dim>(shared_.q[q_ring_.stage], q_map_, shared_.q_full[q_ring_.stage],
                                    row.row_tile * tile::rows, row.head, row.batch);
        q_ring_.advance();
    }

    const forward_arguments& a_;
    const work_order& order_;
    sm90_shared<tile>& shared_;
    const CUtensorMap& q_map_;
    const CUtensorMap& k_map_;
    const CUtensorMap& v_map_;
    ring<tile::q_stages> q_ring_;
    ring<tile::stages> k_ring_;
    ring<tile::stages> v_ring_;
    int pending_key_ = -1; ///< first key of the K tile whose V is still to be loaded; -1: none
    int pending_head_ = 0;
    int pending_batch_ = 0;
};

} // namespace pantile::cuda
