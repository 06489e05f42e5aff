#pragma once

#include "arguments.hpp"
#include "ptx/barrier.cuh"
#include "ptx/copy.cuh"
#include "ptx/registers.cuh"
#include "ptx/wgmma.cuh"
#include "tile/key_run.hpp"
#include "tile/order.hpp"
#include "tile/softmax.cuh"
#include "tile/store.cuh"
#include "tile/swizzle.hpp"

#include <pantile/core/schedule.hpp>

// Forward attention for fp16 and bf16 on Hopper (sm_90a). A block stays on its multiprocessor and takes row tiles one
// after the other. One warpgroup's first thread is the producer: it walks the core's schedule and has the copy engine
// bring Q, K and V tiles into shared memory, each K tile with a note that says where it stands and whether it is partial.
// The other warpgroups are consumers, 64 query rows each: S = Q·Kᵀ and O += P·V on the matrix unit, P from registers.
// While the matrix unit works on Q·K of the next tile and P·V of this one, the softmax of another warpgroup runs.

namespace pantile::cuda {

/// Static sizes of one kernel.
template <int dim_, int keys_, int consumers_, int q_stages_ = 1, bool take_turns_ = true, int value_dim_ = dim_>
struct sm90_tile {
    static constexpr int dim = dim_;             ///< padded head dim, a multiple of 64
    static constexpr int value_dim = value_dim_; ///< padded value dim, a multiple of 64
    static constexpr int keys = keys_;
    static constexpr int consumers = consumers_;    ///< warpgroups of 64 query rows
    static constexpr bool take_turns = take_turns_; ///< consumers issue matrix products in turns
    static constexpr int rows = 64 * consumers;
    static constexpr int stages = 2;           ///< of K, and of V
    static constexpr int q_stages = q_stages_; ///< 2: the next row tile's Q loads while this one's last tiles run
    /// The first scores of a row tile are issued beside the last P·V of the one before: where two Q tiles fit, and where
    /// registers for two row tiles' states do.
    static constexpr bool joins_row_tiles = q_stages == 2 && consumers == 2;
    static constexpr int threads = 128 * (consumers + 1);
    static constexpr int producer_registers = consumers == 2 ? 40 : 32;
    static constexpr int consumer_registers = consumers == 2 ? 232 : 160;
    static constexpr bool rescale_early =
        value_dim > 128; ///< O·factor before P·V is issued rather than after it is done

    static constexpr int q_bytes = tile_bytes(rows, dim);
    static constexpr int k_bytes = tile_bytes(keys, dim);
    static constexpr int v_bytes = tile_bytes(keys, value_dim);
    static constexpr int shared_bytes = q_stages * q_bytes + stages * (k_bytes + v_bytes) + 256 + tile_alignment;
    static_assert(consumers == 2 || consumers == 3);
    // setmaxnreg hands out what the block was given at its launch and no more: a warpgroup that asks for more waits forever.
    static_assert(producer_registers + consumers * consumer_registers <= 65536 / threads / 8 * 8 * (consumers + 1));
    static_assert(dim % 64 == 0 && value_dim % 64 == 0 && keys % 16 == 0);
};

/// What the producer tells the consumers with a K tile.
struct key_note {
    int first;                        ///< first key of the tile in the sequence
    int flags;                        ///< key_note::partial, key_note::last
    static constexpr int partial = 1; ///< some scores must be hidden
    static constexpr int last = 2;    ///< no further tile for this row tile
    static constexpr int trim = 4;    ///< rows of V outside the visible keys must be zeroed
};

/// What the producer tells the consumers with Q.
struct row_note {
    int batch; ///< -1: no more work
    int head;
    int row_tile;
    int empty; ///< the rows see no key
};

template <class tile>
struct sm90_shared {
    alignas(tile_alignment) char q[tile::q_stages][tile::q_bytes];
    alignas(tile_alignment) char k[tile::stages][tile::k_bytes];
    alignas(tile_alignment) char v[tile::stages][tile::v_bytes];
    ptx::barrier q_full[tile::q_stages], q_empty[tile::q_stages];
    ptx::barrier k_full[tile::stages], k_empty[tile::stages];
    ptx::barrier v_full[tile::stages], v_empty[tile::stages];
    key_note key[tile::stages];
    row_note row[tile::q_stages];
};

/// A place in a ring of barriers: the stage and the parity that a consumer waits for.
template <int stages>
struct ring {
    int stage = 0;
    std::uint32_t parity = 0;
    __device__ __forceinline__ void advance() {
        if (++stage == stages) {
            stage = 0;
            parity ^= 1;
        }
    }
};

/// The sequence and schedule of one batch.
template <class tile>
__device__ __forceinline__ core::schedule schedule_of(const forward_arguments& a, int batch) {
    const core::sequence sequence = a.shape.sequence_of(batch);
    return {sequence, a.shape.band_of(sequence), tile::rows, tile::keys};
}

/// The producer: one thread that has the copy engine bring every tile, as far ahead as the rings allow. The order is that
/// of need: K of a tile, V of the tile before it, and Q behind the first K of its row tile.
template <class tile>
class sm90_producer {
  public:
    __device__ __forceinline__ sm90_producer(const forward_arguments& a, sm90_shared<tile>& shared,
                                             const CUtensorMap& q_map, const CUtensorMap& k_map,
                                             const CUtensorMap& v_map)
        : a_(a), shared_(shared), q_map_(q_map), k_map_(k_map), v_map_(v_map) {}

