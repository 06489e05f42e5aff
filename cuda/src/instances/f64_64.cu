#include "../launch_f64.cuh"

namespace pantile::inline v0::cuda {

// Head dim, row tile, key tile, warps, blocks a multiprocessor.
extern const kernel f64_64[2];
const kernel f64_64[2] = {
    f64_entry<false, 64, 64, 32, 4, 2>(cuda_kernel::portable),
    f64_entry<false, 64, 64, 32, 4, 2>(cuda_kernel::decode),
};

} // namespace pantile::inline v0::cuda
