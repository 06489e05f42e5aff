#pragma once

#include "arguments.hpp"

#include <array>

#include <cuda.h>

// What a tensor map says of a tensor (see tensor_map.hpp), before the driver has put it into its own form.

namespace pantile::inline v0::cuda {

template <std::size_t rank>
struct map_fields {
    CUtensorMapDataType type{};
    std::array<cuuint64_t, rank> extents{};
    std::array<cuuint64_t, rank - 1> strides{}; ///< bytes, of all dims but the first
    std::array<cuuint32_t, rank> box{};
};

/// In the order {dim, length, heads, batch}.
[[nodiscard]] map_fields<4> tensor_map_fields(dtype type, index_t batch, index_t heads, index_t length, index_t dim,
                                              const layout& strides, int box_rows);

/// Of fp64, in the order {16 columns, length, panel, heads, batch}.
[[nodiscard]] map_fields<5> panel_map_fields(index_t batch, index_t heads, index_t length, index_t dim,
                                             const layout& strides, int box_rows, int box_panels);

} // namespace pantile::inline v0::cuda
