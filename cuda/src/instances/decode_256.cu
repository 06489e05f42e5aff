#include "../launch_decode.cuh"

namespace pantile::cuda {

extern const kernel decode_256[2];
const kernel decode_256[2] = {
    decode_entry<__half, 256, 2, 3, 2>(),
    decode_entry<__nv_bfloat16, 256, 2, 3, 2>(),
};

} // namespace pantile::cuda
