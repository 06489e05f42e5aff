#pragma once

#include <pantile/core/macros.hpp>

#include <cstdint>

// How tiles lie in shared memory: panels whose rows are 128 bytes (64 columns of 16 bits, 32 of fp32, 16 of fp64), the
// eight 16-byte chunks of a row permuted by the row number so that eight rows of one column fall into different banks. It
// is the copy engine's 128-byte swizzle, and what the matrix unit expects of it.

namespace pantile::inline v0::cuda {

inline constexpr int panel_columns = 64; ///< of 16 bits
inline constexpr int panel_row_bytes = 128;
/// Tiles start at multiples of this, so that address bits 7 to 9 are the row's low bits.
inline constexpr int tile_alignment = 1024;

/// Byte offset of chunk `chunk` (16 bytes) of row `row` in a tile of `rows` rows.
template <int rows>
PANTILE_FN int chunk_offset(int row, int chunk) {
    return (chunk / 8) * (rows * panel_row_bytes) + row * panel_row_bytes + (((chunk % 8) ^ (row & 7)) * 16);
}

/// Bytes of a tile of `rows` rows and `columns` columns; columns fill whole panels.
PANTILE_FN int tile_bytes(int rows, int columns, int element_bytes = 2) {
    return (columns * element_bytes + panel_row_bytes - 1) / panel_row_bytes * rows * panel_row_bytes;
}

/// The matrix unit's description of a 128-byte-swizzled operand at shared address `address`: bits 0-13 address / 16,
/// 16-29 leading byte offset / 16, 32-45 stride byte offset / 16, 62-63 the swizzle (1: 128 bytes).
PANTILE_FN std::uint64_t matrix_descriptor(std::uint32_t address, int leading_bytes, int stride_bytes) {
    return (static_cast<std::uint64_t>(address & 0x3ffffU) >> 4) |
           (static_cast<std::uint64_t>(leading_bytes >> 4) << 16) |
           (static_cast<std::uint64_t>(stride_bytes >> 4) << 32) | (std::uint64_t{1} << 62);
}

/// Operand stored [row][k], k contiguous (Q, K): eight rows are 1024 bytes; the leading offset is not read.
PANTILE_FN std::uint64_t k_major_descriptor(std::uint32_t address) { return matrix_descriptor(address, 16, 1024); }

/// Operand stored [k][column], columns contiguous (V): panels of 64 columns are rows·128 bytes apart, groups of eight k
/// 1024 bytes.
PANTILE_FN std::uint64_t mn_major_descriptor(std::uint32_t address, int rows) {
    return matrix_descriptor(address, rows * panel_row_bytes, 1024);
}

} // namespace pantile::inline v0::cuda
