#pragma once

#include <cstdint>

namespace pantile::inline v0::cuda::ptx {

/// The 32-bit address within the shared window that PTX's `.shared` operands take.
__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

/// One number at a shared_address, of memory that was written before the last barrier and is not written again: the compiler
/// may move the read.
template <class V>
__device__ __forceinline__ V load_shared(std::uint32_t address);
template <>
__device__ __forceinline__ double load_shared<double>(std::uint32_t address) {
    double x;
    asm("ld.shared.f64 %0, [%1];" : "=d"(x) : "r"(address));
    return x;
}

/// The same of memory that is written anew: the read stays where it stands among barriers.
__device__ __forceinline__ float load_shared_now(std::uint32_t address) {
    float x;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(x) : "r"(address));
    return x;
}

/// Two neighbouring numbers, 16-byte aligned.
__device__ __forceinline__ void load_pair(double* to, std::uint32_t from) {
    asm volatile("ld.shared.v2.f64 {%0, %1}, [%2];" : "=d"(to[0]), "=d"(to[1]) : "r"(from));
}

} // namespace pantile::inline v0::cuda::ptx
