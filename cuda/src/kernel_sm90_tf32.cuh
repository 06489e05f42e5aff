#pragma once

#include "ptx/registers.cuh"
#include "sm90_tf32/consumer.cuh"
#include "sm90_tf32/splitter.cuh"

// Forward attention in fp32 on Hopper (sm_90a): every product is three tf32 products of the warpgroup matrix unit,
// x·y = high·high + (high·low + low·high). A block stays on its multiprocessor and takes row tiles one after the other. One
// warpgroup, the splitter, brings K and V tiles in stages of 64 columns and splits them into high and low planes in shared
// memory, once for all rows of the tile. The other warpgroups, 64 query rows each, split Q and P in registers and multiply.
// While one of them does its softmax, the matrix unit works for the other. So core::walk is divided: its fetches are the
// splitter's, its scores and values the consumers'.
// A key tile costs the matrix unit 3·rows·keys·(dim + value_dim) / 1024 clocks (6144 for 128 x 64 at d 128) and shared
// memory, in clocks of 128 bytes, half of that for K and V as operands, keys·(dim + value_dim) / 8 for making their planes,
// and rows·dim / 32 for Q.

namespace pantile::inline v0::cuda {

template <class tile>
__global__ void __launch_bounds__(tile::threads, 1)
    sm90_tf32_kernel(const __grid_constant__ forward_arguments a, const __grid_constant__ work_order order) {
    extern __shared__ char raw[];
    auto& shared = *reinterpret_cast<tf32_shared<tile>*>(
        raw + (tile_alignment - ptx::shared_address(raw) % tile_alignment) % tile_alignment);
    if (threadIdx.x == 0) {
        // All threads of a warpgroup arrive, but of row tiles their announcer alone tells.
        for (int s = 0; s < tile::stages; ++s) {
            ptx::initialise(shared.full[s], 128);
            ptx::initialise(shared.empty[s], 128 * tile::consumers);
        }
        for (unsigned s = 0; s < tf32_notes; ++s) {
            ptx::initialise(shared.note_full[s], 1);
            ptx::initialise(shared.note_empty[s], 128 + 128 * tile::consumers);
        }
        ptx::fence_initialised_barriers();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        ptx::give_up_registers_to<tile::splitter_registers>();
        tf32_splitter<tile>(a, order, shared).run();
    } else {
        ptx::claim_registers_to<tile::consumer_registers>();
        tf32_consumer<tile>(a, shared, static_cast<int>(threadIdx.x) / 128 - 1).run();
    }
}

} // namespace pantile::inline v0::cuda
