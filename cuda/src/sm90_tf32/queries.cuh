#pragma once

#include "../arguments.hpp"
#include "../ptx/address.cuh"
#include "../ptx/convert.cuh"
#include "../tile/softmax.cuh"
#include "load.cuh"
#include "tile.hpp"

namespace pantile::inline v0::cuda {

/// The A operands of `steps` products, eight columns of Q each: lane (g, t) holds rows g and g + 8 at columns 8x + t and
/// 8x + t + 4.
struct query_fragments {
    static constexpr int steps = 2;
    std::uint32_t high[steps][4];
    std::uint32_t low[steps][4];
};

/// A warp's own 16 rows of Q in shared memory, as fp32 numbers: panel after panel, swizzled. The warp brings them itself.
template <class tile>
class tf32_queries {
  public:
    __device__ __forceinline__ explicit tf32_queries(char* rows) {
        const int g = static_cast<int>(threadIdx.x % 32) / 4;
        const int t = static_cast<int>(threadIdx.x % 4);
        rows_ = rows;
        first_ = ptx::shared_address(rows) + g * panel_row_bytes + g * 16 + t * 4;
    }

    /// Starts the copies of the rows that stand from `first` on in a head; none of them may still be read.
    __device__ __forceinline__ void load(const forward_arguments& a, int batch, int head, index_t first) const {
        if (a.vectors) {
            load<true>(a, batch, head, first);
        } else {
            load<false>(a, batch, head, first);
        }
        ptx::copy_async_commit();
    }
    /// Waits for them.
    __device__ __forceinline__ void await() const {
        ptx::copy_async_wait<0>();
        __syncwarp();
    }

    /// Each lane a part. Traffic: 8 bytes a number, once a row tile.
    __device__ __forceinline__ void multiply(float factor) const {
        if (factor == 1.0F) return;
        multiply_shared<tile::q_bytes, 32>(rows_, factor);
        __syncwarp();
    }

    /// The parts of columns 16·batch to 16·batch + 15. Traffic: 4 bytes a lane and number, no bank conflicts.
    __device__ __forceinline__ void split(query_fragments& f, int batch) const {
#pragma unroll
        for (int x = 0; x < query_fragments::steps; ++x) {
            const int step = batch * query_fragments::steps + x;
#pragma unroll
            for (int i = 0; i < 4; ++i) { // row g + 8 (i % 2), chunk 2x + i / 2 of the panel
                const std::uint32_t place =
                    (first_ ^ ((2 * (step % 4) + i / 2) * 16)) + step / 4 * panel_bytes + i % 2 * (8 * panel_row_bytes);
                ptx::split_tf32(ptx::load_shared_now(place), f.high[x][i], f.low[x][i]);
            }
        }
    }

  private:
    template <bool vectors>
    __device__ __forceinline__ void load(const forward_arguments& a, int batch, int head, index_t first) const {
        const int lane = static_cast<int>(threadIdx.x % 32);
        const float* q =
            static_cast<const float*>(a.q) + a.q_layout.place(batch, head, first + lane / 8) + lane % 8 * 4;
        const auto rows = static_cast<int>(core::clamp(a.shape.q_len - first, 0, tf32_warp_rows));
#pragma unroll 1
        for (int k = 0; k < tf32_warp_rows / 4; ++k) {
            const int row = lane / 8 + 4 * k;
            const int columns = row < rows ? static_cast<int>(a.shape.head_dim) - lane % 8 * 4 : 0;
#pragma unroll(vectors ? tile::dim / tf32_panel : 1)
            for (int panel = 0; panel < tile::dim / tf32_panel; ++panel) {
                copy_chunk<vectors>(rows_ + panel * panel_bytes + chunk_offset<tf32_warp_rows>(row, lane % 8),
                                    q + panel * tf32_panel, columns - panel * tf32_panel);
            }
            q += 4 * a.q_layout.row;
        }
    }

    static constexpr int panel_bytes = tf32_warp_rows * panel_row_bytes;
    char* rows_;
    std::uint32_t first_; ///< shared address of this lane's first element
};

} // namespace pantile::inline v0::cuda