    __device__ __forceinline__ void run() {
        const auto row_tiles = static_cast<unsigned>(core::ceil_div(a_.shape.q_len, tile::rows));
        const auto q_heads = static_cast<int>(a_.shape.q_heads);
        const auto heads = static_cast<unsigned>(a_.shape.batch) * static_cast<unsigned>(q_heads);
        const int group = q_heads / static_cast<int>(a_.shape.kv_heads);
        unsigned n = a_.next_item != nullptr ? atomicAdd(a_.next_item, 1U) : blockIdx.x;
        while (n < heads * row_tiles) {
            const work_item work = item(n, heads, row_tiles, static_cast<unsigned>(a_.tail));
            // Asked for now, needed when this row tile's loads are on their way.
            n = a_.next_item != nullptr ? atomicAdd(a_.next_item, 1U) : n + gridDim.x;
            const int batch = work.head / q_heads;
            const int head = work.head % q_heads;
            produce(batch, head, head / group, work.row_tile);
        }
        load_pending_value();
        note_row({-1, 0, 0, 1});
        ptx::arrive(shared_.q_full[q_ring_.stage]);
    }

  private:
    __device__ __forceinline__ void produce(int batch, int head, int kv_head, int row_tile) {
        const key_run run = key_run::of<tile::keys>(schedule_of<tile>(a_, batch), row_tile);
        if (run.begin == run.end) {
            load_pending_value();
            note_row({batch, head, row_tile, 1});
            ptx::arrive(shared_.q_full[q_ring_.stage]);
            q_ring_.advance();
            return;
        }
        // Values that no row sees must not count; beyond the tensor zeros arrive.
        const int trim_above = run.visible_end < static_cast<int>(a_.shape.k_len) ? run.visible_end : 0x7fffffff;
        for (int n = run.begin; n < run.end; ++n) {
            const int first_key = n * tile::keys;
            const bool trim = first_key < run.visible_begin || first_key + tile::keys > trim_above;
            load_key(batch, kv_head,
                     {first_key, (run.hides<tile::keys>(n) ? key_note::partial : 0) | (trim ? key_note::trim : 0) |
                                     (n + 1 == run.end ? key_note::last : 0)});
            load_pending_value();
            if (n == run.begin) load_query(batch, head, row_tile);
            pending_key_ = first_key;
            pending_head_ = kv_head;
            pending_batch_ = batch;
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

    __device__ __forceinline__ void load_query(int batch, int head, int row_tile) {
        note_row({batch, head, row_tile, 0});
        load<tile::rows, tile::dim>(shared_.q[q_ring_.stage], q_map_, shared_.q_full[q_ring_.stage],
                                    row_tile * tile::rows, head, batch);
        q_ring_.advance();
    }

    const forward_arguments& a_;
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

/// One warpgroup; `group` is its number among the consumers.
template <class T, class tile>
class sm90_consumer {
  public:
    __device__ __forceinline__ sm90_consumer(const forward_arguments& a, sm90_shared<tile>& shared, int group)
        : a_(a), shared_(shared), group_(group), scale_(score_scale<float>::of(a.shape.scale)),
          q_(k_major_descriptor(ptx::shared_address(shared.q[0]) + group * 64 * panel_row_bytes)),
          k_(k_major_descriptor(ptx::shared_address(shared.k[0]))),
          v_(mn_major_descriptor(ptx::shared_address(shared.v[0]), tile::keys)) {}

    __device__ __forceinline__ void run() {
        if (tile::take_turns && group_ == tile::consumers - 1) pass_turn();
        while (take_row()) {
            if (row_.empty != 0) {
                release(shared_.q_empty[q_ring_.stage]);
                q_ring_.advance();
                clear();
                finish();
                continue;
            }
            attend();
        }
    }

  private:
    __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x % 32); }
    __device__ __forceinline__ static int warp() { return static_cast<int>(threadIdx.x / 32 % 4); }
    __device__ __forceinline__ static void release(ptx::barrier& b) {
        if (lane() == 0) ptx::arrive(b);
    }

    /// Waits for the next row tile and makes it current; false: there is none.
    __device__ __forceinline__ bool take_row() {
        peek_row();
        if (next_.batch < 0) return false;
        row_ = next_;
        start();
        return true;
    }
    __device__ __forceinline__ void peek_row() {
        ptx::wait(shared_.q_full[q_ring_.stage], q_ring_.parity);
        next_ = shared_.row[q_ring_.stage];
    }

    /// The current row tile's bounds, and its softmax at the start.
    __device__ __forceinline__ void start() {
        const core::band mask = schedule_of<tile>(a_, row_.batch).mask;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int i = first_row() + 8 * r;
            sees_[r] = {static_cast<int>(mask.lo(i)), static_cast<int>(mask.hi(i))};
        }
        state_[0] = state_[1] = row_softmax<float>::start();
    }
    __device__ __forceinline__ void clear() {
#pragma unroll
        for (float& x : o_) x = 0.0F;
    }
    /// This thread's first row; the other is 8 further.
    __device__ __forceinline__ int first_row() const {
        return row_.row_tile * tile::rows + group_ * 64 + warp() * 16 + lane() / 4;
    }

