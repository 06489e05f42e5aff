#pragma once

#include "../arguments.hpp"
#include "../ptx/barrier.cuh"
#include "../sm90/shared.cuh"
#include "../tile/key_run.hpp"
#include "tile.hpp"

// What the warpgroups of a block share.

namespace pantile::inline v0::cuda {

/// K or V of one head, of which keys [begin, end) are worth reading; the others become zeros.
struct alignas(16) tf32_source {
    const float* head;
    int begin;
    int end;
};

/// A row tile of this block.
struct tf32_note {
    int batch; ///< -1: no more work
    int head;
    core::span rows;
    core::band mask;
    key_run run;
    tf32_source source[2]; ///< K and V
};

/// One part of a K or V tile: 64 columns of all its keys. It arrives as fp32 numbers in the high plane and becomes two
/// planes of tf32 numbers in place: K as it came, [key][column]; V as [column][key].
template <class tile>
struct tf32_stage {
    char high[tile::plane_bytes];
    char low[tile::plane_bytes];
};

/// Row tiles that the splitter may be ahead of the slowest consumer, and one.
inline constexpr unsigned tf32_notes = 4;

template <class tile>
struct alignas(tile_alignment) tf32_shared {
    char q[4 * tile::consumers][tile::q_bytes]; ///< a warp's own 16 rows, panel after panel
    tf32_stage<tile> stage[tile::stages];
    ptx::barrier full[tile::stages], empty[tile::stages];
    ptx::barrier note_full[tf32_notes], note_empty[tf32_notes];
    tf32_note note[tf32_notes];
};

} // namespace pantile::inline v0::cuda
