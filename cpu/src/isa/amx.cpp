// AMX with bf16 tiles, beside AVX-512 and its conversion to bf16. Only the forward kernels of bf16 inputs; every other
// call is served by avx512.cpp.
#include "../amx/hardware_unit.hpp"
#include "../amx/machine.hpp"

namespace pantile::inline v0::cpu {

constinit const forward_kernels amx_forward_bf16 = amx::forward_kernels_of<amx::hardware_unit>();

} // namespace pantile::inline v0::cpu
