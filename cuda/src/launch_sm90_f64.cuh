#pragma once

#include "kernel_sm90_f64.cuh"
#include "launch.cuh"

namespace pantile::inline v0::cuda {

/// What a launch asks for: the runtime's base may miss the tiles' alignment.
template <class tile>
constexpr int sm90_f64_shared_bytes = static_cast<int>(sizeof(sm90_f64_shared<tile>)) + tile_alignment;

template <class tile, bool scored>
void launch_sm90_f64(const forward_arguments& a, int /*multiprocessors*/, cudaStream_t stream) {
    const core::problem& p = a.shape;
    const auto map = [&](const void* data, index_t dim, const layout& strides) {
        return dim % 16 == 0
                   ? make_panel_map(data, p.batch, p.kv_heads, p.k_len, dim, strides, tile::keys, tile::dim / 16)
                   : make_tensor_map(data, dtype::fp64, p.batch, p.kv_heads, p.k_len, dim, strides, tile::keys);
    };
    const sm90_f64_maps maps{map(a.k, p.head_dim, a.k_layout), map(a.v, p.value_dim, a.v_layout), p.head_dim % 16 == 0,
                             p.value_dim % 16 == 0};
    const index_t items = core::ceil_div(p.q_len, tile::rows) * p.batch * p.q_heads;
    const launch_shape shape{dim3(static_cast<unsigned>(items)), tile::threads, sm90_f64_shared_bytes<tile>};
    start(sm90_f64_kernel<tile, scored>, "sm90 fp64", shape, stream, a,
          f64_constants::of(a.scale, a.kind == out_kind::partial), maps);
}

/// `sizes` of sm90_f64_tile.
template <bool scored, int... sizes>
constexpr kernel sm90_f64_entry() {
    using tile = sm90_f64_tile<sizes...>;
    return {.kind = cuda_kernel::sm90,
            .type = dtype::fp64,
            .dim = tile::dim,
            .value_dim = tile::dim,
            .rows = tile::rows,
            .keys = tile::keys,
            .threads = tile::threads,
            .resident = tile::resident,
            .shared_bytes = sm90_f64_shared_bytes<tile>,
            .launch = &launch_sm90_f64<tile, scored>,
            .serves_scored = scored};
}

} // namespace pantile::inline v0::cuda
