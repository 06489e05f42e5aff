#pragma once

#include "kernel_f64.cuh"
#include "launch.cuh"

namespace pantile::inline v0::cuda {

/// What a launch asks for: the runtime's base may miss the tiles' alignment.
template <class tile>
constexpr int f64_shared_bytes = static_cast<int>(sizeof(f64_shared<tile>)) + tile_alignment;

template <class tile, bool scored>
void launch_f64(const forward_arguments& a, int /*multiprocessors*/, cudaStream_t stream) {
    const launch_shape shape{row_tile_grid(a), tile::threads, f64_shared_bytes<tile>};
    start(f64_kernel<tile, scored>, "fp64", shape, stream, a, f64_constants::of(a.scale, a.kind == out_kind::partial));
}

/// `sizes` of f64_tile.
template <bool scored, int... sizes>
constexpr kernel f64_entry(cuda_kernel kind) {
    using tile = f64_tile<sizes...>;
    return {.kind = kind,
            .type = dtype::fp64,
            .dim = tile::dim,
            .value_dim = tile::dim,
            .rows = tile::rows,
            .keys = tile::keys,
            .threads = tile::threads,
            .resident = tile::resident,
            .shared_bytes = f64_shared_bytes<tile>,
            .launch = &launch_f64<tile, scored>,
            .serves_scored = scored};
}

} // namespace pantile::inline v0::cuda
