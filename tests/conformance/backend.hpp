/// \file
/// A machine that the cases are run on.
#pragma once

#include <string>

#include <support/error_rule.hpp>

namespace pantile::conformance {

using test::attention_case;
using test::attention_inputs;
using test::dtype;
using test::layout;
using test::tensor;

/// What a run gives back, exactly. Gradients are empty if none were asked for.
struct results {
    tensor<double> out, lse;
    tensor<double> dq, dk, dv;
    tensor<double> dslopes{}, dsinks{}; ///< (1, H, 1, 1), of a case that has slopes (one a head) or sinks
    test::p_rounding rounding = test::p_rounding::none; ///< how the forward kernel rounds P
    test::score_sums sums = test::score_sums::rounded;  ///< how it adds up a score
};

/// Runs a problem without bias, blocks or weights; `in` is exact in `t`, tensors lie in memory as `l` says.
/// Throws what pantile throws.
using run_function = results (*)(const attention_case& c, const attention_inputs& in, dtype t, layout l, bool backward);

[[nodiscard]] results run_on_cpu(const attention_case& c, const attention_inputs& in, dtype t, layout l, bool backward);

/// The backend of that name, or null if this build has none.
[[nodiscard]] run_function find_backend(const std::string& name);

} // namespace pantile::conformance
