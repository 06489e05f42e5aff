#pragma once

#include "../ptx/copy.cuh"

// Copies of fp32 numbers from global to shared memory, 16 bytes (a chunk) at a time.

namespace pantile::inline v0::cuda {

/// Starts the copy of one chunk. `columns`: how many of its numbers the tensor has (at most 0: none, and nothing is read); the
/// others become zeros. `vectors`: chunks are whole and aligned; else they come through registers, one number at a time.
template <bool vectors>
__device__ __forceinline__ void copy_chunk(char* to, const float* from, int columns) {
    if constexpr (vectors) {
        ptx::copy_async_16(to, from, columns > 0);
    } else {
        float x[4];
#pragma unroll
        for (int e = 0; e < 4; ++e) x[e] = e < columns ? from[e] : 0.0F;
        *reinterpret_cast<float4*>(to) = make_float4(x[0], x[1], x[2], x[3]);
    }
}

} // namespace pantile::inline v0::cuda
