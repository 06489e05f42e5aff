#pragma once

#include "address.cuh"

#include <cuda.h>

#include <cstdint>

// From registers to shared memory in matrix order (stmatrix), and from there to global memory by the copy engine (sm_90).

namespace pantile::inline v0::cuda::ptx {

/// Four 8x8 matrices of 16 bits to shared memory: lane l gives the address of row l % 8 of matrix l / 8, and holds in w[m]
/// elements 2 (l % 4) and the next of row l / 4 of matrix m.
__device__ __forceinline__ void store_matrices(std::uint32_t address, const std::uint32_t (&w)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(w[0]),
                 "r"(w[1]), "r"(w[2]), "r"(w[3])
                 : "memory");
}

/// One box of a rank-4 tensor map, first element at (c0, c1, c2, c3), from shared to global memory as part of this thread's
/// open group; elements outside the tensor are not written. `shared` is aligned as copy_box wants it.
__device__ __forceinline__ void store_box(const CUtensorMap& map, const void* shared, int c0, int c1, int c2, int c3) {
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(&map),
                 "r"(shared_address(shared)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
}

__device__ __forceinline__ void commit_stores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

/// Waits until the copy engine has read the shared memory of all groups that this thread has committed.
__device__ __forceinline__ void wait_until_stores_are_read() {
    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

} // namespace pantile::inline v0::cuda::ptx
