#pragma once

#include "arguments.hpp"
#include "ptx/barrier.cuh"
#include "ptx/copy.cuh"
#include "ptx/registers.cuh"
#include "ptx/wgmma.cuh"
#include "ptx/wgmma_tf32.cuh"
#include "tile/key_run.hpp"
#include "tile/load.cuh"
#include "tile/order.hpp"
#include "tile/softmax.cuh"
#include "tile/split_planes.cuh"
#include "tile/store.cuh"
#include "tile/swizzle.hpp"

#include <pantile/core/schedule.hpp>

// Forward attention in fp32 on Hopper (sm_90a): every product is three tf32 products of the warpgroup matrix unit,
// x·y = high·high + (high·low + low·high). One block a row tile. Its first warpgroup, the splitter, brings K and V tiles and
// splits them into high and low planes in shared memory, once for all rows of the tile. The other warpgroups, 64 query rows
// each, split Q and P in registers and multiply. While one of them does its softmax, the matrix unit works for the other.
// A key tile costs the matrix unit 3·rows·keys·(dim + value_dim) / 1024 clocks: 6144 for 128 x 64 at d 128.

namespace pantile::cuda {

/// Static sizes of one kernel.
template <int dim_, int keys_, int consumers_, int splitter_registers_, int consumer_registers_>
struct tf32_tile {
    static constexpr int dim = dim_; ///< padded head dim and value dim
    static constexpr int keys = keys_;
    static constexpr int consumers = consumers_; ///< warpgroups of 64 query rows
    static constexpr int rows = 64 * consumers;
    static constexpr int threads = 128 * (consumers + 1);
    static constexpr int splitter_registers = splitter_registers_;
    static constexpr int consumer_registers = consumer_registers_;
    static constexpr int q_bytes = tile_bytes(rows, dim, 4);
    static constexpr int kv_bytes = tile_bytes(keys, dim, 4);
    static constexpr int panels = dim / 32; ///< of Q and K: 128 bytes of a row
    static_assert(panels >= 2 && panels <= 4 && dim % 32 == 0 && keys == 64);
    // setmaxnreg hands out what the block was given at its launch and no more.
    static_assert(splitter_registers + consumers * consumer_registers <= 65536 / threads / 8 * 8 * (consumers + 1));
};

/// What a block works on, once in shared memory: each number is looked at once a tile at most, and registers are short.
struct tf32_work {
    int batch;
    int head;
    core::span rows; ///< of the row tile
    core::band mask;
    key_run run;

    template <class tile>
    static __device__ __forceinline__ tf32_work of(const forward_arguments& a) {
        const auto q_heads = static_cast<unsigned>(a.shape.q_heads);
        const work_item work =
            item(blockIdx.x, static_cast<unsigned>(a.shape.batch) * q_heads,
                 static_cast<unsigned>(core::ceil_div(a.shape.q_len, tile::rows)), static_cast<unsigned>(a.tail));
        const int batch = work.head / static_cast<int>(q_heads);
        const core::sequence sequence = a.shape.sequence_of(batch);
        const core::schedule plan{sequence, a.shape.band_of(sequence), tile::rows, tile::keys};
        return {batch, work.head % static_cast<int>(q_heads), plan.rows(work.row_tile), plan.mask,
                key_run::of<tile::keys>(plan, work.row_tile)};
    }
};

/// K and V have one pair of planes each: while the rows multiply by one pair the splitter fills the other. It reads from one
/// raw tile, K and V in turns.
template <class tile>
struct tf32_shared {
    alignas(tile_alignment) char q[tile::q_bytes];
    alignas(tile_alignment) char raw[tile::kv_bytes];
    alignas(tile_alignment) char k_high[tile::kv_bytes];
    alignas(tile_alignment) char k_low[tile::kv_bytes];
    alignas(tile_alignment) char v_high[tile::kv_bytes]; ///< transposed: rows are columns of V
    alignas(tile_alignment) char v_low[tile::kv_bytes];
    ptx::barrier q_full;
    ptx::barrier k_full, k_empty;
    ptx::barrier v_full, v_empty;
    tf32_work work;
};

/// The first warpgroup. Tile after tile: K raw, K split, V raw, V split; each raw tile loads while the rows still multiply
/// by the planes that its parts will replace.
template <class tile>
class tf32_splitter {
  public:
    __device__ __forceinline__ tf32_splitter(const forward_arguments& a, tf32_shared<tile>& shared)
        : a_(a), shared_(shared), work_(shared.work) {
        const index_t kv_head = a.shape.kv_head(work_.head);
        k_ = static_cast<const float*>(a.k) + a.k_layout.place(work_.batch, kv_head, 0);
        v_ = static_cast<const float*>(a.v) + a.v_layout.place(work_.batch, kv_head, 0);
    }