    /// Normalises and stores O of the current row tile.
    __device__ __forceinline__ void finish() {
        reduce_rows(state_);
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const index_t i = first_row() + 8 * r;
            finish_row<T, false>(a_, row_.batch, row_.head, core::min(i, a_.shape.q_len - 1), 0, o_, 0, r, state_[r],
                                 i < a_.shape.q_len);
        }
    }

    // Turns: group g waits at named barrier 1 + g for the group before it.
    __device__ __forceinline__ void await_turn() const {
        if constexpr (tile::take_turns) {
            if (group_ == 0) ptx::named_sync<1, 256>();
            if (group_ == 1) ptx::named_sync<2, 256>();
            if (group_ == 2) ptx::named_sync<3, 256>();
        }
    }
    __device__ __forceinline__ void pass_turn() const {
        if constexpr (tile::take_turns) {
            if (group_ == tile::consumers - 1) ptx::named_arrive<1, 256>();
            if (group_ == 0) ptx::named_arrive<2, 256>();
            if (group_ == 1 && tile::consumers == 3) ptx::named_arrive<3, 256>();
        }
    }

    /// Issues S = Q·Kᵀ with K of `stage`.
    __device__ __forceinline__ void issue_scores(int stage) {
        ptx::pin(s_);
        ptx::wgmma_fence();
        const std::uint64_t q = q_ + static_cast<std::uint32_t>(q_ring_.stage * (tile::q_bytes >> 4));
        const std::uint64_t k = k_ + static_cast<std::uint32_t>(stage * (tile::k_bytes >> 4));
#pragma unroll
        for (int x = 0; x < tile::dim / 16; ++x) {
            const int column = x % 4 * 32 >> 4;
            ptx::wgmma<T, tile::keys>::ss(s_, q + (x / 4 * (tile::rows * panel_row_bytes >> 4) + column),
                                          k + (x / 4 * (tile::keys * panel_row_bytes >> 4) + column), x != 0);
        }
        ptx::wgmma_commit();
    }

    /// Issues O += P·V with V of `stage`.
    __device__ __forceinline__ void issue_values(int stage) {
        ptx::pin(o_);
        ptx::wgmma_fence();
        const std::uint64_t v = v_ + static_cast<std::uint32_t>(stage * (tile::v_bytes >> 4));
#pragma unroll
        for (int x = 0; x < tile::keys / 16; ++x) {
            ptx::wgmma<T, tile::value_dim>::rs(o_, p_ + 4 * x, v + x * (16 * panel_row_bytes >> 4), 1);
        }
        ptx::wgmma_commit();
    }

