#pragma once

#include "plan.hpp"

#include <pantile/core/check.hpp>

#include <span>

// From the arguments of a public call to what a kernel receives: plain values in and out, no device is asked.

namespace pantile::inline v0::cuda {

[[nodiscard]] layout layout_of(const core::argument& a);

/// A tensor on the device must be contiguous along its last dim. Throws unsupported.
void check_contiguous(const core::argument& a);

/// Checks q, k, v, the options and, where there are any, the outputs: out, then rows; out of a partial result is of the type
/// computed in. What is known of the call before a kernel is chosen; its outputs are still to be set.
[[nodiscard]] forward_arguments checked_arguments(const core::argument (&inputs)[3], const options& o,
                                                  std::span<const core::argument> outputs = {});

/// What the choice of a kernel needs to know of checked inputs.
[[nodiscard]] call_facts facts_of(const core::argument (&inputs)[3], const options& o, cuda_kernel forced);

/// Where results go. `outputs`: out, and lse if it is wanted; of a partial result out, max and sum.
void set_outputs(forward_arguments& a, out_kind kind, std::span<const core::argument> outputs);

/// How the tiles of the plan are laid over the rows.
void set_plan(forward_arguments& a, const forward_plan& plan);

} // namespace pantile::inline v0::cuda
