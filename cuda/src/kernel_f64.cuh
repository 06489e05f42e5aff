#pragma once

#include "f64/machine.cuh"
#include "tile/order.hpp"
#include "tile/split.hpp"

// Forward attention in fp64 on any GPU from sm_80 on: one block a row tile, every thread runs the core's walk over the key
// tiles (f64/machine.cuh); f64/tile.hpp says who holds what. Hopper has a kernel of its own where the copy engine can read
// the tensors (kernel_sm90_f64.cuh).

namespace pantile::inline v0::cuda {

/// Block x: (row tile, head, batch) in the order of `item`; block y: the split of the keys.
template <class tile, bool scored>
__global__ void __launch_bounds__(tile::threads, tile::resident)
    f64_kernel(const __grid_constant__ forward_arguments a, const __grid_constant__ f64_constants constants) {
    extern __shared__ char raw[];
    auto& shared = *reinterpret_cast<f64_shared<tile>*>(
        raw + (tile_alignment - ptx::shared_address(raw) % tile_alignment) % tile_alignment);
    auto& facts = *reinterpret_cast<f64_work*>(shared.work);
    const index_t positions = a.tiles.row_tile / a.heads_packed;
    const auto groups = static_cast<int>(a.shape.q_heads / a.heads_packed); // of packed heads
    const work_item work =
        item(blockIdx.x, static_cast<unsigned>(a.shape.batch * groups),
             static_cast<unsigned>(core::ceil_div(a.shape.q_len, positions)), static_cast<unsigned>(a.tail));
    for (int i = static_cast<int>(threadIdx.x); i < f64_steps; i += tile::threads) shared.table[i] = f64_table_entry(i);
    if (threadIdx.x == 0) {
        facts.batch = work.head / groups;
        facts.first_head = work.head % groups * static_cast<int>(a.heads_packed);
        facts.split = static_cast<int>(blockIdx.y);
        const core::sequence whole = a.shape.sequence_of(facts.batch);
        facts.set<tile>(a, whole.part(split_keys(whole.k_len, tile::keys, a.tiles.key_splits, facts.split)), positions,
                        work.row_tile);
    }
    __syncthreads();
    f64_machine<tile, scored> machine(a, constants, facts, shared);
    core::walk::forward(machine, facts.run, work.row_tile);
}

} // namespace pantile::inline v0::cuda
