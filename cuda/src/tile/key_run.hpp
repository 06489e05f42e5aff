#pragma once

#include <pantile/core/schedule.hpp>

// The key tiles that one row tile visits, as a run of 32-bit numbers: what a producer with few registers walks through.

namespace pantile::inline v0::cuda {

/// What core::schedule says of row tile `row_tile` in the absence of a tile map: visited tiles are one run, those without
/// hidden scores a run within it. Lengths below 2^31.
struct key_run {
    int begin = 0;         ///< first key tile visited
    int end = 0;           ///< one past the last; equal to begin: the rows see no key
    int visible_begin = 0; ///< keys that some row sees
    int visible_end = 0;
    int common_begin = 0; ///< keys that every row sees
    int common_end = 0;

    template <int keys>
    static PANTILE_FN key_run of(const core::schedule& plan, index_t row_tile) {
        const core::span rows = plan.rows(row_tile);
        key_run run;
        run.visible_begin = static_cast<int>(plan.mask.lo(rows.begin));
        run.visible_end = static_cast<int>(plan.mask.hi(rows.end - 1));
        run.common_begin = static_cast<int>(plan.mask.lo(rows.end - 1));
        run.common_end = static_cast<int>(plan.mask.hi(rows.begin));
        if (run.visible_end > run.visible_begin) {
            run.begin = run.visible_begin / keys;
            run.end = (run.visible_end + keys - 1) / keys;
        }
        return run;
    }

    /// Some score of the tile must be hidden: the mask does, or the keys end inside it.
    template <int keys>
    PANTILE_FN bool hides(int tile) const {
        return tile * keys < common_begin || tile * keys + keys > common_end;
    }
};

} // namespace pantile::inline v0::cuda
