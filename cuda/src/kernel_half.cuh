#pragma once

#include "half/machine.cuh"
#include "tile/order.hpp"
#include "tile/split.hpp"

#include <pantile/core/schedule.hpp>

// Forward attention of many query rows in fp16 and bf16, on any GPU from sm_80 on: one block a row tile, every thread runs
// the core's walk over the key tiles (half/machine.cuh), products by mma.sync with 32 query rows a warp (half/tile.hpp).
//
// Traffic of a key tile: K and V once from L2 into shared memory, by cp.async one step ahead; from there to each warp all
// of K and V (half of them where two warps share rows) and its rows of Q.

namespace pantile::inline v0::cuda {

/// Block x: (row tile, head, batch) in the order of `item`; block y: the split of the keys.
template <class T, class tile, bool scored>
__global__ void __launch_bounds__(tile::threads, tile::resident)
    half_kernel(const __grid_constant__ forward_arguments a, const __grid_constant__ half_constants constants) {
    extern __shared__ char raw[];
    __shared__ alignas(half_work<T>) char memory[sizeof(half_work<T>)];
    auto& facts = *reinterpret_cast<half_work<T>*>(memory);
    const auto heads = static_cast<unsigned>(a.shape.q_heads);
    const work_item work =
        item(blockIdx.x, static_cast<unsigned>(a.shape.batch) * heads,
             static_cast<unsigned>(core::ceil_div(a.shape.q_len, tile::rows)), static_cast<unsigned>(a.tail));
    const unsigned batch = static_cast<unsigned>(work.head) / heads;
    const unsigned head = static_cast<unsigned>(work.head) % heads;
    half_machine<T, tile, scored> machine(
        a, constants, facts, raw + (tile_alignment - ptx::shared_address(raw) % tile_alignment) % tile_alignment);
    machine.fetch_queries(batch, head, work.row_tile);
    if (threadIdx.x == 0) {
        core::sequence part = a.shape.sequence_of(batch);
        if (a.tiles.key_splits > 1) {
            part = part.part(split_keys(part.k_len, tile::keys, a.tiles.key_splits, static_cast<index_t>(blockIdx.y)));
        }
        const core::schedule plan(part, a.shape.band_of(part), tile::rows, tile::keys);
        const unsigned kv_head = head / (heads / static_cast<unsigned>(a.shape.kv_heads));
        tile_run run = tile_run::of<tile::keys>(plan, work.row_tile);
        if (scored || constants.scale.sign != 1.0F) run.full_end = run.full_begin; // scores change where masks cut
        facts.run = run;
        facts.visible = {plan.mask.lo(run.row_span.begin), plan.mask.hi(run.row_span.end - 1)};
        facts.low = run.row_span.begin + part.offset - a.shape.mask.left;
        facts.high = run.row_span.begin + part.offset + a.shape.mask.right + 1;
        if constexpr (scored) {
            facts.diagonal = run.row_span.begin + part.offset;
            facts.slope = a.score.slope_of(a.shape.features, batch, head);
        }
        facts.k_len = part.k_len;
        facts.k = static_cast<const T*>(a.k) + a.k_layout.place(batch, kv_head, part.k_begin);
        facts.v = static_cast<const T*>(a.v) + a.v_layout.place(batch, kv_head, part.k_begin);
        facts.batch = static_cast<int>(batch);
        facts.head = static_cast<int>(head);
        facts.rows = static_cast<int>(run.row_span.size());
    }
    __syncthreads();
    tile_run run = facts.run;
    // The same number in every lane, and known as such: it can live in a uniform register.
    const auto uniform = [](int x) { return __shfl_sync(0xffffffffU, x, 0); };
    run.begin = uniform(run.begin);
    run.end = uniform(run.end);
    run.full_begin = uniform(run.full_begin);
    run.full_end = uniform(run.full_end);
    core::walk::forward(machine, run, work.row_tile);
}

} // namespace pantile::inline v0::cuda
