/// \file
/// Tile sizes are data: the plan that a walk follows, and the facts about a machine that it is chosen from.
#pragma once

#include <pantile/core/macros.hpp>
#include <pantile/core/problem.hpp>

namespace pantile::inline v0 {

/// Sizes of one tiling. Only key_tile and key_splits change the order of additions, so choose_plan makes these a function
/// of shapes, dtype, machine and options, never of the thread count.
struct tile_plan {
    index_t row_tile = 0;   ///< query rows of a row tile (Br)
    index_t key_tile = 0;   ///< keys of a key tile (Bc)
    index_t key_splits = 1; ///< parts that the keys are cut into; their partial results are merged in index order

    constexpr bool operator==(const tile_plan&) const = default;
};

namespace core {

/// What choose_plan needs to know about a machine with caches.
struct machine_limits {
    index_t row_quantum = 1; ///< rows that the micro-kernel works on at once (a panel): row tiles are multiples of it
    index_t key_quantum = 1; ///< keys that the micro-kernel works on at once: key tiles are multiples of it
    index_t max_row_tile = 256; ///< beyond this nothing is gained
    index_t max_key_tile = 128;
    index_t element_bytes = 4;   ///< of one number in the fast memory (compute precision)
    index_t near_bytes = 32768;  ///< fastest memory: one panel's working set should fit (L1 of a CPU core)
    index_t far_bytes = 1 << 20; ///< next level: a row tile's working set should fit (L2 of a CPU core)
    index_t decode_rows = 0;     ///< with at most so many packed query rows the keys are split instead of the rows
    index_t split_keys = 0;      ///< keys that make a split worth its merge
    index_t max_splits = 1;
};

} // namespace core
} // namespace pantile::inline v0
