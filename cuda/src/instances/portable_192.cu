#include "../launch_portable.cuh"

namespace pantile::cuda {

extern const kernel portable_192[4];
const kernel portable_192[4] = {
    half_entry<__half, 192, 64, 64, 4, 2>(cuda_kernel::portable),
    half_entry<__nv_bfloat16, 192, 64, 64, 4, 2>(cuda_kernel::portable),
    half_entry<__half, 192, 64, 64, 4, 2>(cuda_kernel::decode),
    half_entry<__nv_bfloat16, 192, 64, 64, 4, 2>(cuda_kernel::decode),
};

} // namespace pantile::cuda
