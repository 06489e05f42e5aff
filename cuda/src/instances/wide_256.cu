#include "../launch_wide.cuh"

namespace pantile::inline v0::cuda {

// Head dim, row tile, key tile, warps, blocks a multiprocessor, warps that share 16 rows.
extern const std::span<const kernel> wide_256;
constinit const std::span<const kernel> wide_256 = wide_kernels<portable_tile<float, 256, 64, 32, 8, 1, 2>>;

} // namespace pantile::inline v0::cuda
