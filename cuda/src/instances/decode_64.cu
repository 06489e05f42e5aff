#include "../launch_decode.cuh"

namespace pantile::inline v0::cuda {

// The first where shared memory has room for its rings: all of a Hopper multiprocessor's.
extern const kernel decode_64[4];
const kernel decode_64[4] = {
    decode_entry<__half, 64, 8, 6, 1>(),
    decode_entry<__nv_bfloat16, 64, 8, 6, 1>(),
    decode_entry<__half, 64, 4, 4, 2>(),
    decode_entry<__nv_bfloat16, 64, 4, 4, 2>(),
};

} // namespace pantile::inline v0::cuda
