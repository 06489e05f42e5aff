#pragma once

#include "../ptx/wgmma.cuh"
#include "descriptor.cuh"
#include "shared.cuh"

// The matrix products of a Hopper consumer.

namespace pantile::inline v0::cuda {

/// The products of one warpgroup's 64 rows, operands in shared memory but for P. They are issued as one group each and not
/// waited for.
template <class T, class tile>
class sm90_products {
  public:
    /// `group` is the warpgroup's number among the consumers.
    __device__ __forceinline__ sm90_products(const sm90_shared<tile>& shared, int group)
        : q_(low_word(k_major_descriptor(ptx::shared_address(shared.q[0]) + group * 64 * panel_row_bytes))),
          k_(low_word(k_major_descriptor(ptx::shared_address(shared.k[0])))),
          v_(low_word(mn_major_descriptor(ptx::shared_address(shared.v[0]), tile::keys))) {}

    /// S = Q·Kᵀ of the Q and the K tile in these stages.
    __device__ __forceinline__ void issue_scores(float (&s)[tile::keys / 2], int q_stage, int k_stage) const {
        ptx::pin(s);
        ptx::wgmma_fence();
        const std::uint32_t q = uniform(q_ + q_stage * (tile::q_bytes >> 4));
        const std::uint32_t k = uniform(k_ + k_stage * (tile::k_bytes >> 4));
#pragma unroll
        for (int x = 0; x < tile::dim / 16; ++x) {
            const int column = x % 4 * 32 >> 4;
            ptx::wgmma<T, tile::keys>::ss(
                s, whole_descriptor(q + (x / 4 * (tile::rows * panel_row_bytes >> 4) + column)),
                whole_descriptor(k + (x / 4 * (tile::keys * panel_row_bytes >> 4) + column)), x != 0);
        }
        ptx::wgmma_commit();
    }

    /// O += P·V of the V tile in this stage; P in the type of V, as accumulators of S hold it.
    __device__ __forceinline__ void issue_values(float (&o)[tile::value_dim / 2],
                                                 const std::uint32_t (&p)[tile::keys / 4], int v_stage) const {
        ptx::pin(o);
        ptx::wgmma_fence();
        const std::uint32_t v = uniform(v_ + v_stage * (tile::v_bytes >> 4));
#pragma unroll
        for (int x = 0; x < tile::keys / 16; ++x) {
            ptx::wgmma<T, tile::value_dim>::rs(o, p + 4 * x, whole_descriptor(v + x * (16 * panel_row_bytes >> 4)), 1);
        }
        ptx::wgmma_commit();
    }

  private:
    std::uint32_t q_, k_, v_; ///< low words: this group's rows of Q, and K and V, in stage 0
};

/// The consumers issue their products in turns, if the tile says so: each then computes its softmax beside the products of
/// the others. Group g waits at named barrier 1 + g for the group before it.
template <class tile>
struct sm90_turns {
    int group;

    __device__ __forceinline__ void await() const {
        if constexpr (tile::takes_turns) {
            if (group == 0) ptx::named_sync<1, 256>();
            if (group == 1) ptx::named_sync<2, 256>();
            if (group == 2) ptx::named_sync<3, 256>();
        }
    }
    __device__ __forceinline__ void pass() const {
        if constexpr (tile::takes_turns) {
            if (group == tile::consumers - 1) ptx::named_arrive<1, 256>();
            if (group == 0) ptx::named_arrive<2, 256>();
            if (group == 1 && tile::consumers == 3) ptx::named_arrive<3, 256>();
        }
    }
};

} // namespace pantile::inline v0::cuda
