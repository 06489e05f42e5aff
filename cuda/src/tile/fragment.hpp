#pragma once

#include <pantile/core/macros.hpp>

// The accumulator of a score tile: which (row, key) of the tile each of a thread's numbers belongs to. mma.sync and wgmma agree
// on it. A thread holds two rows, g = lane / 4 and g + 8, of every block of 8 keys:
//
//     element 4j + 2r + e of lane 4g + t      row g + 8r, key 8j + 2t + e

namespace pantile::inline v0::cuda {

struct fragment {
    /// Of element i: 0 for row g, 1 for row g + 8.
    static PANTILE_FN int row(int i) { return i / 2 % 2; }
    /// The key of element i, counted from the thread's first.
    static PANTILE_FN int key(int i) { return i / 4 * 8 + i % 2; }
    /// Row r (0, 1) of a lane, counted from the warp's first.
    static PANTILE_FN int row_of_lane(int lane, int r) { return lane / 4 + 8 * r; }
    /// The first key of a lane.
    static PANTILE_FN int first_key(int lane) { return 2 * (lane % 4); }
};

} // namespace pantile::inline v0::cuda
