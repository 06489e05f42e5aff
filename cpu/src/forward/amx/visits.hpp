/// \file
/// The order in which the panels of a row tile take the keys of a key tile.
#pragma once

#include <pantile/core/schedule.hpp>
#include <pantile/float16.hpp>

#include "panel.hpp"

namespace pantile::inline v0::cpu::amx {

/// What one panel has to do with the current key tile.
struct panel_visit {
    index_t panel = -1; ///< number in the row tile; -1: none
    index_t first = 0;  ///< blocks of keys [first, last) of the tile
    index_t last = 0;
    float* scores = nullptr; ///< [key][query], see score_stride
    bfloat16* p = nullptr;   ///< a block's two operand tiles after the other: [pair of keys][query]{even, odd}
    float* factor = nullptr; ///< [query]: what earlier sums of O are multiplied by

    [[nodiscard]] PANTILE_FN bool any() const { return panel >= 0; }
    [[nodiscard]] PANTILE_FN index_t blocks() const { return last - first; }
    [[nodiscard]] PANTILE_FN float* scores_of(index_t b) const { return scores + b * block_keys * score_stride; }
    [[nodiscard]] PANTILE_FN bfloat16* p_of(index_t b) const { return p + b * 2 * tile_numbers; }
};

/// The panels that see a key of the tile, one after the other.
class visits {
  public:
    PANTILE_FN visits(const core::band& mask, core::span rows, core::span keys)
        : mask_(mask), rows_(rows), keys_(keys) {}

    /// Rows of panel u.
    [[nodiscard]] static PANTILE_FN core::span rows_of(core::span rows, index_t u) {
        const index_t first = rows.begin + u * panel_rows;
        return {first, core::min(first + panel_rows, rows.end)};
    }

    /// The next visit, without memory; none is left: not any().
    PANTILE_FN panel_visit next() {
        while (panel_ * panel_rows < rows_.size()) {
            const panel_visit found = visit(panel_++);
            if (found.blocks() > 0) return found;
        }
        return {};
    }

  private:
    [[nodiscard]] PANTILE_FN panel_visit visit(index_t u) const {
        const core::span mine = rows_of(rows_, u);
        const index_t begin = core::max(mask_.lo(mine.begin), keys_.begin) - keys_.begin;
        const index_t end = core::max(core::min(mask_.hi(mine.end - 1), keys_.end) - keys_.begin, begin);
        return {u, begin / block_keys, begin < end ? core::ceil_div(end, block_keys) : begin / block_keys};
    }

    core::band mask_;
    core::span rows_;
    core::span keys_;
    index_t panel_ = 0;
};

} // namespace pantile::inline v0::cpu::amx
