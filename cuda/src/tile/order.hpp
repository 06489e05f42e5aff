#pragma once

#include <pantile/core/macros.hpp>

// The order in which row tiles run.

namespace pantile::cuda {

/// One row tile of one head (or of one group of packed heads) of one batch; `head` counts over all batches.
struct work_item {
    index_t head = 0;
    index_t row_tile = 0;
};

/// Item number `n` of heads · row_tiles. Heads run in sections, few enough that the K and V of a section stay in L2;
/// inside a section the last row tiles run first, since under a causal mask they are the longest and a short one should
/// end the launch.
PANTILE_FN work_item item(index_t n, index_t heads, index_t row_tiles, index_t section) {
    const index_t first = n / (section * row_tiles) * section;
    const index_t width = core::min(section, heads - first);
    const index_t inside = n - first * row_tiles;
    return {first + inside % width, row_tiles - 1 - inside / width};
}

} // namespace pantile::cuda
