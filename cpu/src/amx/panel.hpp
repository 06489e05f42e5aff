/// \file
/// The grain of the matrix unit's work.
#pragma once

#include <pantile/core/macros.hpp>

namespace pantile::cpu::amx {

inline constexpr int panel_rows = 32; ///< queries of a panel: two tiles side by side
inline constexpr int block_keys = 32; ///< keys of a block of scores: two tiles, and the length of one P·V product

/// Floats from a key's scores to the next key's. The scores of two panels lie interleaved, 128 bytes of one, 128 bytes of
/// the other: their addresses then differ modulo 4 KiB, and a load from one panel's scores is never taken for a load from where the
/// other's are just being stored (the processor compares 12 bits at first).
inline constexpr index_t score_stride = 2 * panel_rows;

/// What one panel has to do with the current key tile.
struct panel_visit {
    index_t panel = -1; ///< number in the row tile; -1: none
    index_t first = 0;  ///< blocks of keys [first, last) of the tile
    index_t last = 0;
    float* scores = nullptr; ///< [key][query], later P: [pair of keys][query]{even, odd} in the even keys' place
    float* factor = nullptr; ///< [query]: what earlier sums of O are multiplied by

    [[nodiscard]] PANTILE_FN bool any() const { return panel >= 0; }
    [[nodiscard]] PANTILE_FN index_t blocks() const { return last - first; }
};

} // namespace pantile::cpu::amx
