/// \file
/// What an instruction set's object file is handed for a forward pass: plain data and function pointers, nothing that a
/// compiler would have to emit a copy of.
#pragma once

#include <cstddef>

#include <pantile/core/problem.hpp>
#include <pantile/core/tensor_ref.hpp>
#include <pantile/core/tile_plan.hpp>

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
    bool carries_sink = true; ///< of the parts of the keys one does
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

} // namespace pantile::inline v0::cpu
