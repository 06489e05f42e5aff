#include "../launch_sm90.cuh"

namespace pantile::inline v0::cuda {
namespace {

constexpr sm90_shape shape = {.dim = 256, .value_dim = 256, .keys = 80};

} // namespace

extern const kernel sm90_256[2];
const kernel sm90_256[2] = {
    sm90_entry<__half, shape>(),
    sm90_entry<__nv_bfloat16, shape>(),
};

} // namespace pantile::inline v0::cuda
