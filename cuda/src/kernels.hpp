#pragma once

#include "arguments.hpp"
#include "tensor_map.hpp"

#include <pantile/cuda.hpp>

#include <span>

// The catalogue of compiled kernels.

namespace pantile::cuda {

/// One compiled kernel and the sizes it is compiled for.
struct kernel {
    cuda_kernel kind;
    element type;
    int dim;  ///< head dim and value dim up to this
    int rows; ///< packed query rows of a tile
    int keys; ///< keys of a tile
    int threads;
    int shared_bytes;
    /// Puts it on the stream; `multiprocessors` of the current device.
    void (*launch)(const forward_arguments&, int multiprocessors, cudaStream_t);
};

/// All kernels of this build, a table for each compiled file.
[[nodiscard]] std::span<const std::span<const kernel>> kernel_tables();

/// Merges `splits` partial results of every row, in index order: partial.out, lse (sums) and max as the kernels wrote them,
/// to `result`'s out and lse.
void launch_combine(const forward_arguments& partial, const forward_arguments& result, element type,
                    cudaStream_t stream);

} // namespace pantile::cuda
