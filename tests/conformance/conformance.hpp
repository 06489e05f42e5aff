/// \file
/// One conformance case: read a folder, run it, say how it went.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "backend.hpp"

namespace pantile::conformance {

enum class outcome : unsigned char { passed, failed, unsupported };

struct report {
    outcome result = outcome::passed;
    std::string text; ///< what failed (worst element, tolerance), or which feature is not served
};

struct settings {
    run_function run = nullptr; ///< null: the backend is not in this build
    std::string backend = "cpu";
    std::optional<dtype> type; ///< instead of the case's own
};

/// Runs the case in `folder`, of either kind. Never throws: what cannot be read has failed, and says why.
[[nodiscard]] report run_case(const std::filesystem::path& folder, const settings& s);

} // namespace pantile::conformance
