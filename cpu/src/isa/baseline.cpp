// What every processor of the target has: SSE2 on x86-64, the compiler's default vectors elsewhere.
#include "../catalogue/kernels_of.hpp"

namespace pantile::inline v0::cpu {
namespace {

#if defined(PANTILE_X86)
using baseline_arch = xsimd::sse2;
#else
using baseline_arch = xsimd::default_arch;
#endif

} // namespace

constinit const kernels baseline_kernels = kernels_of<baseline_arch>(isa::baseline, "baseline");

} // namespace pantile::inline v0::cpu
