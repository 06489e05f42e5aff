#pragma once

#include <pantile/core/macros.hpp>

// The order in which row tiles run.

namespace pantile::inline v0::cuda {

/// One row tile of one head (or of one group of packed heads) of one batch; `head` counts over all batches.
struct work_item {
    int head = 0;
    int row_tile = 0;
};

/// Item number `n` of heads · row_tiles (less than 2^31: divisions of 32 bits are several times cheaper). Heads run one
/// after the other, so that the blocks of a moment share K and V; the last `tail` heads run together. Last row tiles run
/// first: under a causal mask they are the longest, and short ones should end the launch.
PANTILE_FN work_item item(unsigned n, unsigned heads, unsigned row_tiles, unsigned tail) {
    const unsigned apart = (heads - tail) * row_tiles;
    if (n < apart) {
        return {static_cast<int>(n / row_tiles), static_cast<int>(row_tiles - 1 - n % row_tiles)};
    }
    const unsigned m = n - apart;
    return {static_cast<int>(heads - tail + m % tail), static_cast<int>(row_tiles - 1 - m / tail)};
}

} // namespace pantile::inline v0::cuda
