#pragma once

#include "kernel_decode.cuh"
#include "launch.cuh"

namespace pantile::inline v0::cuda {

template <class T, class tile>
void launch_decode(const forward_arguments& a, int /*multiprocessors*/, cudaStream_t stream) {
    const launch_shape shape{
        dim3(static_cast<unsigned>(a.shape.batch * a.shape.kv_heads), static_cast<unsigned>(a.tiles.key_splits)),
        tile::threads, tile::shared_bytes};
    start(decode_kernel<T, tile>, "decode", shape, stream, a);
}

template <class T, int dim, int warps, int stages, int resident>
constexpr kernel decode_entry() {
    using tile = decode_tile<T, dim, warps, stages, resident>;
    return {cuda_kernel::decode,
            dtype_of<T>,
            dim,
            dim,
            tile::rows,
            tile::keys,
            tile::threads,
            resident,
            tile::shared_bytes,
            &launch_decode<T, tile>,
            true};
}

} // namespace pantile::inline v0::cuda
