#pragma once

#include "arguments.hpp"

#include <cuda.h>

namespace pantile::cuda {

/// A rank-4 map of an fp16 or bf16 (batch, heads, length, dim) tensor in the order {dim, length, heads, batch}; a box is 64 columns of
/// `box_rows` rows, 128-byte swizzled. What lies outside the tensor arrives as zeros.
/// Base and strides must be multiples of 16 bytes, `box_rows` at most 256, extents at least 1 and below 2^32.
[[nodiscard]] CUtensorMap make_tensor_map(const void* data, element type, index_t batch, index_t heads, index_t length,
                                          index_t dim, const layout& strides, int box_rows);

} // namespace pantile::cuda
