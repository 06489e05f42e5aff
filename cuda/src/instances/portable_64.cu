#include "../launch_portable.cuh"

namespace pantile::cuda {

extern const kernel portable_64[4];
const kernel portable_64[4] = {
    half_entry<__half, 64, 128, 64, 4, 2>(cuda_kernel::portable),
    half_entry<__nv_bfloat16, 64, 128, 64, 4, 2>(cuda_kernel::portable),
    half_entry<__half, 64, 64, 128, 4, 2>(cuda_kernel::decode),
    half_entry<__nv_bfloat16, 64, 64, 128, 4, 2>(cuda_kernel::decode),
};

} // namespace pantile::cuda
