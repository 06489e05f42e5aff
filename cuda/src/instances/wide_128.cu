#include "../launch_wide.cuh"

namespace pantile::inline v0::cuda {

// Head dim, row tile, key tile, warps, blocks a multiprocessor.
extern const std::span<const kernel> wide_128;
constinit const std::span<const kernel> wide_128 = wide_kernels<portable_tile<float, 128, 64, 64, 4, 2>>;

} // namespace pantile::inline v0::cuda
