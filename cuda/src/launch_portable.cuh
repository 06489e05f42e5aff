#pragma once

#include "kernel_portable.cuh"
#include "launch.cuh"

namespace pantile::inline v0::cuda {

template <class product, class tile>
void launch_portable(const forward_arguments& a, int /*multiprocessors*/, cudaStream_t stream) {
    start(portable_kernel<product, tile>, "portable", {row_tile_grid(a), tile::threads, tile::shared_bytes}, stream, a);
}

template <class product, class tile>
constexpr kernel portable_entry(cuda_kernel kind) {
    return {kind,
            dtype_of<typename tile::input>,
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

} // namespace pantile::inline v0::cuda
