/// \file
/// The grain of the matrix unit's work.
#pragma once

#include <pantile/core/macros.hpp>

namespace pantile::inline v0::cpu::amx {

inline constexpr int tile_numbers = 512; ///< bf16 numbers of an operand tile: 16 rows of 64 bytes, one after the other
inline constexpr int panel_rows = 32;    ///< queries of a panel: two tiles side by side
inline constexpr int block_keys = 32;    ///< keys of a block of scores: two tiles, and the length of one P·V product

/// Floats from a key's scores to the next key's. The scores of two panels lie interleaved, 128 bytes of one, 128 bytes of
/// the other: their addresses then differ modulo 4 KiB, and a load from one panel's scores is never taken for a load from
/// where the other's are just being stored (the processor compares 12 bits at first).
inline constexpr index_t score_stride = 2 * panel_rows;

} // namespace pantile::inline v0::cpu::amx
