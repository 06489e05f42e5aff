#pragma once

#include "kernel_sm90.cuh"
#include "kernels.hpp"
#include "status.hpp"

namespace pantile::cuda {

template <class T, class tile>
void launch_sm90(const forward_arguments& a, int multiprocessors, cudaStream_t stream) {
    constexpr element type = std::is_same_v<T, __half> ? element::float16 : element::bfloat16;
    const core::problem& p = a.shape;
    const CUtensorMap q_map =
        make_tensor_map(a.q, type, p.batch, p.q_heads, p.q_len, p.head_dim, a.q_layout, tile::rows);
    const CUtensorMap k_map =
        make_tensor_map(a.k, type, p.batch, p.kv_heads, p.k_len, p.head_dim, a.k_layout, tile::keys);
    const CUtensorMap v_map =
        make_tensor_map(a.v, type, p.batch, p.kv_heads, p.k_len, p.value_dim, a.v_layout, tile::keys);
    const index_t items = core::ceil_div(p.q_len, tile::rows) * p.batch * p.q_heads;
    const auto function = sm90_kernel<T, tile>;
    check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, tile::shared_bytes),
          "cudaFuncSetAttribute(sm90 kernel, shared memory)");
    const auto blocks = static_cast<unsigned>(core::min(items, multiprocessors));
    function<<<blocks, tile::threads, tile::shared_bytes, stream>>>(a, q_map, k_map, v_map);
    check(cudaGetLastError(), "launch of the sm90 kernel");
}

template <class T, class tile>
constexpr kernel sm90_entry() {
    constexpr element type = std::is_same_v<T, __half> ? element::float16 : element::bfloat16;
    return {cuda_kernel::sm90, type,          tile::dim, tile::value_dim,    tile::rows,
            tile::keys,        tile::threads, 1,         tile::shared_bytes, &launch_sm90<T, tile>};
}

} // namespace pantile::cuda
