#include "../launch_sm90_tf32.cuh"

namespace pantile::cuda {

// Head dim, key tile, consumers, registers of the splitter and of a consumer.
extern const kernel sm90_tf32_64[1];
const kernel sm90_tf32_64[1] = {sm90_tf32_entry<tf32_tile<64, 64, 3, 56, 152>>()};

} // namespace pantile::cuda
