#include "../launch_half.cuh"

// For calls with a score function.

namespace pantile::inline v0::cuda {

extern const kernel portable_scored_256[2];
const kernel portable_scored_256[2] = {
    rows_entry<__half, true, 256, 64, 64, 4, 2, 2>(),
    rows_entry<__nv_bfloat16, true, 256, 64, 64, 4, 2, 2>(),
};

} // namespace pantile::inline v0::cuda
