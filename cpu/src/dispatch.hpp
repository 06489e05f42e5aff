/// \file
/// Which instruction set serves a call.
#pragma once

#include "kernels.hpp"

namespace pantile::cpu {

/// The kernels for `wanted`. automatic takes the best set that the processor and the operating system offer, or the one
/// that the environment variable PANTILE_ISA names; both are looked up once per process.
/// AMX serves calls of the kind `matrix_unit` only (bf16 forward, rows enough); for others amx means avx512.
/// Throws invalid_argument if the name is unknown or the set is not available, saying which are.
[[nodiscard]] const kernels& choose_kernels(isa wanted, bool matrix_unit = false);

/// The sets that this processor and operating system offer, from the smallest on: "baseline, avx2".
[[nodiscard]] const char* available_isas();

} // namespace pantile::cpu
