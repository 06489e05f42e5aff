#include "kernels.hpp"
#include "status.hpp"
#include "tile/softmax.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace pantile::cuda {
namespace {

constexpr int combine_threads = 128;

/// One block a row. Thread t merges columns t, t + 128, … over the splits in index order with the core's merge.
/// Traffic: every partial row once, out and lse once.
template <class T>
__global__ void __launch_bounds__(combine_threads) combine_kernel(const __grid_constant__ forward_arguments partial,
                                                                  const __grid_constant__ forward_arguments result) {
    const index_t rows = partial.shape.q_len;
    const index_t i = blockIdx.x % rows;
    const index_t h = blockIdx.x / rows % partial.shape.q_heads;
    const index_t b = blockIdx.x / rows / partial.shape.q_heads;
    const auto columns = static_cast<int>(partial.shape.value_dim);
    const index_t row_at = partial.lse_layout.place(b, h, i);
    const index_t out_at = partial.out_layout.place(b, h, i);
    for (int column = static_cast<int>(threadIdx.x); column < max(columns, 1); column += combine_threads) {
        row_state state = row_softmax::start();
        float o = 0.0F;
        for (index_t s = 0; s < partial.tiles.key_splits; ++s) {
            const row_state part = {static_cast<const float*>(partial.max)[s * partial.split_stride_rows + row_at],
                                    static_cast<const float*>(partial.lse)[s * partial.split_stride_rows + row_at]};
            float kept = 0.0F;
            float added = 0.0F;
            state = row_softmax::merge(state, part, kept, added);
            if (column < columns) {
                o = o * kept +
                    added * static_cast<const float*>(partial.out)[s * partial.split_stride_out + out_at + column];
            }
        }
        if (column < columns) {
            const index_t at = result.out_layout.place(b, h, i) + column;
            const float value = o * core::finish_factor(state);
            if (result.kind == out_kind::wide) {
                static_cast<float*>(result.out)[at] = value;
            } else {
                static_cast<T*>(result.out)[at] = static_cast<T>(value);
            }
        }
        if (column == 0 && result.lse != nullptr) {
            static_cast<float*>(result.lse)[result.lse_layout.place(b, h, i)] = core::finish_lse(state);
        }
    }
}

} // namespace

void launch_combine(const forward_arguments& partial, const forward_arguments& result, element type,
                    cudaStream_t stream) {
    const auto blocks = static_cast<unsigned>(partial.shape.batch * partial.shape.q_heads * partial.shape.q_len);
    if (type == element::float16) {
        combine_kernel<__half><<<blocks, combine_threads, 0, stream>>>(partial, result);
    } else {
        combine_kernel<__nv_bfloat16><<<blocks, combine_threads, 0, stream>>>(partial, result);
    }
    check(cudaGetLastError(), "launch of the combine kernel");
}

} // namespace pantile::cuda
