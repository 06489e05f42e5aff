#pragma once

#include "arguments.hpp"
#include "tile/load.cuh"
#include "tile/order.hpp"
#include "tile/product_fma.cuh"
#include "tile/product_half.cuh"
#include "tile/product_tf32.cuh"
#include "tile/score.cuh"
#include "tile/softmax.cuh"
#include "tile/split.hpp"
#include "tile/store.cuh"
#include "tile/tile_run.hpp"

#include <pantile/core/schedule.hpp>
#include <pantile/core/walk.hpp>

// Forward attention on any GPU from sm_80 on: the core's walk, run by the threads of one block on the warp matrix unit
// (mma.sync), or by multiply-adds. One block a row tile; each warp holds 16 or 32 query rows and all keys of a tile. What
// depends on the type, the two products, is a parameter: see tile/product_half.cuh, tile/product_tf32.cuh and tile/product_fma.cuh.

namespace pantile::inline v0::cuda {

/// Static sizes of one kernel: padded head dim, packed query rows and keys of a tile, warps; blocks that a multiprocessor
/// should hold at least (registers are shared out accordingly); warps that share 16 rows, each with its share of O's columns
/// and scores of its own (where all of O's columns would not fit a warp's registers).
template <class T, int dim_, int rows_, int keys_, int warps_, int resident_ = 1, int column_groups_ = 1>
struct portable_tile {
    using input = T;
    static constexpr int dim = dim_;
    static constexpr int rows = rows_;
    static constexpr int keys = keys_;
    static constexpr int warps = warps_;
    static constexpr int resident = resident_;
    static constexpr int column_groups = column_groups_;
    static constexpr int threads = 32 * warps;
    static constexpr int rows_of_warp = rows * column_groups / warps;
    static constexpr int blocks_of_16 = rows_of_warp / 16;
    static constexpr int held_dim = dim / column_groups; ///< columns of O that one warp holds
    static constexpr int q_bytes = tile_bytes(rows, dim, sizeof(T));
    static constexpr int kv_bytes = tile_bytes(keys, dim, sizeof(T));
    /// Q, then one K tile and one V tile: K of the next step loads while P·V runs, V while Q·Kᵀ runs.
    static constexpr int shared_bytes = q_bytes + 2 * kv_bytes + tile_alignment;
    static_assert(rows_of_warp % 16 == 0 && keys % 16 == 0 && dim % 32 == 0);

    static __device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x / 32); }
    /// First row of this warp in the tile.
    static __device__ __forceinline__ int first_row() { return warp() / column_groups * rows_of_warp; }
    /// First column of O that this warp holds.
    static __device__ __forceinline__ int first_column() { return warp() % column_groups * held_dim; }
};

/// What a block knows of its work, once in shared memory: two dozen numbers of 64 bits, each looked at once a tile, where
/// registers are short.
template <class T>
struct block_work {
    tile_run run;
    core::band mask;
    core::span rows;    ///< of the row tile, in positions
    core::span visible; ///< keys that some row of the tile sees
    index_t k_len;
    const T* k; ///< first key of the sequence
    const T* v;
    int batch;
    int first_head; ///< of the packed heads
    int split;
};

/// The machine that core::walk::forward drives. Every thread of the block runs the walk.
template <class product, class tile>
class portable_machine {
    using T = typename tile::input;
    using V = typename product::value;

  public:
    __device__ portable_machine(const forward_arguments& a, block_work<T>& work, char* tiles)
        : a_(a), work_(work), tiles_(tiles) {}

