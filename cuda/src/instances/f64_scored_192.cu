#include "../launch_f64.cuh"

// For calls with a score function.

namespace pantile::inline v0::cuda {

// Head dim, row tile, key tile, warps, blocks a multiprocessor, warps that share 16 rows.
extern const kernel f64_scored_192[2];
const kernel f64_scored_192[2] = {
    f64_entry<true, 192, 64, 16, 8, 1, 2>(cuda_kernel::portable),
    f64_entry<true, 192, 64, 16, 8, 1, 2>(cuda_kernel::decode),
};

} // namespace pantile::inline v0::cuda
