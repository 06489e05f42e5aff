#pragma once

#include <pantile/error.hpp>

#include <string>

#include <cuda_runtime_api.h>

namespace pantile::inline v0::cuda {

/// Throws cuda_error with the call's name and the runtime's words unless `status`, which that call returned, is success.
/// cudaGetLastError() is never asked, nor cleared: it may remember a failure of the caller's.
inline void check(cudaError_t status, const char* call) {
    if (status == cudaSuccess) return;
    throw cuda_error(std::string("pantile: ") + call + ": " + cudaGetErrorString(status) + " (" +
                     cudaGetErrorName(status) + ")");
}

} // namespace pantile::inline v0::cuda
