/// \file
/// Which instruction set serves a call.
#pragma once

#include "kernels.hpp"

namespace pantile::inline v0::cpu {

/// The kernels for `wanted`. automatic takes the best set that the processor and the operating system offer, or the one
/// that the environment variable PANTILE_ISA names; both are looked up once per process.
/// AMX serves calls of the kind `matrix_unit` only (bf16 forward, rows enough); for others amx means avx512. The first such
/// call that may use it asks the operating system for the tile registers, once per process; nothing else does.
/// Throws invalid_argument if the set is unknown, not available or not permitted, saying which are available.
[[nodiscard]] const kernels& choose_kernels(isa wanted, bool matrix_unit = false);

/// Why AMX, which that choice would have taken, may not be used; null in all other cases.
[[nodiscard]] const char* why_not_amx(isa wanted, bool matrix_unit);

/// The sets that this processor and operating system offer, from the smallest on: "baseline, avx2". Whether this process may
/// use AMX's tiles is not asked.
[[nodiscard]] const char* available_isas();

} // namespace pantile::inline v0::cpu
