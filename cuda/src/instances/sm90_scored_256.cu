#include "../launch_sm90.cuh"

// For calls with a score function.

namespace pantile::inline v0::cuda {
namespace {

constexpr sm90_shape shape = {.dim = 256, .value_dim = 256, .keys = 80};

} // namespace

extern const kernel sm90_scored_256[2];
const kernel sm90_scored_256[2] = {
    sm90_entry<__half, shape, true>(),
    sm90_entry<__nv_bfloat16, shape, true>(),
};

} // namespace pantile::inline v0::cuda
