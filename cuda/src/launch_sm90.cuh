#pragma once

#include "kernel_sm90.cuh"
#include "launch.cuh"

namespace pantile::inline v0::cuda {

/// What a launch asks for: the runtime's base may miss the tiles' alignment.
template <class tile>
constexpr int sm90_shared_bytes = static_cast<int>(sizeof(sm90_shared<tile>)) + tile_alignment;

template <class T, class tile, bool arithmetic>
void launch_sm90(const forward_arguments& a, int multiprocessors, cudaStream_t stream) {
    constexpr dtype type = dtype_of<T>;
    const core::problem& p = a.shape;
    const CUtensorMap q_map =
        make_tensor_map(a.q, type, p.batch, p.q_heads, p.q_len, p.head_dim, a.q_layout, tile::rows);
    const CUtensorMap k_map =
        make_tensor_map(a.k, type, p.batch, p.kv_heads, p.k_len, p.head_dim, a.k_layout, tile::keys);
    const CUtensorMap v_map =
        make_tensor_map(a.v, type, p.batch, p.kv_heads, p.k_len, p.value_dim, a.v_layout, tile::keys);
    CUtensorMap o_map{};
    if (tile::stages_out && a.out_boxes) {
        o_map = make_tensor_map(a.out, type, p.batch, p.q_heads, p.q_len, p.value_dim, a.out_layout, warp_rows);
    }
    const work_order order = work_order::of(p, core::ceil_div(p.q_len, tile::rows), a.tail, multiprocessors);
    const launch_shape shape{order.blocks, tile::threads, sm90_shared_bytes<tile>};
    start(sm90_kernel<T, tile, arithmetic>, "sm90", shape, stream, a, order, q_map, k_map, v_map, o_map);
}

template <class T, sm90_shape shape, bool arithmetic = false>
constexpr kernel sm90_entry() {
    using tile = sm90_tile<shape>;
    return {.kind = cuda_kernel::sm90,
            .type = dtype_of<T>,
            .dim = tile::dim,
            .value_dim = tile::value_dim,
            .rows = tile::rows,
            .keys = tile::keys,
            .threads = tile::threads,
            .resident = 1,
            .shared_bytes = sm90_shared_bytes<tile>,
            .launch = &launch_sm90<T, tile, arithmetic>,
            .serves_scored = arithmetic};
}

} // namespace pantile::inline v0::cuda
