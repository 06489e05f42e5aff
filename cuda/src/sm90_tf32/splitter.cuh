#pragma once

#include "../sm90/counter.cuh"
#include "../sm90/order.hpp"
#include "load.cuh"
#include "shared.cuh"
#include "split.cuh"

namespace pantile::inline v0::cuda {

/// The first warpgroup: brings K and V tiles, stage after stage, and splits them into planes. Each of its four warps does its
/// quarter of every stage on its own; only barriers of the ring join them. Copies run `ahead` stages before the splitting.
/// Its first thread also hands out the row tiles, one ahead.
template <class tile>
class tf32_splitter {
  public:
    __device__ __forceinline__ tf32_splitter(const forward_arguments& a, const work_order& order,
                                             tf32_shared<tile>& shared)
        : a_(a), order_(order), shared_(shared) {}

    __device__ __forceinline__ void run() {
        announce(0);
#pragma unroll 1
        for (unsigned row = 0;; ++row) {
            announce(row + 1); // the consumers ask for it before they are done with this one
            ptx::wait(shared_.note_full[row % tf32_notes], row / tf32_notes % 2);
            const tf32_note& at = shared_.note[row % tf32_notes];
            const bool ends = at.batch < 0;
            const bool loads = !ends && at.run.begin != at.run.end;
            int n = loads ? at.run.begin : 0;
            do {
#pragma unroll 1
                for (int part = 0; part < parts; ++part) {
                    if (loads) load(at, n * tile::keys, part);
                    ptx::copy_async_commit(); // perhaps an empty group: the oldest is always as many groups behind
                    // Without a load what is under way must not wait for the next: it may be far behind.
                    if (pending_ > (loads ? tile::ahead : 0)) split(loads ? part + 1 : parts);
                }
            } while (loads && ++n < at.run.end);
            if (ends) break;
            __syncwarp();
            ptx::arrive(shared_.note_empty[row % tf32_notes]);
        }
    }

  private:
    static constexpr int parts = tile::key_stages + tile::value_stages; ///< stages of a key tile, those of K first

