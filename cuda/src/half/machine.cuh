#pragma once

#include "copy.cuh"
#include "products.cuh"
#include "store.cuh"

#include <pantile/core/walk.hpp>

#include <type_traits>

namespace pantile::inline v0::cuda {

/// The machine that core::walk::forward drives, one in each thread. `scored`: of calls with a score function, all of whose tiles count
/// as partial.
template <class T, class tile, bool scored>
class half_machine {
  public:
    /// `tiles` is the block's shared memory (half/tile.hpp).
    __device__ __forceinline__ half_machine(const forward_arguments& a, const half_constants& constants,
                                            const half_work<T>& work, char* tiles)
        : a_(a), constants_(constants), work_(work), tiles_(tiles), at_(half_operands<tile>::of(tiles)),
          copies_(a, constants, work, tiles) {}

    /// Begins to bring Q near. Before the walk, and before the block knows its key tiles.
    __device__ __forceinline__ void fetch_queries(index_t batch, index_t head, index_t row_tile) {
        copies_.fetch_queries(batch, head, row_tile);
    }

    __device__ __forceinline__ void open(const core::row_tile&) {
#pragma unroll
        for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
            for (float& x : o_[m]) x = 0.0F;
            state_[m][0] = state_[m][1] = row_softmax<float>::start();
        }
        copies_.open();
    }

    // One tile of K and one of V: K of the next tile travels during P·V of this one, and V during Q·Kᵀ. The copies are issued
    // between those products, so a fetch only says that they are due.

    __device__ __forceinline__ void fetch_key(const tile_run::tile& t) {
        if (!first_) await_copies(); // V has come, and all have read K of the tile before
        copies_.key_due(t);
        if (first_) { // there are no products before
            copies_.keys_now();
            ptx::copy_async_commit();
            copies_.none_due();
        }
        key_follows_ = true;
    }

    __device__ __forceinline__ void fetch_value(const tile_run::tile& t) {
        await_copies(); // K has come, and all have read V of the tile before
        copies_.value_due(t);
        first_ = false;
        key_follows_ = false;
    }

    template <class Tag>
    __device__ __forceinline__ void score(const tile_run::tile& t, Tag) {
#pragma unroll
        for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
            for (float& x : s_[m]) x = 0.0F;
        }
        multiply_keys<T, tile>(s_, at_, copies_);
        ptx::copy_async_commit();
        copies_.none_due();
        if constexpr (std::is_same_v<Tag, core::partial_tile>) {
            if (constants_.scale.sign != 1.0F) {
#pragma unroll
                for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
                    for (float& x : s_[m]) x *= constants_.scale.sign;
                }
            }
        }
        if constexpr (std::is_same_v<Tag, core::partial_tile>) {
            if constexpr (scored) apply_score_function<T, tile>(s_, a_, work_, t.index);
            hide_keys<T, tile>(s_, work_, t.index);
        }
    }

    __device__ __forceinline__ void accumulate(const tile_run::tile&) {
        if (!key_follows_) await_copies(); // the last V
        row_numbers<tile> reference;
        float scale = constants_.scale.scale;
        raise_references<T, tile>(s_, tiles_, scale, state_, o_, reference);
        if constexpr (tile::sharers == 1) {
            multiply_values<T, tile>(o_, s_, reference, scale, state_, at_.v, copies_);
        } else {
            multiply_shared_values<T, tile>(o_, s_, reference, scale, state_, at_.v, tiles_, copies_);
        }
        ptx::copy_async_commit();
    }

    __device__ __forceinline__ void close() {
#pragma unroll
        for (int m = 0; m < tile::blocks; ++m) reduce_rows(state_[m]);
        if constexpr (tile::sharers == 2) join_sums<tile>(tiles_, state_);
        if (work_.run.begin == work_.run.end) await_copies(); // Q, whose place the result takes
        store_result<T, tile>(a_, work_, tiles_, o_, state_);
    }

  private:
    const forward_arguments& a_;
    const half_constants& constants_;
    const half_work<T>& work_;
    char* tiles_;
    half_operands<tile> at_;
    half_copies<T, tile> copies_;
    bool first_ = true;        ///< no tile has come yet
    bool key_follows_ = false; ///< there is a next tile
    half_scores<tile> s_;
    half_output<tile> o_;
    half_states<tile> state_;
};

} // namespace pantile::inline v0::cuda
