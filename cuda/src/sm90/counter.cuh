#pragma once

#include "../arguments.hpp"

// The row tiles of a launch, handed out to blocks as they become free, from global memory that nobody has zeroed.

namespace pantile::inline v0::cuda {

/// Hands out the numbers from `first` to `end` - 1. `memory` may hold anything at the launch: the launch has a ticket of 48
/// bits (see arrivals), and the first block to look replaces whatever does not carry it. Every block takes numbers until it
/// gets one that is too large; the last of these requests leaves the memory without a ticket, so that a captured launch may
/// run again.
struct item_counter {
    struct words {
        unsigned long long claim; ///< 2·ticket: somebody is zeroing `taken`; 2·ticket + 1: done
        unsigned taken;
    };
    words* memory;
    std::uint64_t ticket;

    static __device__ __forceinline__ item_counter of(const forward_arguments& a) {
        return {static_cast<words*>(a.workspace), a.ticket};
    }

    /// One thread of each block, before the block's first take().
    __device__ __forceinline__ void open() const {
        const unsigned long long ours = ticket << 1;
        unsigned long long seen = claim();
        if (seen >> 1 != ticket) {
            const bool first = atomicCAS(&memory->claim, seen, ours) == seen;
            if (first) {
                atomicExch(&memory->taken, 0U);
                __threadfence();
                atomicExch(&memory->claim, ours | 1);
            }
            seen = ours;
        }
        while (seen != (ours | 1)) seen = claim();
        __threadfence();
    }

    /// The next number of [first, end); `end` or more once they have run out. `first` blocks take numbers.
    [[nodiscard]] __device__ __forceinline__ std::uint32_t take(std::uint32_t first, std::uint32_t end) const {
        const std::uint32_t before = atomicAdd(&memory->taken, 1U);
        if (before + 1 == end) atomicExch(&memory->claim, 0ULL); // end - first successes, and a failure a block
        return first + before;
    }

  private:
    [[nodiscard]] __device__ __forceinline__ unsigned long long claim() const {
        return *reinterpret_cast<volatile unsigned long long*>(&memory->claim);
    }
};

} // namespace pantile::inline v0::cuda