    __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x % 32); }
    __device__ __forceinline__ static int warp() { return static_cast<int>(threadIdx.x / 32 % 4); }

    /// Notes this block's row tile number `row`: the first is the block's number; the next ones come from a counter if row
    /// tiles differ in length, else in turns.
    __device__ __forceinline__ void announce(unsigned row) {
        if (threadIdx.x != 0 || ended_) return;
        unsigned item = blockIdx.x + row * order_.blocks;
        if (row > 0 && a_.workspace != nullptr) {
            const item_counter counter = item_counter::of(a_);
            if (row == 1) counter.open();
            item = counter.take(order_.blocks, order_.items);
        }
        ptx::wait(shared_.note_empty[row % tf32_notes], row / tf32_notes % 2 ^ 1);
        tf32_note& to = shared_.note[row % tf32_notes];
        to.batch = -1;
        ended_ = item >= order_.items;
        if (!ended_) {
            const head_rows at = order_.item(item);
            const core::schedule plan = schedule_of<tile>(a_, at.batch);
            to.batch = at.batch;
            to.head = at.head;
            to.rows = plan.rows(at.row_tile);
            to.mask = plan.mask;
            to.run = key_run::of<tile::keys>(plan, at.row_tile);
            const auto head = [&](const void* first, const layout& l) {
                return static_cast<const float*>(first) + l.place(at.batch, at.kv_head, 0);
            };
            to.source[0] = {head(a_.k, a_.k_layout), 0, static_cast<int>(plan.mask.k_len)};
            // Values that no row sees must not count: they may be infinite, and 0 times that is NaN.
            to.source[1] = {head(a_.v, a_.v_layout), to.run.visible_begin, to.run.visible_end};
        }
        ptx::arrive(shared_.note_full[row % tf32_notes]);
    }

    /// This warp's part of the next stage: part `part` of the key tile whose first key is `first_key`.
    __device__ __forceinline__ void load(const tf32_note& at, int first_key, int part) {
        const bool of_value = part >= tile::key_stages;
        const tf32_source source = at.source[of_value ? 1 : 0]; // read while we wait
        ptx::wait(shared_.empty[loads_.stage], loads_.parity ^ 1);
        if (a_.vectors) {
            load<true>(source, of_value, first_key, part);
        } else {
            load<false>(source, of_value, first_key, part);
        }
        loads_.advance();
        ++pending_;
    }
    template <bool vectors>
    __device__ __forceinline__ void load(const tf32_source& source, bool of_value, int first_key, int part) {
        if (of_value) {
            part -= tile::key_stages;
            with_columns<tile::last_value_columns>(part == tile::value_stages - 1, [&](auto columns) {
                copy<vectors, value_planes<tile, columns>>(value_place_, source, a_.v_layout.row, a_.shape.value_dim,
                                                           first_key, part);
            });
        } else {
            with_columns<tile::last_key_columns>(part == tile::key_stages - 1, [&](auto columns) {
                copy<vectors, key_planes<tile, columns>>(key_place_, source, a_.k_layout.row, a_.shape.head_dim,
                                                         first_key, part);
            });
        }
    }
    template <bool vectors, class planes>
    __device__ __forceinline__ void copy(int place, const tf32_source& source, index_t stride, index_t dim,
                                         int first_key, int part) {
        char* to = shared_.stage[loads_.stage].high;
        const int key = first_key + warp() * 8 + lane() / 8;
        const int column = part * tf32_stage_columns + lane() % 8 * 4;
        const int columns = static_cast<int>(dim) - column;
        const float* from = source.head + key * stride + column;
#pragma unroll(vectors ? planes::groups : 1)
        for (int group = 0; group < planes::groups; ++group) {
#pragma unroll(vectors ? 2 : 1)
            for (int half = 0; half < 2; ++half) {
                const bool wanted = static_cast<unsigned>(key - source.begin + 32 * group + 4 * half) <
                                    static_cast<unsigned>(source.end - source.begin);
#pragma unroll(vectors ? planes::panels : 1)
                for (int panel = 0; panel < planes::panels; ++panel) {
                    copy_chunk<vectors>(to + planes::place(place, group, panel, half), from + panel * tf32_panel,
                                        wanted ? columns - panel * tf32_panel : 0);
                }
                from += (half == 0 ? 4 : 28) * stride;
            }
        }
    }

    /// Splits the oldest stage that has not been. The next to load is part `next_part` of a key tile.
    __device__ __forceinline__ void split(int next_part) {
        ptx::copy_async_wait<tile::ahead>();
        int s = loads_.stage - pending_;
        s = s < 0 ? s + tile::stages : s;
        int part = next_part - pending_;
        part = part < 0 ? part + parts : part;
        --pending_;
        char* high = shared_.stage[s].high;
        char* low = shared_.stage[s].low;
        if (part < tile::key_stages) {
            with_columns<tile::last_key_columns>(part == tile::key_stages - 1, [&](auto columns) {
                key_planes<tile, columns>::split(high, low, key_place_);
            });
        } else {
            with_columns<tile::last_value_columns>(
                part == parts - 1, [&](auto columns) { value_planes<tile, columns>::split(high, low, value_place_); });
        }
        ptx::fence_async_proxy();
        __syncwarp();
        ptx::arrive(shared_.full[s]);
    }

    const forward_arguments& a_;
    const work_order& order_;
    tf32_shared<tile>& shared_;
    ring<tile::stages> loads_;
    int key_place_ = key_planes<tile, tf32_stage_columns>::lane_place();
    int value_place_ = value_planes<tile, tf32_stage_columns>::lane_place();
    bool ended_ = false; ///< all row tiles have been noted
    int pending_ = 0;    ///< stages that have been loaded and not split
};

} // namespace pantile::inline v0::cuda