    __device__ __forceinline__ void open(const core::row_tile&) {
        active_ = position(tile::first_row()) < work_.rows.end;
        load_queries();
        ptx::copy_async_commit();
        if constexpr (!scales_scores) multiply_queries(); // in the loop it would cost registers that are not there
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (V& x : o_[m]) x = V(0);
            state_[m][0] = state_[m][1] = row_softmax<V>::start();
        }
    }

    /// One K tile and one V tile are under way or in use at any time: K of the next tile while this one's V is used.
    __device__ __forceinline__ void fetch_key(const tile_run::tile& t) {
        __syncthreads(); // all have read K of the tile before
        const index_t first = first_key(t);
        const int keys =
            t.due == core::visit::full ? tile::keys : static_cast<int>(core::min(work_.k_len - first, tile::keys));
        load_tile<tile::keys, tile::dim, tile::threads>(
            k_tile(), tile_source<T>{work_.k + first * a_.k_layout.row, a_.k_layout.row, 0, keys,
                                     static_cast<int>(a_.shape.head_dim), a_.vectors});
        ptx::copy_async_commit();
        key_under_way_ = true;
    }

    __device__ __forceinline__ void fetch_value(const tile_run::tile& t) {
        __syncthreads(); // all have read V of the tile before
        const index_t first = first_key(t);
        int begin = 0;
        int end = tile::keys;
        if (t.due != core::visit::full) {
            begin = static_cast<int>(core::clamp(work_.visible.begin - first, 0, tile::keys));
            end = static_cast<int>(core::clamp(work_.visible.end - first, 0, tile::keys));
        }
        load_tile<tile::keys, tile::dim, tile::threads>(
            v_tile(), tile_source<T>{work_.v + first * a_.v_layout.row, a_.v_layout.row, begin, end,
                                     static_cast<int>(a_.shape.value_dim), a_.vectors});
        ptx::copy_async_commit();
        key_under_way_ = false;
    }

    template <class Tag>
    __device__ __forceinline__ void score(const tile_run::tile& t, Tag) {
        ptx::copy_async_wait<1>(); // Q and K have come, V may be under way
        __syncthreads();
#pragma unroll
        for (int m = 0; m < blocks; ++m) { // before the return: P of the tile before must not stay alive in registers
#pragma unroll
            for (V& x : s_[m]) x = V(0);
        }
        if (idle()) return;
        product::scores(s_, tiles_, k_tile(), tile::first_row());
        if constexpr (scales_scores) {
            const float sign = score_scale::of(a_.scale).sign;
            if (sign != 1.0F) {
#pragma unroll
                for (int m = 0; m < blocks; ++m) {
#pragma unroll
                    for (V& x : s_[m]) x *= sign;
                }
            }
        }
        if (std::is_same_v<Tag, core::partial_tile> && __builtin_expect(static_cast<long>(a_.scored), 0)) {
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
                const auto at = row_places<V>::of(
                    a_, first_key(t), [&](int r) { return position(packed_row(m, r)) + work_.mask.offset; },
                    [&](int r) {
                        return score_of<V>(a_).slope_of(a_.shape.features, work_.batch, head(packed_row(m, r)));
                    });
                apply_score_function(s_[m], score_of<V>(a_), at);
            }
        }
        if constexpr (std::is_same_v<Tag, core::partial_tile>) {
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
                const column_limits limits[2] = {limits_of(m, 0, first_key(t)), limits_of(m, 1, first_key(t))};
                hide(s_[m], limits);
            }
        }
    }

    __device__ __forceinline__ void accumulate(const tile_run::tile&) {
        if (key_under_way_) {
            ptx::copy_async_wait<1>(); // V has come, the next K may be under way
        } else {
            ptx::copy_async_wait<0>();
        }
        __syncthreads();
        if (idle()) return;
        const auto scale = static_cast<float>(a_.scale.exponent);
        float factor[blocks][2];
#pragma unroll
        for (int m = 0; m < blocks; ++m) fold<T>(s_[m], state_[m], factor[m], scale);
        product::values(o_, s_, factor, v_tile());
    }

    __device__ __forceinline__ void close() {
        ptx::copy_async_wait<0>();
#if __CUDA_ARCH__ >= 900
        if (a_.kind == out_kind::partial) cudaTriggerProgrammaticLaunchCompletion(); // the merge may take its place
#endif
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
            reduce_rows(state_[m]);
            V factor[2];
            finish_rows<raised_binades<T>>(
                a_, work_.batch, state_[m], factor, [&](int r) { return head(packed_row(m, r)); },
                [&](int r) { return !work_.mask.keys(position(packed_row(m, r))).empty(); });
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const int packed = packed_row(m, r);
                const index_t i = position(packed);
                store_finished<T, product::wide_columns>(
                    a_, work_.batch, head(packed), core::min(i, work_.rows.end - 1), work_.split, o_[m],
                    tile::first_column(), r, state_[m][r], factor[r], i < work_.rows.end);
            }
        }
    }

  private:
    static constexpr int blocks = tile::blocks_of_16;
    static constexpr bool scales_scores = sizeof(T) == 2; ///< and not Q

    /// This warp holds no rows of the tensor: a decode step fills few of a tile's rows. (Larger tiles are never that empty.)
    __device__ __forceinline__ bool idle() const { return blocks == 1 && tile::column_groups == 1 && !active_; }
    __device__ __forceinline__ static index_t first_key(const tile_run::tile& t) {
        return static_cast<index_t>(t.index) * tile::keys;
    }
    __device__ __forceinline__ int lane() const { return static_cast<int>(threadIdx.x % 32); }
    /// This thread's row r (0: g, 1: g + 8) of 16-row block m, as a packed row of the tile.
    __device__ __forceinline__ int packed_row(int m, int r) const {
        return tile::first_row() + 16 * m + fragment::row_of_lane(lane(), r);
    }
    /// Packed rows: heads_packed heads of one position stand together.
    __device__ __forceinline__ index_t position(int packed) const {
        return work_.rows.begin + packed / static_cast<int>(a_.heads_packed);
    }
    __device__ __forceinline__ index_t head(int packed) const {
        return work_.first_head + packed % static_cast<int>(a_.heads_packed);
    }
    __device__ __forceinline__ column_limits limits_of(int m, int r, index_t first_key) const {
        return column_limits::of(work_.mask, position(packed_row(m, r)), first_key, tile::keys);
    }

    __device__ __forceinline__ void load_queries() {
        if (a_.heads_packed == 1) {
            load_tile<tile::rows, tile::dim, tile::threads>(
                tiles_, tile_source<T>{static_cast<const T*>(a_.q) +
                                           a_.q_layout.place(work_.batch, work_.first_head, work_.rows.begin),
                                       a_.q_layout.row, 0, static_cast<int>(work_.rows.size()),
                                       static_cast<int>(a_.shape.head_dim), a_.vectors});
            return;
        }
        // Rows that do not exist stay as they are: no other row's result depends on them.
        constexpr int elements = 16 / static_cast<int>(sizeof(T));
        const auto* q = static_cast<const T*>(a_.q);
        const auto columns = static_cast<int>(a_.shape.head_dim);
        const int used = static_cast<int>(work_.rows.size() * a_.heads_packed);
        const auto row_at = [&](int row) { return q + a_.q_layout.place(work_.batch, head(row), position(row)); };
        if (a_.vectors) {
            constexpr int chunks = tile::dim / elements;
            for (int at = static_cast<int>(threadIdx.x); at < used * chunks; at += tile::threads) {
                const int row = at / chunks;
                const int column = at % chunks * elements;
                ptx::copy_async_16(tiles_ + chunk_offset<tile::rows>(row, at % chunks),
                                   column < columns ? row_at(row) + column : q, column < columns);
            }
            return;
        }
        for (int at = static_cast<int>(threadIdx.x); at < used * tile::dim; at += tile::threads) {
            const int row = at / tile::dim;
            const int column = at % tile::dim;
            *element_at<tile::rows, T>(tiles_, row, column) = column < columns ? row_at(row)[column] : T(0.0F);
        }
    }

    /// Awaits Q; its part of the scale joins it.
    __device__ __forceinline__ void multiply_queries() {
        const auto factor = static_cast<V>(a_.scale.query);
        if (factor == V(1)) return;
        ptx::copy_async_wait<0>();
        __syncthreads();
        multiply_shared<tile::q_bytes, tile::threads>(tiles_, factor);
        __syncthreads();
    }

    __device__ __forceinline__ char* k_tile() const { return tiles_ + tile::q_bytes; }
    __device__ __forceinline__ char* v_tile() const { return tiles_ + tile::q_bytes + tile::kv_bytes; }

    const forward_arguments& a_;
    block_work<T>& work_;
    char* tiles_; ///< Q, K, V
    bool key_under_way_ = false;
    bool active_ = true;
    V s_[blocks][tile::keys / 2];
    V o_[blocks][tile::held_dim / 2];
    row_state<V> state_[blocks][2];
};

