#pragma once

#include <cstdint>

// Which of the blocks that share a word of global memory is the last to come by. The word may hold anything at the launch:
// a launch has a ticket, which no other launch of the process has and no memory by chance (47 random bits at the start of
// the process), and its first block replaces whatever does not carry it. The last block leaves 0, so that a captured
// launch may run again with the same ticket.

namespace pantile::inline v0::cuda {

struct arrivals {
    std::uint64_t* word;
    std::uint64_t ticket;

    /// One thread of a block looks at the word, ...
    [[nodiscard]] __device__ __forceinline__ std::uint64_t peek() const {
        return *reinterpret_cast<volatile std::uint64_t*>(word);
    }
    /// ... makes it the launch's (of many that saw the same one succeeds, and serves them all) ...
    __device__ __forceinline__ void claim(std::uint64_t seen) const {
        if (seen >> count_bits != ticket) atomicCAS(as_cuda(), seen, ticket << count_bits);
    }
    /// ... and comes by at last. True for the last of `blocks`, less than 2^16.
    [[nodiscard]] __device__ __forceinline__ bool is_last_of(unsigned blocks) const {
        const auto before = static_cast<unsigned>(atomicAdd(as_cuda(), 1ULL)) & ((1U << count_bits) - 1);
        if (before + 1 != blocks) return false;
        *reinterpret_cast<volatile std::uint64_t*>(word) = 0;
        return true;
    }

  private:
    static constexpr int count_bits = 16;
    [[nodiscard]] __device__ __forceinline__ unsigned long long* as_cuda() const {
        return reinterpret_cast<unsigned long long*>(word);
    }
};

} // namespace pantile::inline v0::cuda
