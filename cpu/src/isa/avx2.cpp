// AVX2, FMA and F16C.
#include "../catalogue/kernels_of.hpp"

namespace pantile::inline v0::cpu {

constinit const kernels avx2_kernels = kernels_of<xsimd::fma3<xsimd::avx2>>(isa::avx2, "avx2");

} // namespace pantile::inline v0::cpu
