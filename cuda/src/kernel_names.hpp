#pragma once

#include <pantile/cuda.hpp>

// Kernels by name, as explain and the environment call them.

namespace pantile::inline v0::cuda {

[[nodiscard]] const char* name_of(cuda_kernel k);

/// The kernel that PANTILE_CUDA_KERNEL asks for with `value`; automatic where that is null or empty. Throws invalid_argument
/// if there is none of that name.
[[nodiscard]] cuda_kernel kernel_named(const char* value);

} // namespace pantile::inline v0::cuda
