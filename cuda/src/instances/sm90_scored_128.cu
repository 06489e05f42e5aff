#include "../launch_sm90.cuh"

// For calls with a score function.

namespace pantile::inline v0::cuda {
namespace {

constexpr sm90_shape shape = {.dim = 128,
                              .value_dim = 128,
                              .keys = 128,
                              .q_stages = 2,
                              .joins_row_tiles = true,
                              .takes_turns = false,
                              .stages_out = true};

} // namespace

extern const kernel sm90_scored_128[2];
const kernel sm90_scored_128[2] = {
    sm90_entry<__half, shape, true>(),
    sm90_entry<__nv_bfloat16, shape, true>(),
};

} // namespace pantile::inline v0::cuda
