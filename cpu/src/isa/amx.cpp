// AMX with bf16 tiles, beside AVX-512 and its conversion to bf16. Only the forward kernels of bf16 inputs; every other
// call is served by avx512.cpp.
#include "../catalogue/kernels.hpp"
#include "../forward/amx/hardware_unit.hpp"
#include "../forward/amx/machine.hpp"

namespace pantile::inline v0::cpu {

static_assert(core::forward_machine<amx::tile_machine<amx::hardware_unit>>);
constinit const forward_kernels amx_forward_bf16 = amx::forward_kernels_of<amx::hardware_unit>();

} // namespace pantile::inline v0::cpu
