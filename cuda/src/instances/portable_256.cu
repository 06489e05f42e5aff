#include "../launch_half.cuh"

namespace pantile::inline v0::cuda {

extern const kernel portable_256[4];
const kernel portable_256[4] = {
    rows_entry<__half, false, 256, 64, 64, 4, 2, 2>(),
    rows_entry<__nv_bfloat16, false, 256, 64, 64, 4, 2, 2>(),
    half_entry<__half, 256, 64, 64, 4, 2>(cuda_kernel::decode),
    half_entry<__nv_bfloat16, 256, 64, 64, 4, 2>(cuda_kernel::decode),
};

} // namespace pantile::inline v0::cuda
