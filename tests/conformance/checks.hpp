/// \file
/// What both kinds of cases share: running a problem and holding the result against what is expected.
#pragma once

#include "conformance.hpp"

namespace pantile::conformance {

/// Thrown by the readers of cases: a feature that is not served, or not known.
struct unsupported_feature {
    std::string text;
};

/// Throws unsupported_feature if the problem needs what the public page does not offer yet.
void require_served(const attention_case& c);

/// A problem and its stored answers (empty: not stored).
struct expectation {
    attention_case problem;
    attention_inputs inputs;  ///< as stored
    dtype type = dtype::fp64; ///< of the case: its files may store it in a wider one
    layout memory = layout::bhsd;
    bool backward = false;
    results stored;
    const char* out_name = "O"; ///< what the case calls its output
    double tolerance = 0.0;     ///< |error| <= tolerance · max(1, largest |expected| of the row); 0: by the error rule
};

/// Runs it, in the stored type or in another, and compares.
[[nodiscard]] report check(const expectation& e, const settings& s);

[[nodiscard]] expectation read_float64_case(const std::filesystem::path& folder);
[[nodiscard]] expectation read_onnx_case(const std::filesystem::path& folder);

} // namespace pantile::conformance
