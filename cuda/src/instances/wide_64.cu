#include "../launch_wide.cuh"

namespace pantile::inline v0::cuda {

// Head dim, row tile, key tile, warps, blocks a multiprocessor.
extern const std::span<const kernel> wide_64;
constinit const std::span<const kernel> wide_64 = wide_kernels<portable_tile<float, 64, 64, 64, 4, 2>>;

} // namespace pantile::inline v0::cuda
