#include "../launch_sm90_f64.cuh"

namespace pantile::inline v0::cuda {

// Slots of the ring, head dim, row tile, key tile, warps, blocks a multiprocessor, warps that share 16 rows.
extern const kernel sm90_f64[5];
const kernel sm90_f64[5] = {
    sm90_f64_entry<false, 4, 64, 64, 32, 4, 2>(),     sm90_f64_entry<false, 4, 96, 64, 16, 4, 2>(),
    sm90_f64_entry<false, 5, 128, 128, 16, 8, 1>(),   sm90_f64_entry<false, 4, 192, 64, 16, 8, 1, 2>(),
    sm90_f64_entry<false, 2, 256, 64, 16, 8, 1, 2>(),
};

} // namespace pantile::inline v0::cuda
