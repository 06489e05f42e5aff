/// \file
/// The catalogue: what is compiled for an instruction set, and which kernels serve a call. Choice and explain read from it.
#pragma once

#include <pantile/core/dtype.hpp>
#include <pantile/options.hpp>

#include "../backward/call.hpp"
#include "../forward/call.hpp"

namespace pantile::inline v0::cpu {

/// Everything that is compiled for one instruction set.
struct kernels {
    pantile::isa isa = pantile::isa::baseline;
    const char* name = "";
    forward_kernels tile_f32; ///< any call that is computed in fp32
    forward_kernels tile_f64;
    forward_kernels decode_f32; ///< few queries: panel_rows is how many, forward_work::head the kv head
    forward_kernels decode_f64;
    backward::kernels backward_f32;
    backward::kernels backward_f64;
    const forward_kernels* matrix_bf16 = nullptr; ///< bf16 on a matrix unit, where there is one: P is rounded to bf16

    /// Those that serve a call of more than few queries.
    [[nodiscard]] PANTILE_FN const forward_kernels& tile(dtype type) const {
        if (type == dtype::bf16 && matrix_bf16 != nullptr) return *matrix_bf16;
        return type == dtype::fp64 ? tile_f64 : tile_f32;
    }
    [[nodiscard]] PANTILE_FN const forward_kernels& decode(dtype type) const {
        return type == dtype::fp64 ? decode_f64 : decode_f32;
    }
    [[nodiscard]] PANTILE_FN const backward::kernels& backward(dtype type) const {
        return type == dtype::fp64 ? backward_f64 : backward_f32;
    }
};

extern const kernels baseline_kernels;
#if defined(PANTILE_X86)
extern const kernels avx2_kernels;
extern const kernels avx512_kernels;
extern const forward_kernels amx_forward_bf16;
#endif

} // namespace pantile::inline v0::cpu
