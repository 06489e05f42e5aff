#include "../launch_f64.cuh"

// For calls with a score function.

namespace pantile::inline v0::cuda {

// Head dim, row tile, key tile, warps, blocks a multiprocessor; the small tile is that of decode, and of devices with less shared memory.
extern const kernel f64_scored_128[3];
const kernel f64_scored_128[3] = {
    f64_entry<true, 128, 64, 16, 4, 2>(cuda_kernel::portable),
    f64_entry<true, 128, 32, 16, 2, 2>(cuda_kernel::portable),
    f64_entry<true, 128, 32, 16, 2, 2>(cuda_kernel::decode),
};

} // namespace pantile::inline v0::cuda
