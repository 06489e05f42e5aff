#include "../launch_decode.cuh"

namespace pantile::cuda {

extern const kernel decode_64[2];
const kernel decode_64[2] = {
    decode_entry<__half, 64, 4, 6, 2>(),
    decode_entry<__nv_bfloat16, 64, 4, 6, 2>(),
};

} // namespace pantile::cuda
