/// \file
/// From the arguments of a public call to a checked, planned call for the kernels: what attention, attention_partial and
/// explain have in common.
#pragma once

#include <pantile/core/check.hpp>
#include <pantile/options.hpp>
#include <pantile/tensor.hpp>

#include "../catalogue/kernels.hpp"

namespace pantile::inline v0::cpu {

/// A forward call that is ready to run.
struct prepared {
    forward_call call;
    const kernels* isa = nullptr;
    const forward_kernels* forward = nullptr;
    bool decode = false;      ///< few rows: the query heads of a kv head are one piece of work
    index_t number_bytes = 4; ///< of compute precision
    index_t threads = 1;
    index_t row_tiles = 0;
    index_t scratch_bytes = 0; ///< a thread
    index_t shared_bytes = 0;  ///< partial results of split keys

    /// Heads that are pieces of work.
    [[nodiscard]] index_t heads() const { return decode ? call.problem.kv_heads : call.problem.q_heads; }
    /// Pieces of work: (batch, head, row tile, split).
    [[nodiscard]] index_t works() const { return call.problem.batch * heads() * row_tiles * call.plan.key_splits; }
};

/// Is this a forward call that a matrix unit of 16 bits serves, where there is one?
[[nodiscard]] bool wants_matrix_unit(const core::problem& p, dtype type);

/// Chooses kernels, plan and threads for a checked problem.
[[nodiscard]] prepared prepare(const core::problem& p, const tensor_ref& q, const tensor_ref& k, const tensor_ref& v,
                               const options& o);
/// The same with given kernels.
[[nodiscard]] prepared prepare(const core::problem& p, const tensor_ref& q, const tensor_ref& k, const tensor_ref& v,
                               const options& o, const kernels& chosen);

/// Checks q, k, v and the options.
[[nodiscard]] prepared prepare(const core::argument (&inputs)[3], const options& o);

} // namespace pantile::inline v0::cpu
