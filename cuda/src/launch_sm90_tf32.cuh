#pragma once

#include "kernel_sm90_tf32.cuh"
#include "kernels.hpp"
#include "status.hpp"

namespace pantile::cuda {

template <class tile>
void launch_sm90_tf32(const forward_arguments& a, int /*multiprocessors*/, cudaStream_t stream) {
    constexpr int shared_bytes = static_cast<int>(sizeof(tf32_shared<tile>)) + tile_alignment;
    const index_t items = core::ceil_div(a.shape.q_len, tile::rows) * a.shape.batch * a.shape.q_heads;
    const auto function = sm90_tf32_kernel<tile>;
    check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
          "cudaFuncSetAttribute(sm90 tf32 kernel, shared memory)");
    function<<<static_cast<unsigned>(items), tile::threads, shared_bytes, stream>>>(a);
    check(cudaGetLastError(), "launch of the sm90 tf32 kernel");
}

template <class tile>
constexpr kernel sm90_tf32_entry() {
    return {cuda_kernel::sm90,
            element::float32,
            tile::dim,
            tile::dim,
            tile::rows,
            tile::keys,
            tile::threads,
            1,
            static_cast<int>(sizeof(tf32_shared<tile>)) + tile_alignment,
            &launch_sm90_tf32<tile>};
}

} // namespace pantile::cuda
