/// \file
/// The order in which the panels of a row tile take the keys of a key tile.
#pragma once

#include <pantile/core/schedule.hpp>

#include "panel.hpp"

namespace pantile::cpu::amx {

/// What one panel has to do with a part of the current key tile.
struct panel_visit {
    index_t panel = -1; ///< number in the row tile; -1: none
    index_t part = 0;   ///< first block of the part
    index_t first = 0;  ///< blocks of keys [first, last) of the tile, in the part
    index_t last = 0;
    float* scores =
        nullptr; ///< of the part: [key][query], later P: [pair of keys][query]{even, odd} in the even keys' place
    float* factor = nullptr; ///< [query]: what earlier sums of O are multiplied by

    [[nodiscard]] PANTILE_FN bool any() const { return panel >= 0; }
    [[nodiscard]] PANTILE_FN index_t blocks() const { return last - first; }
    [[nodiscard]] PANTILE_FN float* block(index_t b) const { return scores + (b - part) * block_keys * score_stride; }
};

/// Groups of panels outside, parts of the key tile, panels of the group inside: the scores of a part and O of a group stay
/// in L1, K and V come from L2 once a group. Only visits that see a key.
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
        const index_t panels = core::ceil_div(rows_.size(), panel_rows);
        const index_t blocks = core::ceil_div(keys_.size(), block_keys);
        for (; group_ < panels; group_ += group_panels, part_ = 0) {
            for (; part_ < blocks; part_ += part_blocks, panel_ = 0) {
                while (panel_ < core::min(group_panels, panels - group_)) {
                    const panel_visit found = visit(group_ + panel_++);
                    if (found.blocks() > 0) return found;
                }
            }
        }
        return {};
    }

  private:
    [[nodiscard]] PANTILE_FN panel_visit visit(index_t u) const {
        const core::span mine = rows_of(rows_, u);
        const index_t begin = core::max(mask_.lo(mine.begin), keys_.begin) - keys_.begin;
        const index_t end = core::max(core::min(mask_.hi(mine.end - 1), keys_.end) - keys_.begin, begin);
        const index_t last = begin < end ? core::ceil_div(end, block_keys) : 0;
        return {u, part_, core::max(begin / block_keys, part_), core::min(last, part_ + part_blocks)};
    }

    core::band mask_;
    core::span rows_;
    core::span keys_;
    index_t group_ = 0; // its first panel
    index_t part_ = 0;  // its first block
    index_t panel_ = 0; // of the group
};

} // namespace pantile::cpu::amx
