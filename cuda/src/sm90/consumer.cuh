#pragma once

#include "../tile/score.cuh"
#include "../tile/store.cuh"
#include "hide.cuh"
#include "products.cuh"
#include "shared.cuh"
#include "store.cuh"

namespace pantile::inline v0::cuda {

/// One warpgroup of consumers: 64 query rows, S = Q·Kᵀ and O += P·V on the matrix unit, P from registers. A thread holds two
/// rows, 8 apart, of every accumulator tile (see tile/fragment.hpp). `arithmetic`: it may be given calls with a score function.
template <class T, class tile, bool arithmetic>
class sm90_consumer {
  public:
    /// `group` is the warpgroup's number among the consumers.
    __device__ __forceinline__ sm90_consumer(const forward_arguments& a, sm90_shared<tile>& shared,
                                             const CUtensorMap& o_map, int group)
        : a_(a), shared_(shared), o_map_(o_map), group_(group), scale_(score_scale::of(a.scale)),
          products_(shared, group), turns_{group} {}

    __device__ __forceinline__ void run() {
        if (group_ == tile::consumers - 1) turns_.pass();
        for (row_note at = peek_row(); at.batch >= 0; at = peek_row()) {
            open(at);
            if (at.sees_keys()) {
                attend();
            } else {
                release(shared_.q_empty[q_ring_.stage]);
                q_ring_.advance();
                clear();
            }
            finish(row_);
        }
        if (tile::stages_out && lane() == 0) ptx::wait_until_stores_are_read();
    }

  private:
    /// The row tile under way: where it stands, which keys this thread's two rows see, and their softmax.
    struct open_row {
        row_note at;
        column_limits sees[2];
        row_state<float> state[2];
    };

