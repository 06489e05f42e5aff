#include "kernels.hpp"
#include "status.hpp"
#include "tile/finish.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

// Partial results: splits of one call merged, two results of two calls merged, one normalised. All with the core's merge.

namespace pantile::inline v0::cuda {
namespace {

constexpr int row_threads = 128;

/// A row among (batch, heads, length), and the thread's columns: one block a row.
struct row_place {
    index_t b, h, i;
    __device__ row_place(index_t heads, index_t length)
        : b(blockIdx.x / length / heads), h(blockIdx.x / length % heads), i(blockIdx.x % length) {}
};

/// One block a row. The splits come in groups of 128: the threads read their {max, sum} side by side, then every thread
/// merges its columns over the group in index order, eight splits' numbers under way at a time.
/// Traffic: every partial row once, out and lse once.
template <class T, class V>
__global__ void __launch_bounds__(row_threads) combine_kernel(const __grid_constant__ forward_arguments partial,
                                                              const __grid_constant__ forward_arguments result) {
    constexpr int depth = 8;
    __shared__ row_state<V> parts[row_threads];
#if __CUDA_ARCH__ >= 900
    cudaGridDependencySynchronize(); // launched before the splits are done
#endif
    const row_place row(partial.shape.q_heads, partial.shape.q_len);
    const auto columns = static_cast<int>(partial.shape.value_dim);
    const auto splits = static_cast<int>(partial.tiles.key_splits);
    const index_t row_at = partial.lse_layout.place(row.b, row.h, row.i);
    const V* out = static_cast<const V*>(partial.out) + partial.out_layout.place(row.b, row.h, row.i);
    const int first = static_cast<int>(threadIdx.x);
    row_state<V> state[2] = {row_softmax<V>::start(), row_softmax<V>::start()}; // value dims go up to 256: two columns
    V o[2] = {V(0), V(0)};
    for (int group = 0; group < splits; group += row_threads) {
        __syncthreads(); // the group before has been read
        if (group + first < splits) {
            const index_t at = (group + first) * partial.split_stride_rows + row_at;
            parts[first] = {static_cast<const V*>(partial.max)[at], static_cast<const V*>(partial.lse)[at]};
        }
        __syncthreads();
        const int count = min(splits - group, row_threads);
        for (int s = 0; s < count; s += depth) {
#pragma unroll
            for (int c = 0; c < 2; ++c) {
                const int column = first + c * row_threads;
                if (c == 1 && column >= columns) continue;
                V x[depth];
#pragma unroll
                for (int n = 0; n < depth; ++n) {
                    const bool exists = s + n < count && column < columns;
                    x[n] = exists ? out[(group + s + n) * partial.split_stride_out + column] : V(0);
                }
#pragma unroll
                for (int n = 0; n < depth; ++n) {
                    if (s + n >= count) continue;
                    V kept = V(0);
                    V added = V(0);
                    state[c] = row_softmax<V>::merge(state[c], parts[s + n], kept, added);
                    o[c] = o[c] * kept + added * x[n];
                }
            }
        }
    }
    // Merged parts say themselves whether a row without a maximum has no answer (core::mark_overflow).
    row_state<V> end[1] = {state[0]};
    V factor[1];
    finish_rows<0>(
        result, row.b, end, factor, [&](int) { return row.h; }, [](int) { return false; });
#pragma unroll
    for (int c = 0; c < 2; ++c) {
        const int column = first + c * row_threads;
        if (column >= columns) continue;
        const index_t at = result.out_layout.place(row.b, row.h, row.i) + column;
        const V value = o[c] * factor[0];
        if (result.kind == out_kind::same) {
            static_cast<T*>(result.out)[at] = static_cast<T>(value);
        } else {
            static_cast<V*>(result.out)[at] = value;
        }
    }
    if (first == 0) store_statistics(result, row.b, row.h, row.i, 0, end[0]);
}

/// One block a row. Traffic: both parts' rows once, the merged row once. In place, every thread has read what it and thread 0
/// overwrite.
template <class V>
__global__ void __launch_bounds__(row_threads)
    merge_kernel(const __grid_constant__ part_arguments a, const __grid_constant__ part_arguments b,
                 const __grid_constant__ part_arguments part, index_t heads, index_t length, index_t columns) {
    const row_place row(heads, length);
    const auto state_of = [&](const part_arguments& p) {
        return row_state<V>{static_cast<const V*>(p.max)[p.max_layout.place(row.b, row.h, row.i)],
                            static_cast<const V*>(p.sum)[p.sum_layout.place(row.b, row.h, row.i)]};
    };
    const auto row_of = [&](const part_arguments& p) {
        return static_cast<V*>(p.out) + p.out_layout.place(row.b, row.h, row.i);
    };
    V kept = V(0);
    V added = V(0);
    const row_state<V> merged = row_softmax<V>::merge(state_of(a), state_of(b), kept, added);
    __syncthreads(); // all have read the states
    for (index_t x = threadIdx.x; x < columns; x += row_threads) {
        row_of(part)[x] = row_of(a)[x] * kept + row_of(b)[x] * added;
    }
    if (threadIdx.x == 0) {
        static_cast<V*>(part.max)[part.max_layout.place(row.b, row.h, row.i)] = merged.max;
        static_cast<V*>(part.sum)[part.sum_layout.place(row.b, row.h, row.i)] = merged.sum;
    }
}

/// One block a row. Traffic: the part's row once, out and lse once.
template <class V>
__global__ void __launch_bounds__(row_threads)
    finish_kernel(const __grid_constant__ part_arguments part, const __grid_constant__ part_arguments result,
                  index_t heads, index_t length, index_t columns) {
    const row_place row(heads, length);
    const row_state<V> state{static_cast<const V*>(part.max)[part.max_layout.place(row.b, row.h, row.i)],
                             static_cast<const V*>(part.sum)[part.sum_layout.place(row.b, row.h, row.i)]};
    const V factor = core::finish_factor(state);
    const V* from = static_cast<const V*>(part.out) + part.out_layout.place(row.b, row.h, row.i);
    V* to = static_cast<V*>(result.out) + result.out_layout.place(row.b, row.h, row.i);
    for (index_t x = threadIdx.x; x < columns; x += row_threads) to[x] = from[x] * factor;
    if (threadIdx.x == 0) {
        static_cast<V*>(result.sum)[result.sum_layout.place(row.b, row.h, row.i)] = core::finish_lse(state);
    }
}

cudaLaunchConfig_t block_a_row(index_t rows, cudaStream_t stream) {
    cudaLaunchConfig_t launch{};
    launch.gridDim = static_cast<unsigned>(rows);
    launch.blockDim = row_threads;
    launch.stream = stream;
    return launch;
}

/// One block a row. From Hopper on the blocks may take their places while the splits still run, which hides the launch.
template <class T, class V>
void combine(const forward_arguments& partial, const forward_arguments& result, cudaStream_t stream) {
    int device = 0;
    int major = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
    const bool hopper = major >= 9;
    cudaLaunchAttribute early{};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t launch = block_a_row(partial.shape.batch * partial.shape.q_heads * partial.shape.q_len, stream);
    launch.attrs = &early;
    launch.numAttrs = hopper ? 1 : 0;
    check(cudaLaunchKernelEx(&launch, combine_kernel<T, V>, partial, result), "launch of the combine kernel");
}

} // namespace

void launch_combine(const forward_arguments& partial, const forward_arguments& result, dtype type,
                    cudaStream_t stream) {
    switch (type) {
    case dtype::fp16:
        return combine<__half, float>(partial, result, stream);
    case dtype::bf16:
        return combine<__nv_bfloat16, float>(partial, result, stream);
    case dtype::fp32:
        return combine<float, float>(partial, result, stream);
    case dtype::fp64:
        return combine<double, double>(partial, result, stream);
    case dtype::fp8: // no kernel reads it
        break;
    }
}

void launch_merge(const part_arguments& a, const part_arguments& b, const part_arguments& part, index_t batch,
                  index_t heads, index_t length, index_t columns, dtype type, cudaStream_t stream) {
    const cudaLaunchConfig_t launch = block_a_row(batch * heads * length, stream);
    auto* const kernel = type == dtype::fp64 ? merge_kernel<double> : merge_kernel<float>;
    check(cudaLaunchKernelEx(&launch, kernel, a, b, part, heads, length, columns), "launch of the merge kernel");
}

void launch_finish(const part_arguments& part, const part_arguments& result, index_t batch, index_t heads,
                   index_t length, index_t columns, dtype type, cudaStream_t stream) {
    const cudaLaunchConfig_t launch = block_a_row(batch * heads * length, stream);
    auto* const kernel = type == dtype::fp64 ? finish_kernel<double> : finish_kernel<float>;
    check(cudaLaunchKernelEx(&launch, kernel, part, result, heads, length, columns), "launch of the finish kernel");
}

} // namespace pantile::inline v0::cuda
