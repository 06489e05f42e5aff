#include "../launch_sm90.cuh"

namespace pantile::cuda {

extern const kernel sm90_128[2];
const kernel sm90_128[2] = {
    sm90_entry<__half, sm90_tile<128, 128, 2, 2>>(),
    sm90_entry<__nv_bfloat16, sm90_tile<128, 128, 2, 2>>(),
};

} // namespace pantile::cuda
