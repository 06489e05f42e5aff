#include "tensor_map.hpp"

#include "status.hpp"
#include "tile/swizzle.hpp"

#include <cudaTypedefs.h>

#include <string>

namespace pantile::cuda {
namespace {

/// The driver's encoder, found at run time so that nothing links the driver library.
PFN_cuTensorMapEncodeTiled_v12000 encoder() {
    static const auto found = [] {
        void* entry = nullptr;
        cudaDriverEntryPointQueryResult result{};
        check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &result),
              "cudaGetDriverEntryPointByVersion(cuTensorMapEncodeTiled)");
        if (result != cudaDriverEntryPointSuccess || entry == nullptr) {
            throw cuda_error("pantile: the CUDA driver has no cuTensorMapEncodeTiled: it is older than CUDA 12.0");
        }
        return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(entry);
    }();
    return found;
}

/// Bytes from one index to the next. A dim of one index has no stride to speak of: any legal one does.
cuuint64_t stride_bytes(index_t extent, index_t stride, element type) {
    return extent == 1 ? 16 : static_cast<cuuint64_t>(stride * bytes_of(type));
}

CUtensorMapDataType type_of(element type) {
    switch (type) {
    case element::float16:
        return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case element::bfloat16:
        return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case element::float32:
        return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case element::float64:
        break;
    }
    return CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
}

} // namespace

CUtensorMap make_tensor_map(const void* data, element type, index_t batch, index_t heads, index_t length, index_t dim,
                            const layout& strides, int box_rows) {
    const cuuint64_t extents[4] = {static_cast<cuuint64_t>(dim), static_cast<cuuint64_t>(length),
                                   static_cast<cuuint64_t>(heads), static_cast<cuuint64_t>(batch)};
    const cuuint64_t bytes[3] = {stride_bytes(length, strides.row, type), stride_bytes(heads, strides.head, type),
                                 stride_bytes(batch, strides.batch, type)};
    const cuuint32_t box[4] = {static_cast<cuuint32_t>(panel_row_bytes / bytes_of(type)),
                               static_cast<cuuint32_t>(box_rows), 1, 1};
    const cuuint32_t steps[4] = {1, 1, 1, 1};
    CUtensorMap map;
    const CUresult status = encoder()(&map, type_of(type), 4, const_cast<void*>(data), extents, bytes, box, steps,
                                      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (status != CUDA_SUCCESS) {
        throw cuda_error("pantile: cuTensorMapEncodeTiled: error " + std::to_string(static_cast<int>(status)));
    }
    return map;
}

CUtensorMap make_panel_map(const void* data, index_t batch, index_t heads, index_t length, index_t dim,
                           const layout& strides, int box_rows, int box_panels) {
    constexpr auto type = element::float64;
    const cuuint64_t extents[5] = {16, static_cast<cuuint64_t>(length), static_cast<cuuint64_t>(dim / 16),
                                   static_cast<cuuint64_t>(heads), static_cast<cuuint64_t>(batch)};
    const cuuint64_t bytes[4] = {stride_bytes(length, strides.row, type), panel_row_bytes,
                                 stride_bytes(heads, strides.head, type), stride_bytes(batch, strides.batch, type)};
    const cuuint32_t box[5] = {16, static_cast<cuuint32_t>(box_rows), static_cast<cuuint32_t>(box_panels), 1, 1};
    const cuuint32_t steps[5] = {1, 1, 1, 1, 1};
    CUtensorMap map;
    const CUresult status = encoder()(&map, type_of(type), 5, const_cast<void*>(data), extents, bytes, box, steps,
                                      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (status != CUDA_SUCCESS) {
        throw cuda_error("pantile: cuTensorMapEncodeTiled: error " + std::to_string(static_cast<int>(status)));
    }
    return map;
}

} // namespace pantile::cuda
