#include "../launch_decode.cuh"

namespace pantile::inline v0::cuda {

// The first where shared memory has room for its rings: all of a Hopper multiprocessor's.
extern const kernel decode_256[4];
const kernel decode_256[4] = {
    decode_entry<__half, 256, 4, 3, 1>(),
    decode_entry<__nv_bfloat16, 256, 4, 3, 1>(),
    decode_entry<__half, 256, 2, 2, 2>(),
    decode_entry<__nv_bfloat16, 256, 2, 2, 2>(),
};

} // namespace pantile::inline v0::cuda
