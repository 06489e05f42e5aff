#pragma once

#include "arguments.hpp"
#include "ptx/ldmatrix.cuh"
#include "ptx/mma.cuh"
#include "tile/load.cuh"
#include "tile/order.hpp"
#include "tile/softmax.cuh"
#include "tile/store.cuh"

#include <pantile/core/schedule.hpp>
#include <pantile/core/walk.hpp>

// Forward attention for fp16 and bf16 on any GPU from sm_80 on: the core's walk, run by the threads of one block on the
// warp matrix unit (mma.sync). One block a row tile; each warp holds rows / warps query rows and all keys of a tile.

namespace pantile::cuda {

/// Static sizes of one kernel: padded head dim, packed query rows and keys of a tile, warps.
template <int dim_, int rows_, int keys_, int warps_>
struct portable_tile {
    static constexpr int dim = dim_;
    static constexpr int rows = rows_;
    static constexpr int keys = keys_;
    static constexpr int warps = warps_;
    static constexpr int threads = 32 * warps;
    static constexpr int blocks_of_16 = rows / warps / 16; ///< 16-row blocks of a warp
    /// Blocks that share a multiprocessor at least; decode steps live by the loads that several have under way.
    static constexpr int resident = rows == 64 && dim <= 128 ? 2 : 1;
    /// Q, then one K tile and one V tile: K of the next step loads while P·V runs, V while Q·Kᵀ runs.
    static constexpr int shared_bytes = tile_bytes(rows, dim) + 2 * tile_bytes(keys, dim) + tile_alignment;
    static_assert(rows % (16 * warps) == 0 && keys % 16 == 0 && dim % 32 == 0);
};

/// The machine that core::walk::forward drives. Every thread of the block runs the walk.
template <class T, class tile>
class portable_machine {
  public:
    __device__ portable_machine(const forward_arguments& a, const core::schedule& plan, index_t batch, index_t kv_head,
                                index_t first_head, index_t split, index_t first_key, char* shared)
        : a_(a), plan_(plan), batch_(batch), first_head_(first_head), split_(split),
          k_(static_cast<const T*>(a.k) + a.k_layout.place(batch, kv_head, first_key)),
          v_(static_cast<const T*>(a.v) + a.v_layout.place(batch, kv_head, first_key)), q_tile_(shared),
          k_tile_(shared + tile_bytes(tile::rows, tile::dim)), v_tile_(k_tile_ + tile_bytes(tile::keys, tile::dim)),
          scale_(score_scale::of(a.shape.scale)) {}

