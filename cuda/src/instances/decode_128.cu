#include "../launch_decode.cuh"

namespace pantile::cuda {

extern const kernel decode_128[2];
const kernel decode_128[2] = {
    decode_entry<__half, 128, 4, 3, 2>(),
    decode_entry<__nv_bfloat16, 128, 4, 3, 2>(),
};

} // namespace pantile::cuda
