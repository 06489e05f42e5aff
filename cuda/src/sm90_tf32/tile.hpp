#pragma once

#include "../tile/swizzle.hpp"

#include <type_traits>

// The sizes of one fp32 kernel on Hopper.

namespace pantile::inline v0::cuda {

/// What an instance is free to choose.
struct tf32_shape {
    int dim = 0;       ///< padded head dim, a multiple of 32
    int value_dim = 0; ///< padded value dim, a multiple of 32
    int keys = 0;      ///< of a key tile: 32 or 64
    int consumers = 2; ///< warpgroups of 64 query rows
    int stages = 5;    ///< of the ring that K and V pass through
    int ahead = 2;     ///< stages whose copies are under way while an earlier one is split
    /// Panels of a stage (2) that a warp reads before it writes their planes: two hide more of the latency, one comes in
    /// shorter bursts, which hold up the consumers' shuffles less.
    int panels_at_once = 2;
    int chunk = 64;    ///< columns of V that one product multiplies by
    int fragments = 3; ///< of Q, 16 columns each, in registers: with two, none are made beside the products before
    int splitter_registers = 56;
    int consumer_registers = 224;
};

/// Rows of Q that one warp reads.
inline constexpr int tf32_warp_rows = 16;
/// Columns of K or V in a stage.
inline constexpr int tf32_stage_columns = 64;
/// fp32 columns of a panel.
inline constexpr int tf32_panel = panel_row_bytes / 4;

/// Calls `f` with the columns of a stage as a constant: `last_columns` of the last stage of a tile, all of the others.
template <int last_columns, class F>
PANTILE_FN void with_columns(bool last, const F& f) {
    if (last_columns < tf32_stage_columns && last) {
        f(std::integral_constant<int, last_columns>{});
    } else {
        f(std::integral_constant<int, tf32_stage_columns>{});
    }
}

template <tf32_shape shape>
struct tf32_tile {
    static constexpr int dim = shape.dim;
    static constexpr int value_dim = shape.value_dim;
    static constexpr int keys = shape.keys;
    static constexpr int consumers = shape.consumers;
    static constexpr int stages = shape.stages;
    static constexpr int ahead = shape.ahead;
    static constexpr int panels_at_once = shape.panels_at_once;
    static constexpr int chunk = shape.chunk;
    static constexpr int fragments = shape.fragments;
    static constexpr int splitter_registers = shape.splitter_registers;
    static constexpr int consumer_registers = shape.consumer_registers;
    static constexpr int rows = 64 * consumers;
    static constexpr int threads = 128 * (consumers + 1);
    static constexpr int key_stages = (dim + tf32_stage_columns - 1) / tf32_stage_columns;
    static constexpr int value_stages = (value_dim + tf32_stage_columns - 1) / tf32_stage_columns;
    static constexpr int last_key_columns = dim - (key_stages - 1) * tf32_stage_columns; ///< of the last stage
    static constexpr int last_value_columns = value_dim - (value_stages - 1) * tf32_stage_columns;
    static constexpr int q_bytes = tile_bytes(tf32_warp_rows, dim, 4); ///< of one warp
    static constexpr int plane_bytes = tile_bytes(keys, tf32_stage_columns, 4);

    static_assert(dim % tf32_panel == 0 && value_dim % chunk == 0 && tf32_stage_columns % chunk == 0);
    static_assert(keys == 32 || keys == 64);
    static_assert(ahead < stages - 1 && ahead <= key_stages + value_stages);
    // setmaxnreg hands out what the block was given at its launch and no more: a warpgroup that asks for more waits forever.
    static_assert(splitter_registers + consumers * consumer_registers <= 65536 / threads / 8 * 8 * (consumers + 1));
};

} // namespace pantile::inline v0::cuda
