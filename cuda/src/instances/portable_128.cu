#include "../launch_half.cuh"

namespace pantile::inline v0::cuda {

extern const kernel portable_128[4];
const kernel portable_128[4] = {
    rows_entry<__half, false, 128, 128, 64, 4, 2>(),
    rows_entry<__nv_bfloat16, false, 128, 128, 64, 4, 2>(),
    half_entry<__half, 128, 64, 128, 4, 2>(cuda_kernel::decode),
    half_entry<__nv_bfloat16, 128, 64, 128, 4, 2>(cuda_kernel::decode),
};

} // namespace pantile::inline v0::cuda