    /// S of a tile has come: hide, fold, and leave 2^(logit - max) in s_.
    __device__ __forceinline__ void fold_scores(const key_note& note) {
        if (scale_.sign != 1.0F) {
#pragma unroll
            for (float& x : s_) x *= scale_.sign;
        }
        if ((note.flags & key_note::partial) != 0) {
            const column_limits limits[2] = {{sees_[0].begin - note.first, sees_[0].end - note.first},
                                             {sees_[1].begin - note.first, sees_[1].end - note.first}};
            hide(s_, limits);
        }
        fold(s_, state_, factor_, scale_.scale);
    }

    __device__ __forceinline__ void pack_probabilities() {
#pragma unroll
        for (int i = 0; i < tile::keys / 4; ++i) p_[i] = ptx::pack<T>(s_[2 * i], s_[2 * i + 1]);
    }

    __device__ __forceinline__ void rescale() {
        // Most tiles raise no maximum of the warp's rows: then the factors are 1.
        if (!__any_sync(0xffffffffU, factor_[0] != 1.0F || factor_[1] != 1.0F)) return;
#pragma unroll
        for (int i = 0; i < tile::value_dim / 2; ++i) o_[i] *= factor_[i / 2 % 2];
    }

    /// Zeroes the rows of V that no row of the tile sees: their probabilities are 0, but 0 times what lies there may not
    /// be. Every consumer does it for itself, all write the same zeros.
    __device__ __forceinline__ void trim_values(const key_note& note, int stage) {
        const core::schedule plan = schedule_of<tile>(a_, row_.batch);
        const core::span rows = plan.rows(row_.row_tile);
        const int begin = static_cast<int>(plan.mask.lo(rows.begin)) - note.first;
        const int end = static_cast<int>(plan.mask.hi(rows.end - 1)) - note.first;
        for (int at = static_cast<int>(threadIdx.x % 128); at < tile::keys * tile::value_dim / 8; at += 128) {
            const int row = at / 8 % tile::keys;
            if (row < begin || row >= end) {
                *reinterpret_cast<uint4*>(shared_.v[stage] + at * 16) = make_uint4(0, 0, 0, 0);
            }
        }
        ptx::fence_async_proxy();
        if (group_ == 0) ptx::named_sync<4, 128>();
        if (group_ == 1) ptx::named_sync<5, 128>();
        if (group_ == 2) ptx::named_sync<6, 128>();
    }

    /// Row tiles against their key tiles, until one that sees no key, or none, follows. In the loop, Q·K of a tile and P·V
    /// of the tile before it are under way together, and the softmax of the first runs while the second goes on. It goes on
    /// like this from one row tile to the next: where two Q tiles fit, the first Q·K of the next row tile takes the place
    /// beside the last P·V of this one.
    __device__ __forceinline__ void attend() {
        ptx::wait(shared_.k_full[k_ring_.stage], k_ring_.parity);
        key_note note = shared_.key[k_ring_.stage];
        issue_scores(k_ring_.stage);
        ptx::wgmma_wait<0>();
        ptx::pin(s_);
        keys_are_read(note);
        fold_scores(note);
        pack_probabilities();
        clear();
        for (;;) {
            while ((note.flags & key_note::last) == 0) {
                ptx::wait(shared_.k_full[k_ring_.stage], k_ring_.parity);
                const key_note next = shared_.key[k_ring_.stage];
                await_turn();
                issue_scores(k_ring_.stage);
                if constexpr (tile::rescale_early) rescale();
                await_values(note);
                issue_values(v_ring_.stage);
                pass_turn();
                ptx::wgmma_wait<1>();
                ptx::pin(s_);
                keys_are_read(next);
                fold_scores(next);
                ptx::wgmma_wait<0>();
                ptx::pin(o_);
                values_are_read();
                pack_probabilities();
                if constexpr (!tile::rescale_early) rescale();
                note = next;
            }
            q_ring_.advance();
            if constexpr (!tile::joins_row_tiles) break;
            peek_row();
            if (next_.batch < 0 || next_.empty != 0) break;
            ptx::wait(shared_.k_full[k_ring_.stage], k_ring_.parity);
            const key_note next = shared_.key[k_ring_.stage];
            await_turn();
            issue_scores(k_ring_.stage);
            if constexpr (tile::rescale_early) rescale();
            await_values(note);
            issue_values(v_ring_.stage);
            pass_turn();
            ptx::wgmma_wait<1>();
            ptx::pin(s_);
            keys_are_read(next);
            const row_note done = row_;
            const row_state<float> done_state[2] = {state_[0], state_[1]};
            row_ = next_;
            start();
            fold_scores(next);
            ptx::wgmma_wait<0>();
            ptx::pin(o_);
            values_are_read();
            finish_other(done, done_state);
            pack_probabilities();
            clear();
            note = next;
        }
        if constexpr (tile::rescale_early) rescale();
        await_values(note);
        issue_values(v_ring_.stage);
        ptx::wgmma_wait<0>();
        ptx::pin(o_);
        values_are_read();
        finish();
    }