/// Block x: (row tile, head, batch) in the order of `item`; block y: the split of the keys.
template <class product, class tile>
__global__ void __launch_bounds__(tile::threads, tile::resident)
    portable_kernel(const __grid_constant__ forward_arguments a) {
    extern __shared__ char raw[];
    char* shared = raw + (tile_alignment - ptx::shared_address(raw) % tile_alignment) % tile_alignment;
    const index_t positions = a.tiles.row_tile / a.heads_packed;
    const auto groups = static_cast<int>(a.shape.q_heads / a.heads_packed); // of packed heads
    const work_item work =
        item(blockIdx.x, static_cast<unsigned>(a.shape.batch * groups),
             static_cast<unsigned>(core::ceil_div(a.shape.q_len, positions)), static_cast<unsigned>(a.tail));
    const int batch = work.head / groups;
    const int first_head = work.head % groups * static_cast<int>(a.heads_packed);
    using T = typename tile::input;
    __shared__ alignas(block_work<T>) char memory[sizeof(block_work<T>)];
    auto& facts = *reinterpret_cast<block_work<T>*>(memory);
    if (threadIdx.x == 0) {
        const core::sequence whole = a.shape.sequence_of(batch);
        const core::sequence part =
            whole.part(split_keys(whole.k_len, tile::keys, a.tiles.key_splits, static_cast<index_t>(blockIdx.y)));
        const index_t kv_head = a.shape.kv_head(first_head);
        const core::schedule plan(part, a.shape.band_of(part), positions, tile::keys);
        facts.run = tile_run::of<tile::keys>(plan, work.row_tile);
        if (a.scored) facts.run.full_end = facts.run.full_begin; // scores change where masks cut
        facts.mask = plan.mask;
        facts.rows = facts.run.row_span;
        facts.visible = {plan.mask.lo(facts.rows.begin), plan.mask.hi(facts.rows.end - 1)};
        facts.k_len = part.k_len;
        facts.k = static_cast<const T*>(a.k) + a.k_layout.place(batch, kv_head, part.k_begin);
        facts.v = static_cast<const T*>(a.v) + a.v_layout.place(batch, kv_head, part.k_begin);
        facts.batch = batch;
        facts.first_head = first_head;
        facts.split = static_cast<int>(blockIdx.y);
    }
    __syncthreads();
    portable_machine<product, tile> machine(a, facts, shared);
    core::walk::forward(machine, facts.run, work.row_tile);
}

} // namespace pantile::inline v0::cuda
