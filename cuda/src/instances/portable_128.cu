#include "../launch_portable.cuh"

namespace pantile::cuda {

extern const kernel portable_128[4];
const kernel portable_128[4] = {
    half_entry<__half, 128, 128, 128, 8, 1>(cuda_kernel::portable),
    half_entry<__nv_bfloat16, 128, 128, 128, 8, 1>(cuda_kernel::portable),
    half_entry<__half, 128, 64, 128, 4, 2>(cuda_kernel::decode),
    half_entry<__nv_bfloat16, 128, 64, 128, 4, 2>(cuda_kernel::decode),
};

} // namespace pantile::cuda