    __device__ __forceinline__ void open(const core::row_tile& rows) {
        rows_ = rows.rows;
        active_ = position(warp() * blocks * 16) < rows_.end;
        visible_ = {plan_.mask.lo(rows_.begin), plan_.mask.hi(rows_.end - 1)};
        load_queries();
        ptx::copy_async_commit();
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int i = 0; i < tile::dim / 2; ++i) o_[m][i] = 0.0F;
            state_[m][0] = state_[m][1] = row_softmax::start();
        }
    }

    /// One K tile and one V tile are under way or in use at any time: K of the next tile while this one's V is used.
    __device__ __forceinline__ void fetch_key(const core::key_tile& t) {
        __syncthreads(); // all have read K of the tile before
        load_tile<tile::keys, tile::dim, tile::threads>(
            k_tile_, tile_source<T>{k_ + t.keys.begin * a_.k_layout.row, a_.k_layout.row, 0,
                                    static_cast<int>(t.keys.size()), static_cast<int>(a_.shape.head_dim), a_.vectors});
        ptx::copy_async_commit();
        key_under_way_ = true;
    }

    __device__ __forceinline__ void fetch_value(const core::key_tile& t) {
        __syncthreads(); // all have read V of the tile before
        const int begin = static_cast<int>(core::clamp(visible_.begin - t.keys.begin, 0, t.keys.size()));
        const int end = static_cast<int>(core::clamp(visible_.end - t.keys.begin, 0, t.keys.size()));
        load_tile<tile::keys, tile::dim, tile::threads>(
            v_tile_, tile_source<T>{v_ + t.keys.begin * a_.v_layout.row, a_.v_layout.row, begin, end,
                                    static_cast<int>(a_.shape.value_dim), a_.vectors});
        ptx::copy_async_commit();
        key_under_way_ = false;
    }

    template <class Tag>
    __device__ __forceinline__ void score(const core::key_tile& t, Tag) {
        ptx::copy_async_wait<1>(); // Q and K have come, V may be under way
        __syncthreads();
        if (!active_) return;
        multiply_queries_keys();
        if (scale_.sign != 1.0F) {
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
#pragma unroll
                for (int i = 0; i < tile::keys / 2; ++i) s_[m][i] *= scale_.sign;
            }
        }
        if (std::is_same_v<Tag, core::partial_tile> || t.keys.size() < tile::keys) {
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
                const column_limits limits[2] = {limits_of(m, 0, t.keys.begin), limits_of(m, 1, t.keys.begin)};
                hide(s_[m], limits);
            }
        }
    }

    __device__ __forceinline__ void accumulate(const core::key_tile&) {
        if (key_under_way_) {
            ptx::copy_async_wait<1>(); // V has come, the next K may be under way
        } else {
            ptx::copy_async_wait<0>();
        }
        __syncthreads();
        if (!active_) return;
        float factor[blocks][2];
        std::uint32_t p[blocks][tile::keys / 4];
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
            fold(s_[m], state_[m], factor[m], scale_.scale);
#pragma unroll
            for (int i = 0; i < tile::keys / 4; ++i) p[m][i] = ptx::pack<T>(s_[m][2 * i], s_[m][2 * i + 1]);
        }
        multiply_probabilities_values(p, factor);
    }

    __device__ __forceinline__ void close() {
        ptx::copy_async_wait<0>();
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
            reduce_rows(state_[m]);
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const int packed = packed_row(m, r);
                const index_t i = position(packed);
                finish_row<T>(a_, batch_, head(packed), core::min(i, rows_.end - 1), split_, o_[m], r, state_[m][r],
                              i < rows_.end);
            }
        }
    }

  private:
    static constexpr int blocks = tile::blocks_of_16;

    __device__ __forceinline__ int lane() const { return static_cast<int>(threadIdx.x % 32); }
    __device__ __forceinline__ int warp() const { return static_cast<int>(threadIdx.x / 32); }
    /// This thread's row r (0: g, 1: g + 8) of 16-row block m, as a packed row of the tile.
    __device__ __forceinline__ int packed_row(int m, int r) const {
        return (warp() * blocks + m) * 16 + lane() / 4 + 8 * r;
    }
    /// Packed rows: heads_packed heads of one position stand together.
    __device__ __forceinline__ index_t position(int packed) const {
        return rows_.begin + packed / static_cast<int>(a_.heads_packed);
    }
    __device__ __forceinline__ index_t head(int packed) const {
        return first_head_ + packed % static_cast<int>(a_.heads_packed);
    }
    __device__ __forceinline__ column_limits limits_of(int m, int r, index_t first_key) const {
        return column_limits::of(plan_.mask, position(packed_row(m, r)), first_key, tile::keys);
    }

    __device__ __forceinline__ void load_queries() {
        if (a_.heads_packed == 1) {
            load_tile<tile::rows, tile::dim, tile::threads>(
                q_tile_,
                tile_source<T>{static_cast<const T*>(a_.q) + a_.q_layout.place(batch_, first_head_, rows_.begin),
                               a_.q_layout.row, 0, static_cast<int>(rows_.size()), static_cast<int>(a_.shape.head_dim),
                               a_.vectors});
            return;
        }
        const auto* q = static_cast<const T*>(a_.q);
        const auto columns = static_cast<int>(a_.shape.head_dim);
        for (int at = static_cast<int>(threadIdx.x); at < tile::rows * tile::dim; at += tile::threads) {
            const int row = at / tile::dim;
            const int column = at % tile::dim;
            const index_t i = position(row);
            const bool valid = i < rows_.end && column < columns;
            const T x = valid ? q[a_.q_layout.place(batch_, head(row), i) + column] : T(0.0F);
            *reinterpret_cast<T*>(q_tile_ + chunk_offset<tile::rows>(row, column / 8) + column % 8 * 2) = x;
        }
    }

    /// S = Q·Kᵀ, 16 columns of the head dim at a time.
    __device__ __forceinline__ void multiply_queries_keys() {
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int i = 0; i < tile::keys / 2; ++i) s_[m][i] = 0.0F;
        }
        const int l = lane();
#pragma unroll
        for (int x = 0; x < tile::dim / 16; ++x) {
            std::uint32_t a[blocks][4];
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
                const int row = (warp() * blocks + m) * 16 + l % 16;
                ptx::load_matrices(a[m], q_tile_ + chunk_offset<tile::rows>(row, 2 * x + l / 16));
            }
