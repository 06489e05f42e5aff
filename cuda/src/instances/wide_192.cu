#include "../launch_wide.cuh"

namespace pantile::inline v0::cuda {

// Head dim, row tile, key tile, warps, blocks a multiprocessor.
extern const std::span<const kernel> wide_192;
constinit const std::span<const kernel> wide_192 = wide_kernels<portable_tile<float, 192, 64, 32, 4, 2>>;

} // namespace pantile::inline v0::cuda
