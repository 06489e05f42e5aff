/// \file
/// Shared memory beyond 48 KB, which a kernel must be allowed once on each device.
#pragma once

#include <cuda_runtime_api.h>

namespace pantile::inline v0::cuda {

/// More than every kernel may have anyway?
constexpr bool needs_allowance(int bytes) { return bytes > (48 << 10); }

/// Allows `kernel` so many bytes of dynamic shared memory on the current device; asked before every launch, it does so at the
/// first. cudaFuncSetAttribute forgets what cudaGetLastError() remembers, which may be a failure of the caller's. That memory
/// belongs to a host thread, so the call is made on a thread of its own.
[[nodiscard]] cudaError_t allow_shared_memory(const void* kernel, int bytes);

} // namespace pantile::inline v0::cuda