#pragma unroll
            for (int j = 0; j < tile::keys / 16; ++j) {
                std::uint32_t b[4]; // keys 0-7 and 8-15 of the block, columns 0-7 and 8-15 each
                ptx::load_matrices(b,
                                   k_tile_ + chunk_offset<tile::keys>(16 * j + l % 8 + l / 16 * 8, 2 * x + l / 8 % 2));
#pragma unroll
                for (int m = 0; m < blocks; ++m) {
                    ptx::mma_16<T>(&s_[m][8 * j], a[m], b[0], b[1]);
                    ptx::mma_16<T>(&s_[m][8 * j + 4], a[m], b[2], b[3]);
                }
            }
        }
    }

    /// O = O·factor + P·V, 16 keys at a time.
    __device__ __forceinline__ void multiply_probabilities_values(const std::uint32_t (&p)[blocks][tile::keys / 4],
                                                                  const float (&factor)[blocks][2]) {
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
            if constexpr (blocks == 1) { // with two blocks the branch costs registers that are not there
                // Most tiles raise no maximum of the warp's rows: then the factors are 1.
                if (!__any_sync(0xffffffffU, factor[m][0] != 1.0F || factor[m][1] != 1.0F)) continue;
            }
#pragma unroll
            for (int i = 0; i < tile::dim / 2; ++i) o_[m][i] *= factor[m][i / 2 % 2];
        }
        const int l = lane();
#pragma unroll
        for (int j = 0; j < tile::keys / 16; ++j) {
#pragma unroll
            for (int x = 0; x < tile::dim / 16; ++x) {
                std::uint32_t b[4]; // keys 0-7 and 8-15, of columns 0-7, then of columns 8-15
                ptx::load_matrices_transposed(b, v_tile_ + chunk_offset<tile::keys>(16 * j + l % 16, 2 * x + l / 16));
#pragma unroll
                for (int m = 0; m < blocks; ++m) {
                    ptx::mma_16<T>(&o_[m][8 * x], &p[m][4 * j], b[0], b[1]);
                    ptx::mma_16<T>(&o_[m][8 * x + 4], &p[m][4 * j], b[2], b[3]);
                }
            }
        }
    }

    const forward_arguments& a_;
    const core::schedule& plan_;
    index_t batch_;
    index_t first_head_;
    index_t split_;
    const T* k_;
    const T* v_;
    char* q_tile_;
    char* k_tile_;
    char* v_tile_;
    score_scale scale_;
    core::span rows_;
    core::span visible_; ///< keys that some row of the tile sees
    bool key_under_way_ = false;
    bool active_ = true; ///< this warp holds rows of the tensor (a decode step fills few of a tile's rows)
    float s_[blocks][tile::keys / 2];
    float o_[blocks][tile::dim / 2];
    row_state state_[blocks][2];
};

/// Keys of split `split` of `splits`, whole key tiles each.
PANTILE_FN core::span split_keys(index_t k_len, index_t key_tile, index_t splits, index_t split) {
    const index_t tiles = core::ceil_div(core::ceil_div(k_len, key_tile), splits);
    return {core::min(split * tiles * key_tile, k_len), core::min((split + 1) * tiles * key_tile, k_len)};
}

/// Block x: (row tile, head, batch) in the order of `item`; block y: the split of the keys.
template <class T, class tile>
__global__ void __launch_bounds__(tile::threads, tile::resident)
    portable_kernel(const __grid_constant__ forward_arguments a) {
    extern __shared__ char raw[];
    char* shared = raw + (tile_alignment - ptx::shared_address(raw) % tile_alignment) % tile_alignment;
    const index_t positions = a.tiles.row_tile / a.heads_packed;
    const index_t groups = a.shape.q_heads / a.heads_packed; // of packed heads
    const work_item work =
        item(blockIdx.x, static_cast<unsigned>(a.shape.batch * groups),
             static_cast<unsigned>(core::ceil_div(a.shape.q_len, positions)), static_cast<unsigned>(a.tail));
    const index_t batch = work.head / groups;
    const index_t first_head = work.head % groups * a.heads_packed;
    const core::sequence whole = a.shape.sequence_of(batch);
    const core::span part = split_keys(whole.k_len, tile::keys, a.tiles.key_splits, blockIdx.y);
    const core::sequence sequence = whole.part(part);
    const core::schedule plan(sequence, a.shape.band_of(sequence), positions, tile::keys);
    portable_machine<T, tile> machine(a, plan, batch, a.shape.kv_head(first_head), first_head, blockIdx.y,
                                      sequence.k_begin, shared);
    core::walk::forward(machine, plan, work.row_tile);
}

} // namespace pantile::cuda
