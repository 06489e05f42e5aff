#include "../launch_sm90_tf32.cuh"

namespace pantile::inline v0::cuda {
namespace {

// Registers are what sizes depend on: at d 64 a third consumer fits, above d 128 key tiles of 32 only.
constexpr tf32_shape d64 = {.dim = 64,
                            .value_dim = 64,
                            .keys = 64,
                            .consumers = 3,
                            .panels_at_once = 1,
                            .fragments = 2,
                            .splitter_registers = 56,
                            .consumer_registers = 152};
constexpr tf32_shape d96 = {.dim = 96, .value_dim = 96, .keys = 64, .chunk = 32};
constexpr tf32_shape d128 = {.dim = 128, .value_dim = 128, .keys = 64};
constexpr tf32_shape d192_128 = {.dim = 192, .value_dim = 128, .keys = 32, .stages = 8, .ahead = 3};
constexpr tf32_shape d192 = {.dim = 192, .value_dim = 192, .keys = 32, .stages = 8, .ahead = 3};
constexpr tf32_shape d256 = {.dim = 256,
                             .value_dim = 256,
                             .keys = 32,
                             .stages = 6,
                             .ahead = 3,
                             .splitter_registers = 40,
                             .consumer_registers = 232};

} // namespace

extern const kernel sm90_tf32[6];
const kernel sm90_tf32[6] = {
    sm90_tf32_entry<d64>(),      sm90_tf32_entry<d96>(),  sm90_tf32_entry<d128>(),
    sm90_tf32_entry<d192_128>(), sm90_tf32_entry<d192>(), sm90_tf32_entry<d256>(),
};

} // namespace pantile::inline v0::cuda
