#pragma once

#include <pantile/core/schedule.hpp>

// core::schedule for one row tile without a tile map, evaluated once: what is left to ask fits a few 32-bit registers.

namespace pantile::inline v0::cuda {

/// The key tiles that one row tile visits are one run, and those without hidden scores a run within it. Serves core::walk as
/// a schedule. Tiles are counted, not keys, so that there may be more than 2^31 keys.
struct tile_run {
    int begin = 0; ///< first key tile visited
    int end = 0;   ///< one past the last; equal to begin: the rows see no key
    int full_begin = 0;
    int full_end = 0; ///< tiles of [full_begin, full_end) hide no score
    core::span row_span;

    struct tile {
        int index;
        core::visit due;
    };
    struct range {
        int begin;
        int end;
    };

    template <int keys>
    static PANTILE_FN tile_run of(const core::schedule& plan, index_t row_tile) {
        const core::band& mask = plan.mask;
        tile_run run;
        run.row_span = plan.rows(row_tile);
        const index_t first = run.row_span.begin;
        const index_t last = run.row_span.end - 1;
        const core::span some{mask.lo(first), mask.hi(last)}; // keys that some row sees
        const core::span all{mask.lo(last), mask.hi(first)};  // keys that every row sees
        if (some.empty() || mask.left + mask.right < 0) return run;
        run.begin = static_cast<int>(some.begin / keys);
        run.end = static_cast<int>((some.end + keys - 1) / keys);
        run.full_begin = static_cast<int>((all.begin + keys - 1) / keys);
        run.full_end = static_cast<int>(all.end / keys);
        return run;
    }

    PANTILE_FN core::span rows(index_t) const { return row_span; }
    PANTILE_FN range key_range(index_t) const { return {begin, end}; }
    PANTILE_FN tile next_key_tile(index_t, int from, range visited) const {
        if (from >= visited.end) return {from, core::visit::skip};
        return {from, from >= full_begin && from < full_end ? core::visit::full : core::visit::partial};
    }
};

} // namespace pantile::inline v0::cuda
