#pragma once

#include "arguments.hpp"

#include <cuda.h>

namespace pantile::inline v0::cuda {

/// A rank-4 map of a (batch, heads, length, dim) tensor in the order {dim, length, heads, batch}; a box is 128 bytes of
/// `box_rows` rows, 128-byte swizzled. What lies outside the tensor arrives as zeros.
/// Base and strides must be multiples of 16 bytes, `box_rows` at most 256, extents at least 1 and below 2^32.
[[nodiscard]] CUtensorMap make_tensor_map(const void* data, dtype type, index_t batch, index_t heads, index_t length,
                                          index_t dim, const layout& strides, int box_rows);

/// The same for fp64 with a box of `box_panels` panels of 16 columns, each of `box_rows` rows: a whole tile at once, as rank 5
/// in the order {16 columns, length, panel, heads, batch}. `dim` must be a multiple of 16.
[[nodiscard]] CUtensorMap make_panel_map(const void* data, index_t batch, index_t heads, index_t length, index_t dim,
                                         const layout& strides, int box_rows, int box_panels);

} // namespace pantile::inline v0::cuda
