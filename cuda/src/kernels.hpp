#pragma once

#include "arguments.hpp"
#include "tensor_map.hpp"

#include <pantile/cuda.hpp>

#include <span>

// The catalogue of compiled kernels.

namespace pantile::inline v0::cuda {

/// One compiled kernel and the sizes it is compiled for.
struct kernel {
    cuda_kernel kind;
    dtype type;
    int dim;       ///< head dim up to this
    int value_dim; ///< value dim up to this
    int rows;      ///< packed query rows of a tile
    int keys;      ///< keys of a tile
    int threads;
    int resident; ///< blocks that a multiprocessor holds at least, if its shared memory allows
    int shared_bytes;
    /// Puts it on the stream; `multiprocessors` of the current device.
    void (*launch)(const forward_arguments&, int multiprocessors, cudaStream_t);
    /// Of kernel_decode.cuh: it needs 16-byte pieces, and merges its splits itself.
    bool merges_splits = false;
    /// Calls with a score function (soft caps, slopes), too. A kernel that serves plain calls alone stands before its like.
    bool serves_scored = true;
};

/// All kernels of this build, a table for each compiled file.
[[nodiscard]] std::span<const std::span<const kernel>> kernel_tables();

/// Merges the partial results of every row over partial.tiles.key_splits splits, in index order: partial.out, lse (sums) and
/// max as the kernels wrote them, to `result`'s out and lse, or as a partial result if that is its kind.
void launch_combine(const forward_arguments& partial, const forward_arguments& result, dtype type, cudaStream_t stream);

/// A partial result in device memory: unnormalised O, and {max, sum} a row.
struct part_arguments {
    void* out = nullptr;
    void* max = nullptr;
    void* sum = nullptr;
    layout out_layout, max_layout, sum_layout;
};

/// part = a and b over the keys of both; rows of `columns` numbers, fp32 or fp64 by `type`. `part` may be `a`.
void launch_merge(const part_arguments& a, const part_arguments& b, const part_arguments& part, index_t batch,
                  index_t heads, index_t length, index_t columns, dtype type, cudaStream_t stream);

/// Normalises `part` into result.out and, as the log-sum-exp, result.sum.
void launch_finish(const part_arguments& part, const part_arguments& result, index_t batch, index_t heads,
                   index_t length, index_t columns, dtype type, cudaStream_t stream);

} // namespace pantile::inline v0::cuda
