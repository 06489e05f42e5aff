#include "../launch_half.cuh"

namespace pantile::inline v0::cuda {

extern const kernel portable_192[4];
const kernel portable_192[4] = {
    rows_entry<__half, false, 192, 64, 64, 4, 2, 2>(),
    rows_entry<__nv_bfloat16, false, 192, 64, 64, 4, 2, 2>(),
    half_entry<__half, 192, 64, 64, 4, 2>(cuda_kernel::decode),
    half_entry<__nv_bfloat16, 192, 64, 64, 4, 2>(cuda_kernel::decode),
};

} // namespace pantile::inline v0::cuda