    __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x % 32); }
    __device__ __forceinline__ static int warp() { return static_cast<int>(threadIdx.x / 32 % 4); }
    /// Gives a buffer and its note back, each lane for itself: one arrival for the warp would be no faster, and a race checker
    /// does not see that it speaks for the other lanes.
    __device__ __forceinline__ static void release(ptx::barrier& b) {
        __syncwarp();
        ptx::arrive(b);
    }

    // ---------------------------------------------------------------------------------------------------- row tiles

    /// Waits for the next row tile.
    __device__ __forceinline__ row_note peek_row() {
        ptx::wait(shared_.q_full[q_ring_.stage], q_ring_.parity);
        return shared_.row[q_ring_.stage];
    }
    __device__ __forceinline__ void open(const row_note& at) {
        row_.at = at;
        const auto within = [&](int key) { return min(max(key, 0), at.keys); };
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int i = min(first_row(at) + fragment::row_of_lane(lane(), r), static_cast<int>(a_.shape.q_len) - 1);
            row_.sees[r] = {within(i + at.low), within(i + at.high)};
            row_.state[r] = row_softmax<float>::start();
        }
    }
    __device__ __forceinline__ void clear() {
#pragma unroll
        for (float& x : o_) x = 0.0F;
    }
    /// This warp's first row.
    __device__ __forceinline__ int first_row(const row_note& at) const {
        return at.row_tile * tile::rows + group_ * 64 + warp() * warp_rows;
    }

    /// Normalises and stores O, which belongs to `row`.
    __device__ __forceinline__ void finish(open_row& row) {
        reduce_rows(row.state);
        const auto row_of = [&](int r) { return first_row(row.at) + fragment::row_of_lane(lane(), r); };
        float factor[2];
        finish_rows<raised_binades<T>>(
            a_, row.at.batch, row.state, factor, [&](int) { return row.at.head; },
            [&](int r) { // not from row.sees, which would stay in registers for it
                return !a_.shape.band_of(a_.shape.sequence_of(row.at.batch)).keys(row_of(r)).empty();
            });
        const auto length = static_cast<int>(a_.shape.q_len);
        if constexpr (tile::stages_out) {
            if (a_.out_boxes) {
                store_through_shared_memory<T>(o_map_, shared_.o[4 * group_ + warp()], o_, factor, first_row(row.at),
                                               row.at.head, row.at.batch);
                if (a_.lse == nullptr || lane() % 4 != 0) return;
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    if (row_of(r) >= length) continue;
                    store_lse(a_, row.at.batch, row.at.head, row_of(r), row.state[r]);
                }
                return;
            }
        }
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            store_finished<T, false>(a_, row.at.batch, row.at.head, min(row_of(r), length - 1), 0, o_, 0, r,
                                     row.state[r], factor[r], row_of(r) < length);
        }
    }

    // ------------------------------------------------------------------------------------------------------ softmax

    /// S of a tile has come: hide, fold, and leave the probabilities in s_.
    __device__ __forceinline__ void fold_scores(const key_note& note) {
        const bool cut = (note.flags & (key_note::cut_left | key_note::cut_right)) != 0;
        bool changed = cut || scale_.sign != 1.0F;
        if constexpr (arithmetic) changed = changed || a_.scored;
        if (changed) {
            if (scale_.sign != 1.0F) {
#pragma unroll
                for (float& x : s_) x *= scale_.sign;
            }
            if constexpr (arithmetic) {
                if (a_.scored) {
                    const int diagonal = row_.at.offset + first_row(row_.at);
                    const auto at = row_places<float>::of(
                        a_, note.first, [&](int r) { return index_t{diagonal} + fragment::row_of_lane(lane(), r); },
                        [&](int) { return row_.at.slope; });
                    apply_score_function(s_, a_.score, at);
                }
            }
            const int first_column = note.first + fragment::first_key(lane());
            if ((note.flags & key_note::cut_right) != 0) {
                hide_from(s_, {row_.sees[0].end - first_column, row_.sees[1].end - first_column});
            }
            if ((note.flags & key_note::cut_left) != 0) {
                hide_before(s_, {row_.sees[0].begin - first_column, row_.sees[1].begin - first_column});
            }
        }
        fold<T>(s_, row_.state, factor_, scale_.scale);
    }

    __device__ __forceinline__ void pack_probabilities() {
#pragma unroll
        for (int i = 0; i < tile::keys / 4; ++i) p_[i] = ptx::pack<T>(s_[2 * i], s_[2 * i + 1]);
    }

    __device__ __forceinline__ void rescale() {
        if (!__any_sync(0xffffffffU, factor_[0] != 1.0F || factor_[1] != 1.0F)) return;
#pragma unroll
        for (int i = 0; i < tile::value_dim / 2; ++i) o_[i] *= factor_[fragment::row(i)];
    }

    /// Zeroes the rows of V that no row of the tile sees: their probabilities are 0, but 0 times what lies there may not
    /// be. Every consumer does it for itself, all write the same zeros: 16 rows of a panel at a time, 16 bytes a thread.
    __device__ __forceinline__ void trim_values(const key_note& note) {
        const int thread = static_cast<int>(threadIdx.x % 128);
        const auto zero = [&](int from, int to) {
            for (int row = from + thread / 8; row < to; row += 16) {
#pragma unroll
                for (int panel = 0; panel < tile::value_dim / panel_columns; ++panel) {
                    char* at =
                        shared_.v[v_ring_.stage] + (panel * tile::keys + row) * panel_row_bytes + thread % 8 * 16;
                    *reinterpret_cast<uint4*>(at) = make_uint4(0, 0, 0, 0);
                }
            }
        };
        zero(0, row_.at.visible_begin - note.first);
        zero(row_.at.visible_end - note.first, tile::keys);
        ptx::fence_async_proxy();
        if (group_ == 0) ptx::named_sync<4, 128>();
        if (group_ == 1) ptx::named_sync<5, 128>();
        if (group_ == 2) ptx::named_sync<6, 128>();
    }

    // ---------------------------------------------------------------------------------------------------- the loops

    /// Row tiles against their key tiles, until one that sees no key, or none, follows. The last one is left to be finished.
    __device__ __forceinline__ void attend() {
        ptx::wait(shared_.k_full[k_ring_.stage], k_ring_.parity);
        key_note note = shared_.key[k_ring_.stage];
        products_.issue_scores(s_, q_ring_.stage, k_ring_.stage);
        ptx::wgmma_wait<0>();
        ptx::pin(s_);
        keys_are_read(note);
        fold_scores(note);
        pack_probabilities();
        clear();
        for (;;) {
            while ((note.flags & key_note::last) == 0) note = step<false>(note, {});
            q_ring_.advance();
            if constexpr (!tile::joins_row_tiles) break;
            const row_note next = peek_row();
            if (next.batch < 0 || !next.sees_keys()) break;
            note = step<true>(note, next);
        }
        await_values(note);
        products_.issue_values(o_, p_, v_ring_.stage);
        ptx::wgmma_wait<0>();
        ptx::pin(o_);
        values_are_read();
    }

    /// Issues Q·K of the next key tile and P·V of this one, `note`, and folds the scores of the first. With
    /// `opens` the next key tile is the first of row tile `next_row`, and P·V the last of the row tile before. Returns the
    /// next tile's note.
    template <bool opens>
    __device__ __forceinline__ key_note step(const key_note& note, const row_note& next_row) {
        ptx::wait(shared_.k_full[k_ring_.stage], k_ring_.parity);
        const key_note next = shared_.key[k_ring_.stage];
        turns_.await();
        products_.issue_scores(s_, q_ring_.stage, k_ring_.stage);
        await_values(note);
        products_.issue_values(o_, p_, v_ring_.stage);
        turns_.pass();
        ptx::wgmma_wait<1>();
        ptx::pin(s_);
        keys_are_read(next);
        open_row done;
        if constexpr (opens) {
            done = row_;
            open(next_row);
        }
        fold_scores(next);
        if constexpr (tile::takes_turns) {
            ptx::wgmma_wait<0>();
        } else {
            ptx::pin(s_);
            ptx::wgmma_wait_behind<0>(row_.state[0].sum + row_.state[1].sum);
        }
        ptx::pin(o_);
        values_are_read();
        if constexpr (opens) {
            finish(done);
            clear();
            pack_probabilities();
        } else {
            pack_probabilities(); // before the branch, so that it mixes with the exponentials
            rescale();
        }
        return next;
    }

    /// Gives the K tile back, and with the last one Q.
    __device__ __forceinline__ void keys_are_read(const key_note& note) {
        release(shared_.k_empty[k_ring_.stage]);
        if ((note.flags & key_note::last) != 0) release(shared_.q_empty[q_ring_.stage]);
        k_ring_.advance();
    }
    __device__ __forceinline__ void await_values(const key_note& note) {
        ptx::wait(shared_.v_full[v_ring_.stage], v_ring_.parity);
        if ((note.flags & key_note::trim) != 0) trim_values(note);
    }
    __device__ __forceinline__ void values_are_read() {
        release(shared_.v_empty[v_ring_.stage]);
        v_ring_.advance();
    }

    const forward_arguments& a_;
    sm90_shared<tile>& shared_;
    const CUtensorMap& o_map_;
    int group_;
    score_scale scale_;
    sm90_products<T, tile> products_;
    sm90_turns<tile> turns_;
    ring<tile::q_stages> q_ring_;
    ring<tile::stages> k_ring_;
    ring<tile::stages> v_ring_;
    open_row row_;
    float s_[tile::keys / 2];
    float o_[tile::value_dim / 2];
    std::uint32_t p_[tile::keys / 4];
    float factor_[2]; ///< of O, from the last fold
};

} // namespace pantile::inline v0::cuda
