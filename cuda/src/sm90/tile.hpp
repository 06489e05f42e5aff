#pragma once

#include "../tile/swizzle.hpp"

// The sizes of one Hopper kernel.

namespace pantile::inline v0::cuda {

/// What an instance is free to choose.
struct sm90_shape {
    int dim = 0;       ///< padded head dim, a multiple of 64
    int value_dim = 0; ///< padded value dim, a multiple of 64
    int keys = 0;      ///< of a key tile
    int consumers = 2; ///< warpgroups of 64 query rows
    int q_stages = 1;  ///< 2: the next row tile's Q loads while this one's last tiles run
    /// The first scores of a row tile are issued beside the last P·V of the one before. Needs two Q tiles, and registers for
    /// two row tiles' states.
    bool joins_row_tiles = false;
    /// What a softmax runs beside. true: the products of the other consumers, which issue theirs in turns. false: the
    /// warpgroup's own P·V of the tile before.
    bool takes_turns = true;
    bool stages_out = false; ///< O leaves through shared memory and the copy engine
};

inline constexpr int warp_rows = 16; ///< of a 64-row product, by one of four warps

template <sm90_shape shape>
struct sm90_tile {
    static constexpr int dim = shape.dim;
    static constexpr int value_dim = shape.value_dim;
    static constexpr int keys = shape.keys;
    static constexpr int consumers = shape.consumers;
    static constexpr int q_stages = shape.q_stages;
    static constexpr bool joins_row_tiles = shape.joins_row_tiles;
    static constexpr bool takes_turns = shape.takes_turns;
    static constexpr bool stages_out = shape.stages_out;
    static constexpr int rows = 64 * consumers;
    static constexpr int stages = 2; ///< of K, and of V
    static constexpr int threads = 128 * (consumers + 1);
    static constexpr int producer_registers = consumers == 2 ? 40 : 32;
    static constexpr int consumer_registers = consumers == 2 ? 232 : 160;
    static constexpr int q_bytes = tile_bytes(rows, dim);
    static constexpr int k_bytes = tile_bytes(keys, dim);
    static constexpr int v_bytes = tile_bytes(keys, value_dim);

    static_assert(consumers == 2 || consumers == 3);
    static_assert(!joins_row_tiles || q_stages == 2);
    static_assert(dim % 64 == 0 && value_dim % 64 == 0 && keys % 16 == 0);
    // setmaxnreg hands out what the block was given at its launch and no more: a warpgroup that asks for more waits forever.
    static_assert(producer_registers + consumers * consumer_registers <= 65536 / threads / 8 * 8 * (consumers + 1));
};

} // namespace pantile::inline v0::cuda
