#include "../launch_sm90.cuh"

// For calls with a score function.

namespace pantile::inline v0::cuda {
namespace {

/// Of `consumers` times 64 rows. The small one is for few rows, and for short causal row tiles, which are mostly diagonal: it
/// wastes less of it.
constexpr sm90_shape tile_of(int consumers) {
    return {.dim = 64,
            .value_dim = 64,
            .keys = 128,
            .consumers = consumers,
            .q_stages = 2,
            .joins_row_tiles = true,
            .stages_out = true};
}
constexpr sm90_shape large = tile_of(3);
constexpr sm90_shape small = tile_of(2);

} // namespace

extern const kernel sm90_scored_64[4];
const kernel sm90_scored_64[4] = {
    sm90_entry<__half, large, true>(),
    sm90_entry<__nv_bfloat16, large, true>(),
    sm90_entry<__half, small, true>(),
    sm90_entry<__nv_bfloat16, small, true>(),
};

} // namespace pantile::inline v0::cuda
