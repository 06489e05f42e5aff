#pragma once

#include "kernel_half.cuh"
#include "launch.cuh"
#include "launch_portable.cuh"

namespace pantile::inline v0::cuda {

template <class T, class tile>
void launch_half(const forward_arguments& a, int /*multiprocessors*/, cudaStream_t stream) {
    constexpr float slack = 8.0F; // P stays below 2^8, which fp16 holds; a partial result's max is the maximum itself
    const half_constants constants{score_scale::of(a.scale), a.kind == out_kind::partial ? 0.0F : slack,
                                   a.vectors && a.shape.head_dim == tile::dim && a.shape.value_dim == tile::dim};
    start(half_kernel<T, tile>, "portable", {row_tile_grid(a), tile::threads, tile::shared_bytes}, stream, a,
          constants);
}

/// fp16 or bf16 with many query rows; `sizes` of half_tile from the head dim on.
template <class T, int... sizes>
constexpr kernel rows_entry() {
    using tile = half_tile<T, sizes...>;
    return {cuda_kernel::portable,
            dtype_of<T>,
            tile::dim,
            tile::dim,
            tile::rows,
            tile::keys,
            tile::threads,
            tile::resident,
            tile::shared_bytes,
            &launch_half<T, tile>};
}

} // namespace pantile::inline v0::cuda
