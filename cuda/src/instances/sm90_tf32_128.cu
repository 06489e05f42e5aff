#include "../launch_sm90_tf32.cuh"

namespace pantile::cuda {

// Head dim, key tile, consumers, registers of the splitter and of a consumer.
extern const kernel sm90_tf32_128[1];
const kernel sm90_tf32_128[1] = {sm90_tf32_entry<tf32_tile<128, 64, 2, 72, 216>>()};

} // namespace pantile::cuda
