#pragma once

#include "../sm90/descriptor.cuh"
#include "../sm90/shared.cuh"
#include "shared.cuh"

namespace pantile::inline v0::cuda {

/// A consumer warp's view of the ring: stages come one after the other and are given back in the same order.
template <class tile>
class tf32_stream {
  public:
    __device__ __forceinline__ explicit tf32_stream(tf32_shared<tile>& shared)
        : shared_(shared), first_(low_word(k_major_descriptor(ptx::shared_address(shared.stage[0].high)))) {}

    /// Waits for the next stage; returns the low word of its high plane's descriptor.
    __device__ __forceinline__ std::uint32_t await() {
        ptx::wait(shared_.full[next_.stage], next_.parity);
        const std::uint32_t low = first_ + static_cast<std::uint32_t>(next_.stage) *
                                               static_cast<std::uint32_t>(sizeof(tf32_stage<tile>) >> 4);
        next_.advance();
        return uniform(low);
    }
    /// Gives the oldest stage back: the matrix unit is done with it.
    __device__ __forceinline__ void release() {
        ptx::arrive(shared_.empty[oldest_]);
        if (++oldest_ == tile::stages) oldest_ = 0;
    }

    /// The descriptor of what lies `bytes` into the plane (0 high, 1 low) of the stage that await() returned.
    __device__ __forceinline__ static std::uint64_t part(std::uint32_t stage, int plane, int bytes) {
        return whole_descriptor(stage + static_cast<std::uint32_t>((plane * tile::plane_bytes + bytes) >> 4));
    }

  private:
    tf32_shared<tile>& shared_;
    std::uint32_t first_; ///< low word of the first stage's descriptor
    ring<tile::stages> next_;
    int oldest_ = 0;
};

} // namespace pantile::inline v0::cuda
