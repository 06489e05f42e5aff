#pragma once

#include "../arguments.hpp"
#include "../ptx/barrier.cuh"
#include "../ptx/convert.cuh"
#include "../ptx/store.cuh"
#include "../tile/softmax.cuh"
#include "tile.hpp"

// O from accumulator registers through shared memory to the copy engine.

namespace pantile::inline v0::cuda {

/// One warp's 16 rows, times their factors: element o[4j + 2r + e] of a lane is column 8j + 2 (lane % 4) + e of row lane / 4 + 8r.
/// `stage` is the warp's own; the copy engine reads it while the warp goes on, and until
/// wait_until_stores_are_read. Traffic: registers to shared memory in 512-byte pieces, and from there whole panels.
template <class T, int n>
__device__ __forceinline__ void store_through_shared_memory(const CUtensorMap& map, char* stage, const float (&o)[n],
                                                            const float (&factor)[2], int first_row, int head,
                                                            int batch) {
    constexpr int panel_bytes = warp_rows * panel_row_bytes;
    const int lane = static_cast<int>(threadIdx.x % 32);
    if (lane == 0) ptx::wait_until_stores_are_read(); // of the row tile before
    __syncwarp();
    const std::uint32_t row = ptx::shared_address(stage) + lane % 16 * panel_row_bytes;
#pragma unroll
    for (int j = 0; j < n / 4; j += 2) {
        std::uint32_t w[4]; // rows 0 to 7 and 8 to 15 of chunk j, then of chunk j + 1
#pragma unroll
        for (int m = 0; m < 4; ++m) {
            const int i = 4 * (j + m / 2) + 2 * (m % 2);
            w[m] = ptx::pack<T>(o[i] * factor[m % 2], o[i + 1] * factor[m % 2]);
        }
        const int chunk = (j % 8 + lane / 16) ^ (lane % 8);
        ptx::store_matrices(row + j / 8 * panel_bytes + chunk * 16, w);
    }
    ptx::fence_async_proxy();
    __syncwarp();
    if (lane == 0) {
#pragma unroll
        for (int panel = 0; panel < n / 32; ++panel) {
            ptx::store_box(map, stage + panel * panel_bytes, panel * panel_columns, first_row, head, batch);
        }
        ptx::commit_stores();
    }
}

} // namespace pantile::inline v0::cuda
