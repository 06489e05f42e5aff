#pragma once

#include "kernel_half.cuh"
#include "launch.cuh"
#include "launch_portable.cuh"

namespace pantile::inline v0::cuda {

template <class T, class tile, bool scored>
void launch_half(const forward_arguments& a, int /*multiprocessors*/, cudaStream_t stream) {
    const half_constants constants{score_scale::of(a.scale),
                                   a.vectors && a.shape.head_dim == tile::dim && a.shape.value_dim == tile::dim};
    start(half_kernel<T, tile, scored>, "portable", {row_tile_grid(a), tile::threads, tile::shared_bytes}, stream, a,
          constants);
}

/// fp16 or bf16 with many query rows; `sizes` of half_tile from the head dim on.
template <class T, bool scored, int... sizes>
constexpr kernel rows_entry() {
    using tile = half_tile<T, sizes...>;
    return {.kind = cuda_kernel::portable,
            .type = dtype_of<T>,
            .dim = tile::dim,
            .value_dim = tile::dim,
            .rows = tile::rows,
            .keys = tile::keys,
            .threads = tile::threads,
            .resident = tile::resident,
            .shared_bytes = tile::shared_bytes,
            .launch = &launch_half<T, tile, scored>,
            .serves_scored = scored};
}

} // namespace pantile::inline v0::cuda
