#pragma once

#include <cstdint>

namespace pantile::cuda::ptx {

/// The 32-bit address within the shared window that PTX's `.shared` operands take.
__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

} // namespace pantile::cuda::ptx
