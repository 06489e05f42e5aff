#pragma once

#include "../f64/warp.cuh"
#include "../ptx/barrier.cuh"
#include "../ptx/copy.cuh"

namespace pantile::inline v0::cuda {

/// f64_tile with a ring of `slots` tiles, which K and V take in turns.
template <int slots_, int... sizes>
struct sm90_f64_tile : f64_tile<sizes...> {
    static constexpr int slots = slots_;
};

/// The tensors as the copy engine sees them: a tile is one box where the columns fill whole panels, else a box a panel.
struct sm90_f64_maps {
    CUtensorMap k;
    CUtensorMap v;
    bool whole_k;
    bool whole_v;
};

template <class tile>
struct alignas(tile_alignment) sm90_f64_shared {
    char ring[tile::slots][tile::kv_bytes];
    char q[tile::q_bytes];
    double table[f64_steps]; ///< of f64_exp2
    alignas(16) char exchange[tile::exchange_bytes + 16];
    ptx::barrier full[tile::slots];
    ptx::barrier empty[tile::slots]; ///< an arrival a thread
    alignas(f64_work) char work[sizeof(f64_work)];
};

/// The machine that core::walk::forward drives, in every thread of a block. The copy engine brings K and V through a ring, as
/// far ahead as it holds. No barrier spans the block in the main loop: one warp's products fill the unit while the other
/// warp of its quadrant is in its softmax.
template <class tile, bool scored>
class sm90_f64_machine {
  public:
    __device__ __forceinline__ sm90_f64_machine(const forward_arguments& a, const f64_constants& constants,
                                                sm90_f64_shared<tile>& shared, const sm90_f64_maps& maps)
        : shared_(shared), work_(*reinterpret_cast<const f64_work*>(shared.work)), maps_(maps),
          ring_(ptx::shared_address(shared.ring)), warp_(a, constants, work_, shared.q, shared.exchange, shared.table) {
    }

    __device__ __forceinline__ void open(const core::row_tile&) {
        if (threadIdx.x == 0) {
#pragma unroll 1
            for (int n = 0; n < tile::slots && exists(n); ++n) fill(n);
        }
        __syncwarp();
        warp_.fetch_queries();
        ptx::copy_async_commit();
        ptx::copy_async_wait<0>();
        __syncwarp();
        warp_.multiply_queries(shared_.q);
    }

    // The ring runs ahead on its own.
    __device__ __forceinline__ void fetch_key(const tile_run::tile&) {}
    __device__ __forceinline__ void fetch_value(const tile_run::tile&) {}

    template <class Tag>
    __device__ __forceinline__ void score(const tile_run::tile& t, Tag tag) {
        ptx::wait(shared_.full[slot_], parity_);
        warp_.multiply(place());
        pass_on();
        warp_.finish_scores(first_key(t), tag);
    }
    __device__ __forceinline__ void accumulate(const tile_run::tile& t) {
        ptx::wait(shared_.full[slot_], parity_);
        if (t.due != core::visit::full) trim(first_key(t));
        warp_.fold_and_accumulate(place());
        pass_on();
    }
    __device__ __forceinline__ void close() { warp_.store(); }

  private:
    __device__ __forceinline__ static index_t first_key(const tile_run::tile& t) {
        return static_cast<index_t>(t.index) * tile::keys;
    }
    __device__ __forceinline__ std::uint32_t place() const {
        return ring_ + static_cast<std::uint32_t>(slot_ * tile::kv_bytes);
    }

    /// Item n of the run: K of its tile n / 2, or V if n is odd.
    __device__ __forceinline__ bool exists(int n) const { return n / 2 < work_.run.end - work_.run.begin; }
    /// Has the copy engine bring it. What lies outside the tensor arrives as zeros.
    __device__ __forceinline__ void fill(int n) {
        const int first = (work_.run.begin + n / 2) * tile::keys;
        const int slot = n % tile::slots;
        ptx::barrier& full = shared_.full[slot];
        ptx::arrive_expecting(full, tile::kv_bytes);
        const CUtensorMap& map = n % 2 == 0 ? maps_.k : maps_.v;
        if (n % 2 == 0 ? maps_.whole_k : maps_.whole_v) {
            ptx::copy_box(shared_.ring[slot], map, full, 0, first, 0, work_.kv_head, work_.batch);
            return;
        }
#pragma unroll 1
        for (int panel = 0; panel < tile::dim / 16; ++panel) {
            ptx::copy_box(shared_.ring[slot] + panel * tile::panel_bytes, map, full, panel * 16, first, work_.kv_head,
                          work_.batch);
        }
    }

    /// This warp has read its item. One of the warps, in turns, refills the slot of the item before, once all have read that:
    /// it rarely waits. (With two slots that would be late: it refills this item's.)
    __device__ __forceinline__ void pass_on() {
        constexpr int lag = tile::slots > 2 ? 1 : 0;
        ptx::arrive(shared_.empty[slot_]); // each lane for what it has read itself
        if (f64_warp<tile, scored>::lane() == 0) {
            const int read = item_ - lag;
            const int next = read + tile::slots;
            if (read >= 0 && item_ % tile::warps == f64_warp<tile, scored>::warp() && exists(next)) {
                ptx::wait(shared_.empty[read % tile::slots], static_cast<std::uint32_t>(read / tile::slots % 2));
                fill(next);
            }
        }
        __syncwarp();
        ++item_;
        if (++slot_ == tile::slots) {
            slot_ = 0;
            parity_ ^= 1;
        }
    }

    /// Values that no row of the tile sees become zeros: infinities and NaN among them would meet zero probabilities.
    __device__ __forceinline__ void trim(index_t first) {
        const core::span rows = work_.visible_of(first, tile::keys);
        if (rows.size() == tile::keys) return;
        for (int i = static_cast<int>(threadIdx.x); i < tile::kv_bytes / 16; i += tile::threads) {
            const int row = i / 8 % tile::keys; // rows of 128 bytes
            if (row >= rows.begin && row < rows.end) continue;
            *reinterpret_cast<double2*>(shared_.ring[slot_] + i * 16) = make_double2(0.0, 0.0);
        }
        ptx::fence_async_proxy(); // before the copy engine writes there again
        __syncthreads();
    }

    sm90_f64_shared<tile>& shared_;
    const f64_work& work_;
    const sm90_f64_maps& maps_;
    std::uint32_t ring_;
    int item_ = 0; ///< items that this warp has read
    int slot_ = 0; ///< item_ mod slots
    std::uint32_t parity_ = 0;
    f64_warp<tile, scored> warp_;
};

} // namespace pantile::inline v0::cuda
