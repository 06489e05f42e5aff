#include "../launch_f64.cuh"

// For calls with a score function.

namespace pantile::inline v0::cuda {

// Head dim, row tile, key tile, warps, blocks a multiprocessor, warps that share 16 rows; the small tile is that of
// decode, and of devices with less shared memory.
extern const kernel f64_scored_256[3];
const kernel f64_scored_256[3] = {
    f64_entry<true, 256, 64, 16, 8, 1, 2>(cuda_kernel::portable),
    f64_entry<true, 256, 32, 16, 4, 1, 2>(cuda_kernel::portable),
    f64_entry<true, 256, 32, 16, 4, 1, 2>(cuda_kernel::decode),
};

} // namespace pantile::inline v0::cuda
