#include "../launch_sm90.cuh"

namespace pantile::inline v0::cuda {
namespace {

constexpr sm90_shape square = {.dim = 192, .value_dim = 192, .keys = 112};
/// As multi-head latent attention has it.
constexpr sm90_shape narrow_values = {.dim = 192, .value_dim = 128, .keys = 128};

} // namespace

extern const kernel sm90_192[4];
const kernel sm90_192[4] = {
    sm90_entry<__half, square>(),
    sm90_entry<__nv_bfloat16, square>(),
    sm90_entry<__half, narrow_values>(),
    sm90_entry<__nv_bfloat16, narrow_values>(),
};

} // namespace pantile::inline v0::cuda
