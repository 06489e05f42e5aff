#pragma once

#include "address.cuh"

// Barriers in shared memory (mbarrier, sm_90) and named barriers over part of a block.

namespace pantile::inline v0::cuda::ptx {

/// One mbarrier. A phase ends when `count` arrivals and all expected bytes have come in; `parity` is the low bit of
/// the phase number, so that a waiter at parity 1 passes a fresh barrier and a waiter at parity 0 does not.
struct alignas(8) barrier {
    std::uint64_t word;
};

__device__ __forceinline__ void initialise(barrier& b, std::uint32_t count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&b)), "r"(count) : "memory");
}

/// Makes fresh barriers visible to the copy engine; follow it by a block-wide barrier.
__device__ __forceinline__ void fence_initialised_barriers() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void arrive(barrier& b) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&b)) : "memory");
}

/// One arrival that also adds `bytes` to what the phase waits for.
__device__ __forceinline__ void arrive_expecting(barrier& b, std::uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&b)), "r"(bytes)
                 : "memory");
}

/// True once the phase with this parity has ended; may suspend the thread for a while before it says false.
__device__ __forceinline__ bool phase_ended(barrier& b, std::uint32_t parity) {
    std::uint32_t ended;
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, p;\n"
                 "}\n"
                 : "=r"(ended)
                 : "r"(shared_address(&b)), "r"(parity)
                 : "memory");
    return ended != 0;
}

__device__ __forceinline__ void wait(barrier& b, std::uint32_t parity) {
    while (!phase_ended(b, parity)) {
    }
}

/// Orders this thread's ordinary shared-memory accesses before later ones by the matrix unit and the copy engine.
__device__ __forceinline__ void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// Named barrier `id` (1 to 15; 0 is __syncthreads) over `threads` threads, a multiple of 32. Ids are compile-time
/// constants, so that the compiler reserves only the barriers in use.
template <int id, int threads>
__device__ __forceinline__ void named_sync() {
    asm volatile("bar.sync %0, %1;" ::"n"(id), "n"(threads) : "memory");
}

/// The same where the warp chooses the id: the compiler then reserves all 16.
__device__ __forceinline__ void named_sync(int id, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// Arrives without waiting.
template <int id, int threads>
__device__ __forceinline__ void named_arrive() {
    asm volatile("bar.arrive %0, %1;" ::"n"(id), "n"(threads) : "memory");
}

} // namespace pantile::inline v0::cuda::ptx