    __device__ __forceinline__ void run() {
        if (work_.run.begin == work_.run.end) return;
        load_key(work_.run.begin);
        const float* q = static_cast<const float*>(a_.q) + a_.q_layout.place(work_.batch, work_.head, work_.rows.begin);
        load_tile<tile::rows, tile::dim, 128>(
            shared_.q, tile_source<float>{q, a_.q_layout.row, 0, static_cast<int>(work_.rows.size()),
                                          static_cast<int>(a_.shape.head_dim), a_.vectors});
        ptx::copy_async_commit();
        std::uint32_t parity = 0;
        for (int n = work_.run.begin; n < work_.run.end; ++n, parity ^= 1) {
            if (n == work_.run.begin) {
                ptx::copy_async_wait<0>();
                ptx::named_sync<1, 128>();
                if (threadIdx.x == 0) ptx::arrive(shared_.q_full);
            } else {
                await_raw();
            }
            ptx::wait(shared_.k_empty, parity ^ 1);
            split_tile<tile::kv_bytes, 128>(shared_.k_high, shared_.k_low, shared_.raw);
            publish(shared_.k_full);
            load_value(n);
            await_raw();
            ptx::wait(shared_.v_empty, parity ^ 1);
            split_transposed<tile::keys, tile::dim, 128>(shared_.v_high, shared_.v_low, shared_.raw);
            publish(shared_.v_full);
            if (n + 1 < work_.run.end) load_key(n + 1);
        }
    }

  private:
    /// This warpgroup's copies into the raw tile have come.
    __device__ __forceinline__ static void await_raw() {
        ptx::copy_async_wait<0>();
        ptx::named_sync<1, 128>();
    }
    /// The planes are written, the raw tile is read.
    __device__ __forceinline__ static void publish(ptx::barrier& full) {
        ptx::fence_async_proxy();
        ptx::named_sync<1, 128>();
        if (threadIdx.x == 0) ptx::arrive(full);
    }

    __device__ __forceinline__ void load_key(int n) {
        const index_t first = static_cast<index_t>(n) * tile::keys;
        const auto rows = static_cast<int>(core::min(work_.mask.k_len - first, tile::keys));
        load_tile<tile::keys, tile::dim, 128>(shared_.raw,
                                              tile_source<float>{k_ + first * a_.k_layout.row, a_.k_layout.row, 0, rows,
                                                                 static_cast<int>(a_.shape.head_dim), a_.vectors});
        ptx::copy_async_commit();
    }
    /// Values that no row sees become zeros.
    __device__ __forceinline__ void load_value(int n) {
        const int first = n * tile::keys;
        load_tile<tile::keys, tile::dim, 128>(
            shared_.raw,
            tile_source<float>{v_ + first * a_.v_layout.row, a_.v_layout.row, work_.run.visible_begin - first,
                               work_.run.visible_end - first, static_cast<int>(a_.shape.value_dim), a_.vectors});
        ptx::copy_async_commit();
    }

    const forward_arguments& a_;
    tf32_shared<tile>& shared_;
    const tf32_work& work_;
    const float* k_;
    const float* v_;
};

/// One warpgroup of 64 query rows; `group` is its number among the consumers.
template <class tile>
class tf32_consumer {
  public:
    __device__ __forceinline__ tf32_consumer(const forward_arguments& a, tf32_shared<tile>& shared, int group)
        : a_(a), shared_(shared), work_(shared.work), group_(group), scale_(score_scale<float>::of(a.shape.scale)),
          k_high_(k_major_descriptor(ptx::shared_address(shared.k_high))),
          v_high_(k_major_descriptor(ptx::shared_address(shared.v_high))) {
        q_place_ = row() * panel_row_bytes + (lane() / 4) * 16 + (lane() % 4) * 4;
        state_[0] = state_[1] = row_softmax<float>::start();
#pragma unroll
        for (float& x : o_) x = 0.0F;
    }

