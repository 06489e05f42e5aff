#include "../launch_sm90_tf32.cuh"

namespace pantile::cuda {

// Head dim, key tile, consumers, registers of the splitter and of a consumer. At d 64 a third consumer fits.
extern const kernel sm90_tf32[3];
const kernel sm90_tf32[3] = {
    sm90_tf32_entry<tf32_tile<64, 64, 3, 56, 152>>(),
    sm90_tf32_entry<tf32_tile<96, 64, 2, 72, 216>>(),
    sm90_tf32_entry<tf32_tile<128, 64, 2, 72, 216>>(),
};

} // namespace pantile::cuda
