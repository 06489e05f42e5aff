#pragma once

#include "kernels.hpp"
#include "shared_memory.hpp"
#include "status.hpp"

#include <string>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

// What the launches of all kernels share.

namespace pantile::inline v0 {

template <>
inline constexpr dtype dtype_of<__half> = dtype::fp16;
template <>
inline constexpr dtype dtype_of<__nv_bfloat16> = dtype::bf16;

} // namespace pantile::inline v0

namespace pantile::inline v0::cuda {

/// A block for each row tile of packed heads (x) and split of the keys (y).
inline dim3 row_tile_grid(const forward_arguments& a) {
    const index_t row_tiles = core::ceil_div(a.shape.q_len, a.tiles.row_tile / a.heads_packed);
    const index_t heads = a.shape.batch * (a.shape.q_heads / a.heads_packed);
    return {static_cast<unsigned>(row_tiles * heads), static_cast<unsigned>(a.tiles.key_splits)};
}

/// The shape of a launch; shared memory beyond 48 KB is asked for as CUDA wants it.
struct launch_shape {
    dim3 grid;
    int threads;
    int shared_bytes;
};

/// Puts `function`, the `name` kernel, on the stream. Throws cuda_error: what the launch itself returns, not what
/// cudaGetLastError() remembers of the caller's.
template <class... Parameters>
void start(void (*function)(Parameters...), const char* name, const launch_shape& shape, cudaStream_t stream,
           const std::type_identity_t<Parameters>&... arguments) {
    const auto checked = [name](cudaError_t status, const char* step) {
        if (status != cudaSuccess) check(status, (std::string(step) + " of the " + name + " kernel").c_str());
    };
    const auto* const kernel = reinterpret_cast<const void*>(function);
    const void* pointers[] = {&arguments...};
    const auto launch = [&] {
        return cudaLaunchKernel(kernel, shape.grid, dim3(static_cast<unsigned>(shape.threads)),
                                const_cast<void**>(pointers), static_cast<std::size_t>(shape.shared_bytes), stream);
    };
    checked(allow_shared_memory(kernel, shape.shared_bytes), "shared memory");
    cudaError_t launched = launch();
    if (launched == cudaErrorInvalidValue && needs_allowance(shape.shared_bytes)) {
        // The device was reset, or the thread is in a context that is not the device's own.
        checked(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, shape.shared_bytes),
                "shared memory");
        launched = launch();
    }
    checked(launched, "launch");
}

} // namespace pantile::inline v0::cuda