    __device__ __forceinline__ void run() {
        if (work_.run.begin != work_.run.end) ptx::wait(shared_.q_full, 0);
        std::uint32_t parity = 0;
        for (int n = work_.run.begin; n < work_.run.end; ++n, parity ^= 1) {
            ptx::wait(shared_.k_full, parity);
            scores();
            release(shared_.k_empty);
            fold_scores(n);
            ptx::wait(shared_.v_full, parity);
            values();
            release(shared_.v_empty);
        }
        finish();
    }

  private:
    __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x % 32); }
    __device__ __forceinline__ static int warp() { return static_cast<int>(threadIdx.x / 32 % 4); }
    /// This thread's first row in the tile; the other is 8 further.
    __device__ __forceinline__ int row() const { return group_ * 64 + warp() * 16 + lane() / 4; }
    __device__ __forceinline__ static void release(ptx::barrier& b) {
        if (lane() == 0) ptx::arrive(b);
    }

    /// The A operands of a panel of Q, four steps of k: lane (g, t) holds rows g and g + 8 at columns 8x + t and 8x + t + 4.
    struct fragments {
        std::uint32_t high[4][4];
        std::uint32_t low[4][4];
    };
    __device__ __forceinline__ void load_queries(fragments& f, int panel) const {
#pragma unroll
        for (int x = 0; x < 4; ++x) {
#pragma unroll
            for (int i = 0; i < 4; ++i) { // row g + 8 (i % 2), chunk 2x + i / 2 of the panel: no bank conflicts
                const float q = *reinterpret_cast<const float*>(shared_.q + (q_place_ ^ ((2 * x + i / 2) * 16)) +
                                                                panel * (tile::rows * panel_row_bytes) +
                                                                i % 2 * (8 * panel_row_bytes));
                ptx::split_tf32(q, f.high[x][i], f.low[x][i]);
            }
        }
    }

    /// K's part for step x of a panel.
    __device__ __forceinline__ std::uint64_t key_part(bool high, int panel, int x) const {
        return k_high_ + static_cast<std::uint32_t>(
                             ((high ? 0 : tile::kv_bytes) + panel * (tile::keys * panel_row_bytes) + x * 32) >> 4);
    }
    __device__ __forceinline__ void issue_small(float (&to)[tile::keys / 2], const fragments& f, int panel,
                                                bool first) {
#pragma unroll
        for (int x = 0; x < 4; ++x) {
            ptx::wgmma_tf32<tile::keys>::rs(to, f.high[x], key_part(false, panel, x), !first || x != 0);
            ptx::wgmma_tf32<tile::keys>::rs(to, f.low[x], key_part(true, panel, x), 1);
        }
    }
    __device__ __forceinline__ void issue_large(float (&to)[tile::keys / 2], const fragments& f, int panel,
                                                bool first) {
#pragma unroll
        for (int x = 0; x < 4; ++x) {
            ptx::wgmma_tf32<tile::keys>::rs(to, f.high[x], key_part(true, panel, x), !first || x != 0);
        }
    }

    /// S = Q·Kᵀ. The unit's sums round towards zero, so that their errors have one sign: at most eight steps of large products
    /// go into one accumulator, and small products come before large ones. Those of the last two panels wait for all small
    /// ones; those before have an accumulator of their own. The parts of one panel of Q are made while the matrix unit works
    /// on the panel before.
    __device__ __forceinline__ void scores() {
        constexpr int panels = tile::panels;
        fragments f[2];
        float first[tile::keys / 2];
        ptx::pin(s_);
#pragma unroll
        for (int p = 0; p < panels; ++p) {
            if (p >= 2) ptx::wgmma_wait<1>(); // done with the parts that are replaced now
            load_queries(f[p % 2], p);
            ptx::wgmma_fence();
            issue_small(s_, f[p % 2], p, p == 0);
            if (p < panels - 2) issue_large(first, f[p % 2], p, p == 0);
            if (p == panels - 1) {
                issue_large(s_, f[(p - 1) % 2], p - 1, false);
                issue_large(s_, f[p % 2], p, false);
            }
            ptx::wgmma_commit();
        }
        ptx::wgmma_wait<0>();
        ptx::pin(s_);
        if constexpr (panels > 2) {
            ptx::pin(first);
#pragma unroll
            for (int i = 0; i < tile::keys / 2; ++i) s_[i] += first[i];
        }
    }

    /// Leaves 2^(logit - max) in s_.
    __device__ __forceinline__ void fold_scores(int n) {
        if (scale_.sign != 1.0F) {
#pragma unroll
            for (float& x : s_) x *= scale_.sign;
        }
        if (work_.run.hides<tile::keys>(n)) {
            const index_t i = work_.rows.begin + row();
            const index_t first = static_cast<index_t>(n) * tile::keys;
            const column_limits limits[2] = {column_limits::of(work_.mask, i, first, tile::keys),
                                             column_limits::of(work_.mask, i + 8, first, tile::keys)};
            hide(s_, limits);
        }
        fold(s_, state_, factor_, scale_.scale);
    }

    /// O = O·factor + P·V: a key tile's sums start at zero, small products first.
    __device__ __forceinline__ void values() {
        std::uint32_t high[tile::keys / 8][4];
        std::uint32_t low[tile::keys / 8][4];
#pragma unroll
        for (int x = 0; x < tile::keys / 8; ++x) {
#pragma unroll
            for (int i = 0; i < 4; ++i) { // row g + 8 (i % 2), key 8x + 2t + i / 2, column t + 4 (i / 2) of the operand
                ptx::split_tf32(s_[4 * x + 2 * (i % 2) + i / 2], high[x][i], low[x][i]);
            }
        }
        float sum[tile::dim / 2];
        const auto part = [&](bool is_high, int x) {
            return v_high_ +
                   static_cast<std::uint32_t>(
                       ((is_high ? 0 : tile::kv_bytes) + x / 4 * (tile::dim * panel_row_bytes) + x % 4 * 32) >> 4);
        };
        ptx::wgmma_fence();
#pragma unroll
        for (int x = 0; x < tile::keys / 8; ++x) {
            ptx::wgmma_tf32<tile::dim>::rs(sum, low[x], part(true, x), x != 0);
            ptx::wgmma_tf32<tile::dim>::rs(sum, high[x], part(false, x), 1);
        }
#pragma unroll
        for (int x = 0; x < tile::keys / 8; ++x) ptx::wgmma_tf32<tile::dim>::rs(sum, high[x], part(true, x), 1);
        ptx::wgmma_commit();
        ptx::wgmma_wait<0>();
        ptx::pin(sum);
#pragma unroll
        for (int i = 0; i < tile::dim / 2; ++i) o_[i] = fmaf(o_[i], factor_[i / 2 % 2], sum[i]);
    }

    __device__ __forceinline__ void finish() {
        reduce_rows(state_);
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const index_t i = work_.rows.begin + row() + 8 * r;
            finish_row<float, false>(a_, work_.batch, work_.head, core::min(i, a_.shape.q_len - 1), 0, o_, 0, r,
                                     state_[r], i < a_.shape.q_len);
        }
    }

    const forward_arguments& a_;
    tf32_shared<tile>& shared_;
    const tf32_work& work_;
    int group_;
    score_scale<float> scale_;
    std::uint64_t k_high_; ///< descriptors; the low planes follow the high ones
    std::uint64_t v_high_;
    int q_place_; ///< of this lane's first element of Q
    row_state<float> state_[2];
    float factor_[2];
    float s_[tile::keys / 2];
    float o_[tile::dim / 2];
};

template <class tile>
__global__ void __launch_bounds__(tile::threads, 1) sm90_tf32_kernel(const __grid_constant__ forward_arguments a) {
    extern __shared__ char raw[];
    auto& shared = *reinterpret_cast<tf32_shared<tile>*>(
        raw + (tile_alignment - ptx::shared_address(raw) % tile_alignment) % tile_alignment);
    if (threadIdx.x == 0) {
        ptx::initialise(shared.q_full, 1);
        ptx::initialise(shared.k_full, 1);
        ptx::initialise(shared.v_full, 1);
        ptx::initialise(shared.k_empty, 4 * tile::consumers);
        ptx::initialise(shared.v_empty, 4 * tile::consumers);
        ptx::fence_initialised_barriers();
        shared.work = tf32_work::of<tile>(a);
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        ptx::give_up_registers_to<tile::splitter_registers>();
        tf32_splitter<tile>(a, shared).run();
    } else {
        ptx::claim_registers_to<tile::consumer_registers>();
        tf32_consumer<tile>(a, shared, static_cast<int>(threadIdx.x) / 128 - 1).run();
    }
}

} // namespace pantile::cuda
