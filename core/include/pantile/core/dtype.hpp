/// \file
/// The types of the numbers in a tensor, known at run time.
#pragma once

#include <pantile/core/macros.hpp>

namespace pantile::inline v0 {

/// fp8 is counted by the simulator; no machine takes it yet.
enum class dtype : unsigned char { fp64, fp32, fp16, bf16, fp8 };

PANTILE_FN index_t bytes_of(dtype t) { return t == dtype::fp64 ? 8 : t == dtype::fp32 ? 4 : t == dtype::fp8 ? 1 : 2; }
/// The type in which a call on numbers of type `t` computes, and in which its lse, sums and partial results are.
PANTILE_FN dtype computed_in(dtype t) { return t == dtype::fp64 ? dtype::fp64 : dtype::fp32; }
/// "fp32", "bf16", … or "an unknown type".
PANTILE_FN const char* name_of(dtype t) {
    switch (t) {
    case dtype::fp32:
        return "fp32";
    case dtype::fp64:
        return "fp64";
    case dtype::fp16:
        return "fp16";
    case dtype::bf16:
        return "bf16";
    case dtype::fp8:
        return "fp8";
    }
    return "an unknown type";
}

} // namespace pantile::inline v0
