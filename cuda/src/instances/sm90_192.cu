#include "../launch_sm90.cuh"

namespace pantile::cuda {

extern const kernel sm90_192[4];
const kernel sm90_192[4] = {
    sm90_entry<__half, sm90_tile<192, 112, 2>>(),
    sm90_entry<__nv_bfloat16, sm90_tile<192, 112, 2>>(),
    // Value dim 128, as multi-head latent attention has it.
    sm90_entry<__half, sm90_tile<192, 128, 2, 1, true, 128>>(),
    sm90_entry<__nv_bfloat16, sm90_tile<192, 128, 2, 1, true, 128>>(),
};

} // namespace pantile::cuda
