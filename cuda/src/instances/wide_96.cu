#include "../launch_wide.cuh"

namespace pantile::inline v0::cuda {

// Head dim, row tile, key tile, warps, blocks a multiprocessor.
extern const std::span<const kernel> wide_96;
constinit const std::span<const kernel> wide_96 = wide_kernels<portable_tile<float, 96, 64, 64, 4, 2>>;

} // namespace pantile::inline v0::cuda
