#pragma once

#include "../tile/score.cuh"
#include "../tile/softmax.cuh"
#include "../tile/store.cuh"
#include "products.cuh"

namespace pantile::inline v0::cuda {

/// One warpgroup of 64 query rows. Its warps load and split their own rows of Q, and split P; K and V come as planes. A
/// thread holds two rows, 8 apart, of every accumulator tile (see tile/softmax.cuh).
template <class tile>
class tf32_consumer {
  public:
    /// `group` is the warpgroup's number among the consumers.
    __device__ __forceinline__ tf32_consumer(const forward_arguments& a, tf32_shared<tile>& shared, int group)
        : a_(a), shared_(shared), first_row_(group * 64 + warp() * tf32_warp_rows),
          scale_(static_cast<float>(a.scale.exponent)), queries_(shared.q[group * 4 + warp()]), stream_(shared) {}

    __device__ __forceinline__ void run() {
        open();
        for (const tf32_note* at = &note(); at->batch >= 0; at = &note()) {
            state_[0] = state_[1] = row_softmax<float>::start();
#pragma unroll
            for (float& x : o_) x = 0.0F;
            queries_.await();
            queries_.multiply(static_cast<float>(a_.scale.query));
            for (int n = at->run.begin; n < at->run.end; ++n) {
                scores<tile>(s_, queries_, stream_);
                if (n + 1 == at->run.end) open_next();
                fold_scores(*at, n);
                values<tile>(o_, factor_, s_, stream_);
            }
            if (at->run.begin == at->run.end) open_next();
            finish(*at);
            __syncwarp();
            ptx::arrive(shared_.note_empty[at - shared_.note]);
        }
    }

  private:
    __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x % 32); }
    __device__ __forceinline__ static int warp() { return static_cast<int>(threadIdx.x / 32 % 4); }
    /// This thread's first row in the row tile; the other is 8 further.
    __device__ __forceinline__ int row() const { return first_row_ + lane() / 4; }

    __device__ __forceinline__ const tf32_note& note() const { return shared_.note[note_.stage]; }
    /// Waits for a row tile's note and has its queries come.
    __device__ __forceinline__ void open() {
        ptx::wait(shared_.note_full[note_.stage], note_.parity);
        if (note().batch >= 0) queries_.load(a_, note().batch, note().head, note().rows.begin + first_row_);
    }
    /// The queries of this row tile have been read: the next may come.
    __device__ __forceinline__ void open_next() {
        note_.advance();
        __syncwarp();
        open();
    }

    /// Leaves 2^(logit - max) in s_.
    __device__ __forceinline__ void fold_scores(const tf32_note& at, int n) {
        const index_t i = at.rows.begin + row();
        const index_t first = static_cast<index_t>(n) * tile::keys;
        if (__builtin_expect(static_cast<long>(a_.scored), 0)) {
            apply_score_function(s_, a_.score,
                                 row_places<float>::of(
                                     a_, first, [&](int r) { return i + 8 * r + at.mask.offset; },
                                     [&](int) { return a_.score.slope_of(a_.shape.features, at.batch, at.head); }));
        }
        if (at.run.template hides<tile::keys>(n)) {
            const column_limits limits[2] = {column_limits::of(at.mask, i, first, tile::keys),
                                             column_limits::of(at.mask, i + 8, first, tile::keys)};
            hide(s_, limits);
        }
        fold<float>(s_, state_, factor_, scale_);
    }

    /// Normalises and stores O.
    __device__ __forceinline__ void finish(const tf32_note& at) {
        reduce_rows(state_);
        const auto position = [&](int r) { return at.rows.begin + row() + 8 * r; };
        float factor[2];
        finish_rows<0>(
            a_, at.batch, state_, factor, [&](int) { return at.head; },
            [&](int r) { return !at.mask.keys(position(r)).empty(); });
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const index_t i = position(r);
            store_finished<float, false>(a_, at.batch, at.head, core::min(i, a_.shape.q_len - 1), 0, o_, 0, r,
                                         state_[r], factor[r], i < a_.shape.q_len);
        }
    }

    const forward_arguments& a_;
    tf32_shared<tile>& shared_;
    int first_row_; ///< of this warp in the row tile
    float scale_;   ///< of scores, in base 2
    tf32_queries<tile> queries_;
    tf32_stream<tile> stream_;
    ring<static_cast<int>(tf32_notes)> note_;
    row_state<float> state_[2];
    float factor_[2]; ///< of O, from the last fold
    float s_[tile::keys / 2];
    float o_[tile::value_dim / 2];
};

} // namespace pantile::inline v0::cuda
