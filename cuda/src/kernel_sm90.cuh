#pragma once

#include "ptx/registers.cuh"
#include "sm90/consumer.cuh"
#include "sm90/producer.cuh"

// Forward attention for fp16 and bf16 on Hopper (sm_90a). A block stays on its multiprocessor and takes row tiles one
// after the other. Of one warpgroup two threads are producers: they walk the core's schedule and have the copy engine bring
// Q, K and V tiles into shared memory, each with a note that says where it stands and which scores are cut. The other
// warpgroups are consumers, 64 query rows each: S = Q·Kᵀ and O += P·V on the matrix unit, P from registers.
// A key tile costs the matrix unit rows·keys·(dim + value_dim) / 2048 clocks (2048 for 128 x 128 at d 128), the
// exponentials rows·keys / 16 (1024), and K and V from L2 2·keys·(dim + value_dim) bytes for all rows (64 KB).

namespace pantile::inline v0::cuda {

template <class T, class tile, bool arithmetic>
__global__ void __launch_bounds__(tile::threads, 1)
    sm90_kernel(const __grid_constant__ forward_arguments a, const __grid_constant__ work_order order,
                const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map,
                const __grid_constant__ CUtensorMap v_map, const __grid_constant__ CUtensorMap o_map) {
    extern __shared__ char raw[];
    auto& shared = *reinterpret_cast<sm90_shared<tile>*>(
        raw + (tile_alignment - ptx::shared_address(raw) % tile_alignment) % tile_alignment);
    if (threadIdx.x == 0) {
        // Of the producers one thread arrives; of a consumer, which gives buffers back, all do.
        for (int s = 0; s < tile::q_stages; ++s) {
            ptx::initialise(shared.q_full[s], 1);
            ptx::initialise(shared.q_empty[s], 128 * tile::consumers);
        }
        for (int s = 0; s < tile::stages; ++s) {
            ptx::initialise(shared.k_full[s], 1);
            ptx::initialise(shared.v_full[s], 1);
            ptx::initialise(shared.k_empty[s], 128 * tile::consumers);
            ptx::initialise(shared.v_empty[s], 128 * tile::consumers);
        }
        for (int s = 0; s < sm90_shared<tile>::items; ++s) {
            ptx::initialise(shared.item_full[s], 1);
            ptx::initialise(shared.item_empty[s], 1);
        }
        ptx::initialise(shared.counter_is_open, 1);
        ptx::fence_initialised_barriers();
    } else if (threadIdx.x == 32) { // the copy engine's first look at a map takes as long as a load
        ptx::prefetch_map(k_map);
        ptx::prefetch_map(q_map);
        ptx::prefetch_map(v_map);
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        ptx::give_up_registers_to<tile::producer_registers>();
        if (threadIdx.x == 0) {
            query_producer<tile>(a, order, shared, q_map).run();
        } else if (threadIdx.x == 32) {
            key_producer<tile>(a, shared, k_map, v_map).run();
        } else if (threadIdx.x == 64 && a.workspace != nullptr) {
            item_counter::of(a).open();
            ptx::arrive(shared.counter_is_open);
        }
    } else {
        ptx::claim_registers_to<tile::consumer_registers>();
        sm90_consumer<T, tile, arithmetic>(a, shared, o_map, static_cast<int>(threadIdx.x) / 128 - 1).run();
    }
}

} // namespace pantile::inline v0::cuda
