#pragma once

#include "kernel_portable.cuh"
#include "kernels.hpp"
#include "status.hpp"

namespace pantile::cuda {

template <class T>
inline constexpr element element_of = std::is_same_v<T, __half> ? element::float16 : element::bfloat16;

template <class T, class tile>
void launch_portable(const forward_arguments& a, int /*multiprocessors*/, cudaStream_t stream) {
    const index_t positions = a.tiles.row_tile / a.heads_packed;
    const index_t items = core::ceil_div(a.shape.q_len, positions) * a.shape.batch * (a.shape.q_heads / a.heads_packed);
    const auto function = portable_kernel<T, tile>;
    check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, tile::shared_bytes),
          "cudaFuncSetAttribute(portable kernel, shared memory)");
    const dim3 grid(static_cast<unsigned>(items), static_cast<unsigned>(a.tiles.key_splits));
    function<<<grid, tile::threads, tile::shared_bytes, stream>>>(a);
    check(cudaGetLastError(), "launch of the portable kernel");
}

template <class T, class tile>
constexpr kernel portable_entry(cuda_kernel kind) {
    return {kind,       element_of<T>, tile::dim,          tile::rows,
            tile::keys, tile::threads, tile::shared_bytes, &launch_portable<T, tile>};
}

} // namespace pantile::cuda
