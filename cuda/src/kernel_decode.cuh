#pragma once

#include "arguments.hpp"
#include "decode/arrivals.cuh"
#include "decode/merge.cuh"
#include "decode/tile.hpp"
#include "ptx/copy.cuh"
#include "tile/product_half.cuh"
#include "tile/score.cuh"
#include "tile/softmax.cuh"
#include "tile/split.hpp"

// Forward attention of few query rows in fp16 and bf16, from sm_80 on. All that counts is that K and V, read once, come at
// the full speed of memory from the first moment to the last. A block has the rows of one kv head (16 at most, the heads of
// the group packed) and a split of the keys. Its warps take key tiles of 16 in turns and do not wait for each other: each
// has a ring of tiles under way (cp.async) and an O of its own. The warps' results are merged in shared memory, those of
// the splits in global memory, by the last block of the kv head to come by, in index order. The loop over key tiles is not
// core::walk's, which brings K and V for the whole block, one step ahead: here a step is a warp's own, and several are ahead.
//
// Traffic of a key tile: 32·(dim + value_dim) bytes, once (8 KB at d 128; a warp has two or three tiles under way). A split
// writes rows·(value_dim + 2) floats, and one block a kv head reads them.

namespace pantile::inline v0::cuda {

template <class T, class tile>
class decode_block {
  public:
    __device__ __forceinline__ decode_block(const forward_arguments& a, char* shared)
        : a_(a), shared_(shared), group_(static_cast<int>(a.heads_packed)),
          used_(static_cast<int>(a.shape.q_len) * group_),
          batch_(static_cast<int>(blockIdx.x / static_cast<unsigned>(a.shape.kv_heads))),
          kv_head_(static_cast<int>(blockIdx.x % static_cast<unsigned>(a.shape.kv_heads))) {
        const core::sequence keys = a.shape.sequence_of(batch_);
        const core::band mask = a.shape.band_of(keys);
        const core::span visible = {mask.lo(0), mask.hi(a.shape.q_len - 1)};
        // Tiles that some row sees, and of them this split's.
        const auto first = static_cast<unsigned>(visible.begin / tile::keys);
        const auto past = static_cast<unsigned>((visible.end + tile::keys - 1) / tile::keys);
        const core::span tiles = share_of(visible.empty() ? 0U : past - first, gridDim.y, blockIdx.y);
        tiles_ = static_cast<int>(tiles.size());
        const index_t origin = (first + tiles.begin) * tile::keys;
        diagonal_ = mask.offset - origin;
        const auto within = [&](index_t key) {
            return static_cast<int>(core::clamp(key - origin, 0, tiles_ * tile::keys));
        };
        exist_ = within(keys.k_len);
        visible_begin_ = within(visible.begin);
        visible_end_ = within(visible.end);
        common_begin_ = within(mask.lo(a.shape.q_len - 1));
        common_end_ = within(mask.hi(0));
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const index_t i = core::min((lane() / 4 + 8 * r) / group_, a.shape.q_len - 1);
            sees_[r] = {within(mask.lo(i)), within(mask.hi(i))};
        }
        const index_t first_row = origin + warp() * tile::keys + lane() / row_chunks;
        k_ = static_cast<const T*>(a.k) + a.k_layout.place(batch_, kv_head_, first_row) + lane() % row_chunks * 8;
        v_ = static_cast<const T*>(a.v) + a.v_layout.place(batch_, kv_head_, first_row) + lane() % row_chunks * 8;
    }

    __device__ __forceinline__ void run() {
        fold_keys();
        hand_over();
        if (gridDim.y == 1) {
            for_each_piece([&](int row, int column) { store(of_warps(row, column), row, column); });
        } else {
            merge_splits();
        }
    }

  private:
    static constexpr int row_chunks = tile::dim / 8; ///< 16-byte pieces of a row