    /// Stores O for a row tile that is current no more.
    __device__ __forceinline__ void finish_other(const row_note& row, const row_state<float> (&state)[2]) {
        const row_note kept_row = row_;
        const row_state<float> kept[2] = {state_[0], state_[1]};
        row_ = row;
        state_[0] = state[0];
        state_[1] = state[1];
        finish();
        row_ = kept_row;
        state_[0] = kept[0];
        state_[1] = kept[1];
    }

    /// Gives the K tile back, and with the last one Q.
    __device__ __forceinline__ void keys_are_read(const key_note& note) {
        release(shared_.k_empty[k_ring_.stage]);
        if ((note.flags & key_note::last) != 0) release(shared_.q_empty[q_ring_.stage]);
        k_ring_.advance();
    }
    __device__ __forceinline__ void await_values(const key_note& note) {
        ptx::wait(shared_.v_full[v_ring_.stage], v_ring_.parity);
        if ((note.flags & key_note::trim) != 0) trim_values(note, v_ring_.stage);
    }
    __device__ __forceinline__ void values_are_read() {
        release(shared_.v_empty[v_ring_.stage]);
        v_ring_.advance();
    }

    const forward_arguments& a_;
    sm90_shared<tile>& shared_;
    int group_;
    score_scale<float> scale_;
    std::uint64_t q_, k_, v_;
    ring<tile::q_stages> q_ring_;
    ring<tile::stages> k_ring_;
    ring<tile::stages> v_ring_;
    row_note row_;          ///< the current row tile
    row_note next_;         ///< the one behind it, if peeked at
    column_limits sees_[2]; ///< the keys of this thread's two rows
    float s_[tile::keys / 2];
    float o_[tile::value_dim / 2];
    std::uint32_t p_[tile::keys / 4];
    row_state<float> state_[2];
    float factor_[2];
};

template <class T, class tile>
__global__ void __launch_bounds__(tile::threads, 1)
    sm90_kernel(const __grid_constant__ forward_arguments a, const __grid_constant__ CUtensorMap q_map,
                const __grid_constant__ CUtensorMap k_map, const __grid_constant__ CUtensorMap v_map) {
    extern __shared__ char raw[];
    auto& shared = *reinterpret_cast<sm90_shared<tile>*>(
        raw + (tile_alignment - ptx::shared_address(raw) % tile_alignment) % tile_alignment);
    if (threadIdx.x == 0) {
        // A consumer gives a buffer back with one arrival a warp.
        for (int s = 0; s < tile::q_stages; ++s) {
            ptx::initialise(shared.q_full[s], 1);
            ptx::initialise(shared.q_empty[s], 4 * tile::consumers);
        }
        for (int s = 0; s < tile::stages; ++s) {
            ptx::initialise(shared.k_full[s], 1);
            ptx::initialise(shared.v_full[s], 1);
            ptx::initialise(shared.k_empty[s], 4 * tile::consumers);
            ptx::initialise(shared.v_empty[s], 4 * tile::consumers);
        }
        ptx::fence_initialised_barriers();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        ptx::give_up_registers_to<tile::producer_registers>();
        if (threadIdx.x == 0) sm90_producer<tile>(a, shared, q_map, k_map, v_map).run();
    } else {
        ptx::claim_registers_to<tile::consumer_registers>();
        sm90_consumer<T, tile>(a, shared, static_cast<int>(threadIdx.x) / 128 - 1).run();
    }
}

} // namespace pantile::cuda
