#pragma once

#include <pantile/error.hpp>

#include <string>

#include <cuda_runtime_api.h>

namespace pantile::cuda {

/// Throws cuda_error with the call's name and the runtime's words unless `status` is success.
inline void check(cudaError_t status, const char* call) {
    if (status == cudaSuccess) return;
    cudaGetLastError(); // a launch failure that is reported here should not surface in the next call too
    throw cuda_error(std::string("pantile: ") + call + ": " + cudaGetErrorString(status) + " (" +
                     cudaGetErrorName(status) + ")");
}

} // namespace pantile::cuda
