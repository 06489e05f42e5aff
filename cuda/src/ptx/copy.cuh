#pragma once

#include "address.cuh"
#include "barrier.cuh"

#include <cuda.h>

// Copies from global to shared memory that do not pass through registers.

namespace pantile::inline v0::cuda::ptx {

/// 16 bytes (cp.async, sm_80); with `valid` false it writes zeros and reads nothing. Cached in L2 only.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid ? 16 : 0)
                 : "memory");
}

/// What L2 should do with bytes that are read once: let them go first.
__device__ __forceinline__ std::uint64_t read_once_policy() {
    std::uint64_t policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

/// The same as copy_async_16 to a shared_address, with a policy for L2; `bytes` (0 or 16) are read, the rest is zeros.
__device__ __forceinline__ void copy_async_16(std::uint32_t shared, const void* global, int bytes,
                                              std::uint64_t policy) {
    asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2, %3;" ::"r"(shared), "l"(global),
                 "r"(bytes), "l"(policy)
                 : "memory");
}

/// To a shared_address; with `wanted` false it does nothing.
__device__ __forceinline__ void copy_async_16_if(bool wanted, std::uint32_t shared, const void* global) {
    asm volatile("{.reg .pred p; setp.ne.b32 p, %0, 0; @p cp.async.cg.shared.global [%1], [%2], 16;}" ::"r"(
                     static_cast<int>(wanted)),
                 "r"(shared), "l"(global)
                 : "memory");
}

/// 8 bytes to a shared_address, through L1; with `valid` false it writes zeros and reads nothing.
__device__ __forceinline__ void copy_async_8(std::uint32_t shared, const void* global, bool valid) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(shared), "l"(global), "r"(valid ? 8 : 0)
                 : "memory");
}

__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most `pending` of this thread's committed groups are still under way.
template <int pending>
__device__ __forceinline__ void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/// Fetches a tensor map into the descriptor cache ahead of its first use.
__device__ __forceinline__ void prefetch_map(const CUtensorMap& map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

/// One box of a rank-4 tensor map, first element at (c0, c1, c2, c3), innermost first. The bytes count against
/// `done` as they land; elements outside the tensor arrive as zeros and count too. `shared` is 128-byte aligned
/// (1024 for the 128-byte swizzle).
__device__ __forceinline__ void copy_box(void* shared, const CUtensorMap& map, barrier& done, int c0, int c1, int c2,
                                         int c3) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, "
                 "%6}], [%2];" ::"r"(shared_address(shared)),
                 "l"(&map), "r"(shared_address(&done)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
}

/// The same of a rank-5 map.
__device__ __forceinline__ void copy_box(void* shared, const CUtensorMap& map, barrier& done, int c0, int c1, int c2,
                                         int c3, int c4) {
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, "
                 "%6, %7}], [%2];" ::"r"(shared_address(shared)),
                 "l"(&map), "r"(shared_address(&done)), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
                 : "memory");
}

} // namespace pantile::inline v0::cuda::ptx
