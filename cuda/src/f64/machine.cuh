#pragma once

#include "../tile/load.cuh"
#include "warp.cuh"

namespace pantile::inline v0::cuda {

template <class tile>
struct alignas(tile_alignment) f64_shared {
    char k[tile::kv_bytes];
    char v[tile::kv_bytes];
    char q[tile::q_bytes];
    double table[f64_steps]; ///< of f64_exp2
    alignas(16) char exchange[tile::exchange_bytes + 16];
    alignas(f64_work) char work[sizeof(f64_work)];
};

/// The machine that core::walk::forward drives, in every thread of a block, on any GPU from sm_80 on. One K tile and one V
/// tile are under way or in use at any time: K of the next tile while this one's V is used.
template <class tile, bool scored>
class f64_machine {
  public:
    __device__ __forceinline__ f64_machine(const forward_arguments& a, const f64_constants& constants,
                                           const f64_work& work, f64_shared<tile>& shared)
        : a_(a), work_(work), shared_(shared), warp_(a, constants, work, shared.q, shared.exchange, shared.table) {}

    __device__ __forceinline__ void open(const core::row_tile&) {
        idle_ = tile::sharers == 1 && warp_.idle();
        warp_.fetch_queries();
        ptx::copy_async_commit();
        ptx::copy_async_wait<0>(); // in the loop the product would cost registers that are not there
        __syncwarp();
        warp_.multiply_queries(shared_.q);
    }

    __device__ __forceinline__ void fetch_key(const tile_run::tile& t) {
        __syncthreads(); // all have read K of the tile before
        const index_t first = first_key(t);
        const int rows =
            t.due == core::visit::full ? tile::keys : static_cast<int>(core::min(work_.k_len - first, tile::keys));
        load(shared_.k, a_.k, a_.k_layout, first, {0, rows}, a_.shape.head_dim);
        key_under_way_ = true;
    }
    __device__ __forceinline__ void fetch_value(const tile_run::tile& t) {
        __syncthreads(); // all have read V of the tile before
        const index_t first = first_key(t);
        const core::span rows =
            t.due == core::visit::full ? core::span{0, tile::keys} : work_.visible_of(first, tile::keys);
        load(shared_.v, a_.v, a_.v_layout, first, rows, a_.shape.value_dim);
        key_under_way_ = false;
    }

    template <class Tag>
    __device__ __forceinline__ void score(const tile_run::tile& t, Tag tag) {
        ptx::copy_async_wait<1>(); // Q and K have come, V may be under way
        __syncthreads();
        if (idle_) return;
        warp_.multiply(ptx::shared_address(shared_.k));
        warp_.finish_scores(first_key(t), tag);
    }
    __device__ __forceinline__ void accumulate(const tile_run::tile&) {
        if (key_under_way_) {
            ptx::copy_async_wait<1>(); // V has come, the next K may be under way
        } else {
            ptx::copy_async_wait<0>();
        }
        __syncthreads();
        if (!idle_) warp_.fold_and_accumulate(ptx::shared_address(shared_.v));
    }

    __device__ __forceinline__ void close() {
        ptx::copy_async_wait<0>();
#if __CUDA_ARCH__ >= 900
        if (a_.kind == out_kind::partial) cudaTriggerProgrammaticLaunchCompletion(); // the merge may take its place
#endif
        warp_.store();
    }

  private:
    __device__ __forceinline__ static index_t first_key(const tile_run::tile& t) {
        return static_cast<index_t>(t.index) * tile::keys;
    }
    __device__ __forceinline__ void load(char* to, const void* from, const layout& strides, index_t first,
                                         core::span rows, index_t columns) {
        const double* at =
            static_cast<const double*>(from) + strides.place(work_.batch, work_.kv_head, work_.k_begin + first);
        load_tile<tile::keys, tile::dim, tile::threads>(
            to, tile_source<double>{at, strides.row, static_cast<int>(rows.begin), static_cast<int>(rows.end),
                                    static_cast<int>(columns), a_.vectors});
        ptx::copy_async_commit();
    }

    const forward_arguments& a_;
    const f64_work& work_;
    f64_shared<tile>& shared_;
    f64_warp<tile, scored> warp_;
    bool key_under_way_ = false;
    bool idle_ = false;
};

} // namespace pantile::inline v0::cuda
