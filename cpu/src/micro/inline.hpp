/// \file
/// PANTILE_INLINE: a lambda or a helper inside a kernel must dissolve into the kernel, or the accumulators leave their
/// registers; and an object file for a newer instruction set must emit no copy of it.
#pragma once

#define PANTILE_INLINE __attribute__((always_inline))
