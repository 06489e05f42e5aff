#pragma once

#include <pantile/core/macros.hpp>

// Who holds what in the products of fp32 tiles. The matrix unit sums over k in any order as long as both operands
// agree on it, and their columns may stand for any columns of the result. Both freedoms are spent so that every lane reads
// whole 16-byte chunks, that the lanes of a quarter warp meet no bank twice, and that P needs no exchange between lanes.
// With g = lane / 4, t = lane % 4, C = 32 columns of a panel, N = C / 8:
//     Q·Kᵀ   a lane reads chunks 2t and 2t + 1 of its rows (g and g + 8 of Q, g of eight keys): C / 4 neighbouring columns
//     S      row g + 8r, key 8j + 2t + e is s[4j + 2r + e]
//     P·V    k index t of the unit is key 2t of eight, index t + 4 is key 2t + 1: what the lane holds of P; it reads chunk g
//            of those rows of V: N neighbouring columns, one for each of N products of 8 columns
//     O      product x of a panel has column g stand for N·g + x, so lane t ends with 2N neighbouring columns (32 bytes)

namespace pantile::inline v0::cuda {

/// Columns of a panel.
template <class V>
inline constexpr int panel_width = 128 / static_cast<int>(sizeof(V));

/// The column of O whose row g + 8r is o[4·product + 2r + e] in lane t; `product` counts over panels.
template <class V>
PANTILE_FN int wide_column(int product, int t, int e) {
    constexpr int n = panel_width<V> / 8;
    return product / n * panel_width<V> + n * (2 * t + e) + product % n;
}

} // namespace pantile::inline v0::cuda
