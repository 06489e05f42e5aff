/// \file
/// The kernels of the matrix-unit machine on the emulated unit, in a file of their own: always optimised.
#pragma once

#include "catalogue/kernels.hpp"

namespace pantile::test {

extern const cpu::forward_kernels emulated_forward_bf16;

/// c + a·b by the emulated unit: c is [16][16], a [16][32], b [16][16]{even, odd}.
void emulated_product(const bfloat16* a, const bfloat16* b, float* c);

} // namespace pantile::test
