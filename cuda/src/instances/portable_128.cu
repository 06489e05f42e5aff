#include "../launch_portable.cuh"

namespace pantile::cuda {

extern const kernel portable_128[4];
const kernel portable_128[4] = {
    portable_entry<__half, portable_tile<128, 128, 128, 8>>(cuda_kernel::portable),
    portable_entry<__nv_bfloat16, portable_tile<128, 128, 128, 8>>(cuda_kernel::portable),
    portable_entry<__half, portable_tile<128, 64, 128, 4>>(cuda_kernel::decode),
    portable_entry<__nv_bfloat16, portable_tile<128, 64, 128, 4>>(cuda_kernel::decode),
};

} // namespace pantile::cuda
