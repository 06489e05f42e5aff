#include "tensor_map_fields.hpp"

#include "tile/swizzle.hpp"

namespace pantile::inline v0::cuda {
namespace {

/// Bytes from one index to the next. A dim of one index has no stride to speak of: any legal one does.
cuuint64_t stride_bytes(index_t extent, index_t stride, dtype type) {
    return extent == 1 ? 16 : static_cast<cuuint64_t>(stride * bytes_of(type));
}

CUtensorMapDataType type_of(dtype type) {
    switch (type) {
    case dtype::fp16:
        return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case dtype::bf16:
        return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case dtype::fp32:
        return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case dtype::fp64:
    case dtype::fp8:
        break;
    }
    return CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
}

} // namespace

map_fields<4> tensor_map_fields(dtype type, index_t batch, index_t heads, index_t length, index_t dim,
                                const layout& strides, int box_rows) {
    return {type_of(type),
            {static_cast<cuuint64_t>(dim), static_cast<cuuint64_t>(length), static_cast<cuuint64_t>(heads),
             static_cast<cuuint64_t>(batch)},
            {stride_bytes(length, strides.row, type), stride_bytes(heads, strides.head, type),
             stride_bytes(batch, strides.batch, type)},
            {static_cast<cuuint32_t>(panel_row_bytes / bytes_of(type)), static_cast<cuuint32_t>(box_rows), 1, 1}};
}

map_fields<5> panel_map_fields(index_t batch, index_t heads, index_t length, index_t dim, const layout& strides,
                               int box_rows, int box_panels) {
    constexpr auto type = dtype::fp64;
    return {type_of(type),
            {16, static_cast<cuuint64_t>(length), static_cast<cuuint64_t>(dim / 16), static_cast<cuuint64_t>(heads),
             static_cast<cuuint64_t>(batch)},
            {stride_bytes(length, strides.row, type), panel_row_bytes, stride_bytes(heads, strides.head, type),
             stride_bytes(batch, strides.batch, type)},
            {16, static_cast<cuuint32_t>(box_rows), static_cast<cuuint32_t>(box_panels), 1, 1}};
}

} // namespace pantile::inline v0::cuda