    __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x % 32); }
    __device__ __forceinline__ static int warp() { return static_cast<int>(threadIdx.x / 32); }
    __device__ __forceinline__ char* ring(int w) const { return shared_ + tile::q_bytes + w * tile::ring_bytes; }

    // -------------------------------------------------------------------------------------------------------- keys

    /// All of this warp's key tiles: warp, warp + warps, ... of the split.
    __device__ __forceinline__ void fold_keys() {
        const std::uint64_t seen = gridDim.y > 1 && threadIdx.x == 0 ? arrivals_word().peek() : 0;
        load_queries();
        int next = warp();
#pragma unroll 1
        for (int stage = 0; stage < tile::stages; ++stage, next += tile::warps) load_tiles(stage, next);
        if (gridDim.y > 1 && threadIdx.x == 0) arrivals_word().claim(seen);
        ptx::copy_async_wait<tile::stages - 1>();
        __syncthreads(); // all of Q
#pragma unroll
        for (float& x : o_[0]) x = 0.0F;
        state_[0] = state_[1] = row_softmax<float>::start();
        int stage = 0;
#pragma unroll 1
        for (int t = warp(); t < tiles_; t += tile::warps, next += tile::warps) {
            ptx::copy_async_wait<tile::stages - 1>();
            __syncwarp();
            fold_tile(stage, t * tile::keys);
            __syncwarp(); // all lanes have read
            load_tiles(stage, next);
            stage = stage + 1 == tile::stages ? 0 : stage + 1;
        }
        ptx::copy_async_wait<0>();
        reduce_rows(state_);
    }

    /// Q of the used rows; the others are 0.
    __device__ __forceinline__ void load_queries() const {
        const auto* q = static_cast<const T*>(a_.q);
        for (int at = static_cast<int>(threadIdx.x); at < tile::rows * row_chunks; at += tile::threads) {
            const int row = at / row_chunks;
            const int chunk = at % row_chunks;
            const bool exists = row < used_ && chunk * 8 < static_cast<int>(a_.shape.head_dim);
            const T* from = exists ? q + a_.q_layout.place(batch_, head(row), position(row)) + chunk * 8 : q;
            ptx::copy_async_16(shared_ + chunk_offset<tile::rows>(row, chunk), from, exists);
        }
    }

    /// Starts the copies of K and V of tile `t`, this warp's next, into `stage`, if there is such a tile. One group in any
    /// case.
    __device__ __forceinline__ void load_tiles(int stage, int t) {
        if (t < tiles_) {
            const int first = t * tile::keys;
            const std::uint32_t to = ptx::shared_address(ring(warp())) + stage * (2 * tile::kv_bytes);
            load_tile(to, k_, a_.k_layout.row, a_.shape.head_dim, 0, exist_ - first);
            load_tile(to + tile::kv_bytes, v_, a_.v_layout.row, a_.shape.value_dim, visible_begin_ - first,
                      visible_end_ - first);
        }
        ptx::copy_async_commit();
    }

    /// One tile by one warp, a lane's pieces in one column; `from` is the lane's first piece and moves on to the warp's next
    /// tile. Rows outside [begin, end) become zeros: what lies there (an unfilled cache, say) may be NaN, and 0 times it
    /// would not be 0.
    __device__ __forceinline__ void load_tile(std::uint32_t to, const T*& from, index_t stride, index_t columns,
                                              int begin, int end) const {
        constexpr int step = 32 / row_chunks; // rows
        const int row = lane() / row_chunks;
        const int bytes = lane() % row_chunks * 8 < static_cast<int>(columns) ? 16 : 0;
        const bool whole = begin <= 0 && end >= tile::keys;
        const T* at = from;
#pragma unroll
        for (int i = 0; i < tile::keys; i += step) {
            const bool exists = whole || (row + i >= begin && row + i < end);
            ptx::copy_async_16(to + chunk_offset<tile::keys>(row + i, lane() % row_chunks), at, exists ? bytes : 0,
                               policy_);
            at += step * stride;
        }
        from += tile::warps * tile::keys * stride;
    }

    __device__ __forceinline__ void fold_tile(int stage, int first) {
        const char* k = ring(warp()) + stage * (2 * tile::kv_bytes);
        const score_scale scale = score_scale::of(a_.scale);
        float s[1][tile::keys / 2] = {};
        product_half<T, tile>::scores(s, shared_, k, 0);
        if (scale.sign != 1.0F) {
#pragma unroll
            for (float& x : s[0]) x *= scale.sign;
        }
        if (__builtin_expect(static_cast<long>(a_.scored), 0)) {
            apply_score_function(
                s[0], a_.score,
                row_places<float>::of(
                    a_, first, [&](int r) { return diagonal_ + position(fragment::row_of_lane(lane(), r)); },
                    [&](int r) {
                        return a_.score.slope_of(a_.shape.features, batch_, head(fragment::row_of_lane(lane(), r)));
                    }));
        }
        if (first < common_begin_ || first + tile::keys > common_end_) {
            const column_limits limits[2] = {{sees_[0].begin - first, sees_[0].end - first},
                                             {sees_[1].begin - first, sees_[1].end - first}};
            hide(s[0], limits);
        }
        float factor[1][2];
        fold<T>(s[0], state_, factor[0], scale.scale);
        product_half<T, tile>::values(o_, s, factor, k + tile::kv_bytes);
    }

    // ------------------------------------------------------------------------------------------------------- rows

    /// Packed rows: the group's heads of one position stand together.
    __device__ __forceinline__ index_t position(int row) const { return row / group_; }
    __device__ __forceinline__ index_t head(int row) const { return kv_head_ * group_ + row % group_; }

    /// The block's threads share out the used rows in pieces of four columns.
    template <class Work>
    __device__ __forceinline__ void for_each_piece(const Work& work) const {
        constexpr int pieces = tile::dim / 4;
        for (int n = static_cast<int>(threadIdx.x); n < used_ * pieces; n += tile::threads) {
            work(n / pieces, n % pieces * 4);
        }
    }
    __device__ __forceinline__ void store(const row_piece& piece, int row, int column) const {
        row_state<float> state[1] = {piece.state};
        float factor[1];
        finish_rows<raised_binades<T>>(
            a_, batch_, state, factor, [&](int) { return head(row); },
            [&](int) { return !a_.shape.band_of(a_.shape.sequence_of(batch_)).keys(position(row)).empty(); });
        piece.store<T>(a_, batch_, head(row), position(row), column, state[0], factor[0]);
    }

    /// O of this warp into its ring, its {max, sum} beside it.
    __device__ __forceinline__ void hand_over() const {
        auto* out = reinterpret_cast<float*>(ring(warp()));
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int row = fragment::row_of_lane(lane(), r);
            if (row >= used_) continue;
#pragma unroll
            for (int j = 0; j < tile::dim / 8; ++j) {
                *reinterpret_cast<float2*>(out + row * tile::out_stride + 8 * j + lane() % 4 * 2) =
                    make_float2(o_[0][4 * j + 2 * r], o_[0][4 * j + 2 * r + 1]);
            }
            if (lane() % 4 == 0) warp_states()[warp() * tile::rows + row] = state_[r];
        }
        __syncthreads();
    }
    __device__ __forceinline__ static row_state<float>* warp_states() {
        __shared__ alignas(16) char memory[tile::warps * tile::rows * sizeof(row_state<float>)];
        return reinterpret_cast<row_state<float>*>(memory);
    }
    __device__ __forceinline__ row_piece of_warps(int row, int column) const {
        row_piece piece;
        piece.add<tile::warps>(
            tile::warps, [&](int w) { return warp_states()[w * tile::rows + row]; },
            [&](int w) {
                return *reinterpret_cast<const float4*>(reinterpret_cast<const float*>(ring(w)) +
                                                        row * tile::out_stride + column);
            });
        return piece;
    }

    // ------------------------------------------------------------------------------------------------------ splits

    __device__ __forceinline__ arrivals arrivals_word() const {
        return {static_cast<std::uint64_t*>(a_.workspace) + blockIdx.x, a_.ticket};
    }
    __device__ __forceinline__ void merge_splits() const {
        const decode_parts parts{gridDim.x, gridDim.y, used_, static_cast<int>(a_.shape.value_dim)};
        auto* first_part = reinterpret_cast<float*>(static_cast<char*>(a_.workspace) + parts.first_byte());
        float* own = first_part + parts.place(blockIdx.x, blockIdx.y);
        for_each_piece([&](int row, int column) {
            const row_piece piece = of_warps(row, column);
            if (column < parts.columns) {
                *reinterpret_cast<float4*>(own + row * parts.columns + column) =
                    make_float4(piece.o[0], piece.o[1], piece.o[2], piece.o[3]);
            }
            if (column == 0) {
                reinterpret_cast<float2*>(own + used_ * parts.columns)[row] =
                    make_float2(piece.state.max, piece.state.sum);
            }
        });
        __shared__ bool last;
        __syncthreads();
        if (threadIdx.x == 0) {
            __threadfence(); // the block's part before its arrival
            last = arrivals_word().is_last_of(gridDim.y);
            __threadfence(); // the arrival before the reads of the others' parts
        }
        __syncthreads();
        if (!last) return;
        const float* all = first_part + parts.place(blockIdx.x, 0);
        for_each_piece([&](int row, int column) {
            row_piece piece;
            piece.add<16>(
                static_cast<int>(gridDim.y),
                [&](int n) {
                    const float2 part =
                        __ldcg(reinterpret_cast<const float2*>(all + n * parts.floats() + used_ * parts.columns) + row);
                    return row_state<float>{part.x, part.y};
                },
                [&](int n) {
                    if (column >= parts.columns) return make_float4(0.0F, 0.0F, 0.0F, 0.0F);
                    return __ldcg(
                        reinterpret_cast<const float4*>(all + n * parts.floats() + row * parts.columns + column));
                });
            store(piece, row, column);
        });
    }

    const forward_arguments& a_;
    char* shared_; ///< Q, then a ring for each warp: stages of K and V
    int group_;
    int used_; ///< packed rows
    int batch_;
    int kv_head_;
    // Keys count from the split's first one.
    int tiles_;
    int exist_;                       ///< keys that the tensor has
    int visible_begin_, visible_end_; ///< that some row sees
    int common_begin_, common_end_;   ///< that every row sees
    column_limits sees_[2];           ///< that this thread's rows see
    index_t diagonal_;                ///< the key that position 0 stands at
    const T* k_;                      ///< this lane's first piece of the warp's next tile
    const T* v_;
    std::uint64_t policy_ = ptx::read_once_policy();
    row_state<float> state_[2];
    float o_[1][tile::dim / 2];
};

/// Block x: kv head, batch; block y: the split of the keys.
template <class T, class tile>
__global__ void __launch_bounds__(tile::threads, tile::resident)
    decode_kernel(const __grid_constant__ forward_arguments a) {
    extern __shared__ char raw[];
    decode_block<T, tile>(a, raw + (tile_alignment - ptx::shared_address(raw) % tile_alignment) % tile_alignment).run();
}

} // namespace pantile::inline v0::cuda
