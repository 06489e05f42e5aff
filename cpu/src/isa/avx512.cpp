// AVX-512 F, DQ, BW, CD and VL.
#include "../catalogue/kernels_of.hpp"

namespace pantile::inline v0::cpu {

constinit const kernels avx512_kernels = kernels_of<xsimd::avx512bw>(isa::avx512, "avx512");

} // namespace pantile::inline v0::cpu
