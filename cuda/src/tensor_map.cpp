#include "tensor_map.hpp"

#include "status.hpp"
#include "tensor_map_fields.hpp"

#include <cudaTypedefs.h>

#include <string>

namespace pantile::inline v0::cuda {
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

template <std::size_t rank>
CUtensorMap encoded(const void* data, const map_fields<rank>& fields) {
    std::array<cuuint32_t, rank> steps{};
    steps.fill(1);
    CUtensorMap map;
    const CUresult status =
        encoder()(&map, fields.type, static_cast<cuuint32_t>(rank), const_cast<void*>(data), fields.extents.data(),
                  fields.strides.data(), fields.box.data(), steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
                  CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (status != CUDA_SUCCESS) {
        throw cuda_error("pantile: cuTensorMapEncodeTiled: error " + std::to_string(static_cast<int>(status)));
    }
    return map;
}

} // namespace

CUtensorMap make_tensor_map(const void* data, dtype type, index_t batch, index_t heads, index_t length, index_t dim,
                            const layout& strides, int box_rows) {
    return encoded(data, tensor_map_fields(type, batch, heads, length, dim, strides, box_rows));
}

CUtensorMap make_panel_map(const void* data, index_t batch, index_t heads, index_t length, index_t dim,
                           const layout& strides, int box_rows, int box_panels) {
    return encoded(data, panel_map_fields(batch, heads, length, dim, strides, box_rows, box_panels));
}

} // namespace pantile::inline v0::cuda
