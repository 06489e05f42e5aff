#pragma once

#include "../tile/swizzle.hpp"

// Sizes of the fp64 kernels, and who holds what.
//
// The fp64 matrix unit's product (m16n8k16) takes 64 clocks of a quadrant, and while it runs, every other instruction of the
// quadrant's warps takes a clock from it: what counts is how few instructions stand beside a product. So operands are read
// 16 bytes at a time, straight into the registers that the product names. With g = lane / 4, t = lane % 4, in panels of 16
// columns:
//     Q·Kᵀ   A is Q: rows g and g + 8 lie side by side in shared memory, 16 bytes each. B is K: a lane reads chunks 2t and
//            2t + 1 of key g, so k index t + 4i of the unit is column 4t + i.
//     S      row g + 8r, key 8j + 2t + e is s[4j + 2r + e]
//     P·V    transposed, Oᵀ += Vᵀ·Pᵀ. A is Vᵀ: row g + 8x of the unit is column 2g + x of the panel, so a chunk of V is two
//            neighbouring registers. B is Pᵀ of eight query rows: k index t + 4i is key 8(i / 2) + 2t + i % 2 of 16, which is
//            what the lane holds of S.
//     O      panel n, query row 8r + 2t + e, column 2g + x is o[8n + 4r + 2x + e]
// No two lanes of a quarter warp meet in a bank.

namespace pantile::inline v0::cuda {

/// Padded head dim, query rows and keys of a tile, warps, blocks that a multiprocessor should hold at least (registers are
/// shared out accordingly), warps that share 16 rows: each has half of O's columns and multiplies scores over half the head
/// dim, where O of 16 rows would not fit a warp's registers.
template <int dim_, int rows_, int keys_, int warps_, int resident_, int sharers_ = 1>
struct f64_tile {
    static constexpr int dim = dim_;
    static constexpr int rows = rows_;
    static constexpr int keys = keys_;
    static constexpr int warps = warps_;
    static constexpr int threads = 32 * warps;
    static constexpr int resident = resident_;
    static constexpr int sharers = sharers_;
    static constexpr int panels = dim / 16 / sharers; ///< of one warp, of Q and K as of V and O
    static_assert(rows * sharers == 16 * warps && keys % 16 == 0 && dim % (16 * sharers) == 0 && sharers <= 2);

    static constexpr int q_panel_bytes = 16 * 16 * 8;
    static constexpr int q_bytes_of_warp = panels * q_panel_bytes;
    static constexpr int q_bytes = warps * q_bytes_of_warp;
    static constexpr int kv_bytes = tile_bytes(keys, dim, 8);
    static constexpr int panel_bytes = keys * panel_row_bytes;              ///< of K and V
    static constexpr int exchange_bytes = (sharers - 1) * rows * keys * 16; ///< scores that two warps tell each other
};

/// Byte offset of Q's row `row` of 16 and column `column` of the warp's columns.
PANTILE_FN int f64_query_offset(int row, int column) {
    const int g = row % 8;
    const int i = column % 4;
    const int t = column / 4 % 4;
    return column / 16 * 2048 + g * 256 + ((4 * i + t) ^ (4 * (g & 1))) * 16 + row / 8 * 8;
}

/// Where score i of 16 keys, in the order of S, stands in the two B operands of P·V: query rows 0 to 7, then 8 to 15.
PANTILE_FN int f64_place_in_p(int i) { return i / 8 * 8 + i / 2 % 2 * 4 + i / 4 % 2 * 2 + i % 2; }

} // namespace pantile::inline v0::cuda
