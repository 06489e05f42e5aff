#pragma once

#include "plan.hpp"

#include <pantile/core/check.hpp>

#include <span>
#include <type_traits>

// From the arguments of a public call to what a kernel receives: plain values in and out, no device is asked.

namespace pantile::cuda {

template <class T>
inline constexpr element element_of = std::is_same_v<T, float16>    ? element::float16
                                      : std::is_same_v<T, bfloat16> ? element::bfloat16
                                      : std::is_same_v<T, float>    ? element::float32
                                                                    : element::float64;
/// What is computed with: scores, sums, log-sum-exp, partial results.
template <class T>
using computed = std::conditional_t<std::is_same_v<T, double>, double, float>;

[[nodiscard]] layout layout_of(const core::argument& a);

/// A tensor on the device must be contiguous along its last dim. Throws unsupported.
void check_contiguous(const core::argument& a);

/// Checks q, k, v, the options and, where there are any, the outputs: out, then rows. What is known of the call before a
/// kernel is chosen; its outputs are still to be set.
[[nodiscard]] forward_arguments checked_arguments(const core::argument (&inputs)[3], element type,
                                                  const device_options& options,
                                                  std::span<const core::argument> outputs = {});

/// What the choice of a kernel needs to know of checked inputs.
[[nodiscard]] call_facts facts_of(const core::argument (&inputs)[3], element type, const device_options& options,
                                  cuda_kernel forced);

/// Where results go. `outputs`: out, and lse if it is wanted; of a partial result out, max and sum.
void set_outputs(forward_arguments& a, out_kind kind, std::span<const core::argument> outputs);

/// How the tiles of the plan are laid over the rows.
void set_plan(forward_arguments& a, const forward_plan& plan);

} // namespace pantile::cuda
