#include "../launch_half.cuh"

// For calls with a score function.

namespace pantile::inline v0::cuda {

extern const kernel portable_scored_64[2];
const kernel portable_scored_64[2] = {
    rows_entry<__half, true, 64, 128, 128, 4, 2>(),
    rows_entry<__nv_bfloat16, true, 64, 128, 128, 4, 2>(),
};

} // namespace pantile::inline v0::cuda
