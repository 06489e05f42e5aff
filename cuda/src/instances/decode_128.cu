#include "../launch_decode.cuh"

namespace pantile::inline v0::cuda {

// The first where shared memory has room for its rings: all of a Hopper multiprocessor's.
extern const kernel decode_128[4];
const kernel decode_128[4] = {
    decode_entry<__half, 128, 8, 3, 1>(),
    decode_entry<__nv_bfloat16, 128, 8, 3, 1>(),
    decode_entry<__half, 128, 4, 2, 2>(),
    decode_entry<__nv_bfloat16, 128, 4, 2, 2>(),
};

} // namespace pantile::inline v0::cuda
