#pragma once

#include "../tile/swizzle.hpp"

// Descriptors of operands in shared memory, of tiles of one kind: they differ in their low words only, which hold addresses in
// units of 16 bytes.

namespace pantile::inline v0::cuda {

__device__ __forceinline__ std::uint32_t low_word(std::uint64_t descriptor) {
    return static_cast<std::uint32_t>(descriptor);
}
__device__ __forceinline__ std::uint64_t whole_descriptor(std::uint32_t low) {
    return k_major_descriptor(0) >> 32 << 32 | low;
}
/// The shuffle tells the compiler that all lanes hold the same, so that it computes the descriptors of a tile in uniform
/// registers, where the matrix unit takes them from.
__device__ __forceinline__ std::uint32_t uniform(std::uint32_t low) { return __shfl_sync(0xffffffffU, low, 0); }

} // namespace pantile::inline v0::cuda
