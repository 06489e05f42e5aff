#pragma once

#include "kernel_portable.cuh"
#include "launch.cuh"

namespace pantile::cuda {

template <class product, class tile>
void launch_portable(const forward_arguments& a, int /*multiprocessors*/, cudaStream_t stream) {
    const index_t positions = a.tiles.row_tile / a.heads_packed;
    const index_t items = core::ceil_div(a.shape.q_len, positions) * a.shape.batch * (a.shape.q_heads / a.heads_packed);
    const launch_shape shape{dim3(static_cast<unsigned>(items), static_cast<unsigned>(a.tiles.key_splits)),
                             tile::threads, tile::shared_bytes};
    start(portable_kernel<product, tile>, "portable", shape, stream, a);
}

template <class product, class tile>
constexpr kernel portable_entry(cuda_kernel kind) {
    return {kind,
            element_of<typename tile::input>,
            tile::dim,
            tile::dim,
            tile::rows,
            tile::keys,
            tile::threads,
            tile::resident,
            tile::shared_bytes,
            &launch_portable<product, tile>};
}

/// fp16 and bf16: `tile` is portable_tile of the type and the sizes that follow.
template <class T, int... sizes>
constexpr kernel half_entry(cuda_kernel kind) {
    using tile = portable_tile<T, sizes...>;
    return portable_entry<product_half<T, tile>, tile>(kind);
}

} // namespace pantile::cuda
