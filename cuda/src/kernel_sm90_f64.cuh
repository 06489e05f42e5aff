#pragma once

#include "sm90_f64/machine.cuh"
#include "tile/order.hpp"

// Forward attention in fp64 on Hopper (sm_90), whose matrix unit multiplies fp64 at twice the rate of its vector unit: one
// block a row tile, every thread runs the core's walk (sm90_f64/machine.cuh). Traffic of a key tile: K and V once from L2.

namespace pantile::inline v0::cuda {

template <class tile, bool scored>
__global__ void __launch_bounds__(tile::threads, tile::resident)
    sm90_f64_kernel(const __grid_constant__ forward_arguments a, const __grid_constant__ f64_constants constants,
                    const __grid_constant__ sm90_f64_maps maps) {
    extern __shared__ char raw[];
    auto& shared = *reinterpret_cast<sm90_f64_shared<tile>*>(
        raw + (tile_alignment - ptx::shared_address(raw) % tile_alignment) % tile_alignment);
    auto& facts = *reinterpret_cast<f64_work*>(shared.work);
    const auto heads = static_cast<unsigned>(a.shape.q_heads);
    const work_item work =
        item(blockIdx.x, static_cast<unsigned>(a.shape.batch) * heads,
             static_cast<unsigned>(core::ceil_div(a.shape.q_len, tile::rows)), static_cast<unsigned>(a.tail));
    for (int i = static_cast<int>(threadIdx.x); i < f64_steps; i += tile::threads) shared.table[i] = f64_table_entry(i);
    if (threadIdx.x == 0) {
        for (int i = 0; i < tile::slots; ++i) {
            ptx::initialise(shared.full[i], 1);
            ptx::initialise(shared.empty[i], tile::threads);
        }
        ptx::fence_initialised_barriers();
        facts.batch = work.head / static_cast<int>(heads);
        facts.first_head = work.head % static_cast<int>(heads);
        facts.split = 0;
        facts.set<tile>(a, a.shape.sequence_of(facts.batch), tile::rows, work.row_tile);
    }
    __syncthreads();
    sm90_f64_machine<tile, scored> machine(a, constants, shared, maps);
    core::walk::forward(machine, facts.run, work.row_tile);
}

} // namespace pantile::inline v0::cuda
