/// \file
/// What attention.cpp hands to the code of one instruction set: plain data and function pointers, nothing that a compiler
/// would have to emit a copy of.
#pragma once

#include <cstddef>

#include <pantile/core/problem.hpp>
#include <pantile/core/schedule.hpp>
#include <pantile/core/tile_plan.hpp>
#include <pantile/options.hpp>

#include "backward/call.hpp"
#include "elements.hpp"

namespace pantile::inline v0::cpu {

/// Where results go. With `max` and `sum` they are partial: `out` is not divided by the sum (see partial_view).
struct output {
    tensor_ref out;
    tensor_ref lse;
    tensor_ref max;
    tensor_ref sum;
};

/// One forward call, checked.
struct forward_call {
    core::problem problem;
    tile_plan plan;
    tensor_ref q;
    tensor_ref k;
    tensor_ref v;
};

/// One piece of it: a row tile of one head against the keys of `seq` (all of them, or one split).
struct forward_work {
    index_t batch = 0;
    index_t head = 0;
    core::sequence seq;
    index_t row_tile = 0;
};

/// The forward kernels of one compute precision.
struct forward_kernels {
    index_t lanes = 1;      ///< query rows in a vector
    index_t panel_rows = 1; ///< query rows in a full panel
    index_t block_keys = 1; ///< keys in a register block
    /// Bytes of scratch that one thread needs; scratch is aligned to 64 bytes.
    index_t (*scratch_bytes)(const forward_call&) = nullptr;
    void (*run)(const forward_call&, const forward_work&, const output&, std::byte* scratch) = nullptr;
    index_t max_row_tile = 256; ///< beyond these sizes nothing is gained
    index_t max_key_tile = 96;
    index_t far_bytes = 1 << 20; ///< L2 of a core, at the least
};

/// Everything that is compiled for one instruction set.
struct kernels {
    pantile::isa isa = pantile::isa::baseline;
    const char* name = "";
    forward_kernels forward_f32;
    forward_kernels forward_f64;
    forward_kernels decode_f32; ///< few queries: panel_rows is how many, forward_work::head the kv head
    forward_kernels decode_f64;
    backward::kernels backward_f32;
    backward::kernels backward_f64;
};

extern const kernels baseline_kernels;
#if defined(PANTILE_X86)
extern const kernels avx2_kernels;
extern const kernels avx512_kernels;
extern const forward_kernels amx_forward_bf16;
#endif

} // namespace pantile::inline v0::cpu
