#include "../launch_sm90.cuh"

namespace pantile::cuda {

extern const kernel sm90_64[4];
const kernel sm90_64[4] = {
    sm90_entry<__half, sm90_tile<64, 128, 3, 2>>(),
    sm90_entry<__nv_bfloat16, sm90_tile<64, 128, 3, 2>>(),
    sm90_entry<__half, sm90_tile<64, 128, 2, 2>>(),
    sm90_entry<__nv_bfloat16, sm90_tile<64, 128, 2, 2>>(),
};

} // namespace pantile::cuda
