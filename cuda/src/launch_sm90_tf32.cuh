#pragma once

#include "kernel_sm90_tf32.cuh"
#include "launch.cuh"

namespace pantile::inline v0::cuda {

/// What a launch asks for: the runtime's base may miss the tiles' alignment.
template <class tile>
constexpr int sm90_tf32_shared_bytes = static_cast<int>(sizeof(tf32_shared<tile>)) + tile_alignment;

template <class tile>
void launch_sm90_tf32(const forward_arguments& a, int multiprocessors, cudaStream_t stream) {
    const index_t row_tiles = core::ceil_div(a.shape.q_len, tile::rows);
    const work_order order = work_order::of(a.shape, row_tiles, a.tail, multiprocessors);
    const launch_shape shape{dim3(order.blocks), tile::threads, sm90_tf32_shared_bytes<tile>};
    start(sm90_tf32_kernel<tile>, "sm90 tf32", shape, stream, a, order);
}

template <tf32_shape shape>
constexpr kernel sm90_tf32_entry() {
    using tile = tf32_tile<shape>;
    static_assert(sm90_tf32_shared_bytes<tile> <= 227 * 1024);
    return {cuda_kernel::sm90,      dtype::fp32, tile::dim,
            tile::value_dim,        tile::rows,  tile::keys,
            tile::threads,          1,           sm90_tf32_shared_bytes<tile>,
            &launch_sm90_tf32<tile>};
}

} // namespace pantile::inline v0::cuda
