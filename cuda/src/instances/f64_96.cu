#include "../launch_f64.cuh"

namespace pantile::inline v0::cuda {

// Head dim, row tile, key tile, warps, blocks a multiprocessor.
extern const kernel f64_96[2];
const kernel f64_96[2] = {
    f64_entry<false, 96, 64, 16, 4, 2>(cuda_kernel::portable),
    f64_entry<false, 96, 64, 16, 4, 2>(cuda_kernel::decode),
};

} // namespace pantile::inline v0::cuda
