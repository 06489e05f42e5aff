#include "amx_emulated.hpp"

#include "forward/amx/emulated_unit.hpp"
#include "forward/amx/machine.hpp"

namespace pantile::test {
namespace {

#if defined(PANTILE_X86)
using vector = xsimd::batch<float, xsimd::sse2>;
#else
using vector = xsimd::batch<float, xsimd::default_arch>;
#endif
using unit = cpu::amx::emulated_unit<vector>;

} // namespace

const cpu::forward_kernels emulated_forward_bf16 = cpu::amx::forward_kernels_of<unit>();

void emulated_product(const bfloat16* a, const bfloat16* b, float* c) {
    unit u;
    u.load<0>(c, 64);
    u.load<4>(a, 64);
    u.load<6>(b, 64);
    u.dot<0, 4, 6>();
    u.store<0>(c, 64);
}

} // namespace pantile::test
