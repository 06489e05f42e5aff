#include "../launch_sm90.cuh"

// For calls with a score function.

namespace pantile::inline v0::cuda {
namespace {

constexpr sm90_shape square = {.dim = 192, .value_dim = 192, .keys = 112};
/// As multi-head latent attention has it.
constexpr sm90_shape narrow_values = {.dim = 192, .value_dim = 128, .keys = 128};

} // namespace

extern const kernel sm90_scored_192[4];
const kernel sm90_scored_192[4] = {
    sm90_entry<__half, square, true>(),
    sm90_entry<__nv_bfloat16, square, true>(),
    sm90_entry<__half, narrow_values, true>(),
    sm90_entry<__nv_bfloat16, narrow_values, true>(),
};

} // namespace pantile::inline v0::cuda
