/// \file
/// Which type a case is about. .npy files have no bfloat16, so cases of it are stored in a wider type, and say so.
#pragma once

#include <filesystem>

#include <nlohmann/json_fwd.hpp>
#include <npy.hpp>

#include <support/error_rule.hpp>

namespace pantile::conformance {

/// The type of the numbers in a case whose query is stored as `stored`: what the field "dtype" of its description names,
/// else what its folder's name does ("4d_causal_bf16"), else `stored` itself.
/// Throws case_error if that is wider than `stored`, is no type, or if the name holds several.
[[nodiscard]] test::dtype type_of_case(const std::filesystem::path& folder, const nlohmann::json& description,
                                       npy::type stored);

/// How far a result in `t` may lie from the one that a case of that type stores: relative above 1, absolute below.
[[nodiscard]] double tolerance_of(test::dtype t);

} // namespace pantile::conformance
