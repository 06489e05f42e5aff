/// \file
/// The conformance cases of float64_vectors and family_vectors: a folder with case.json and .npy files (see tests/conformance/README.md).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <npy.hpp>

#include <support/formula.hpp>

namespace pantile::test {

struct vector_case {
    attention_case problem;
    attention_inputs inputs;
    tensor<double> out, lse;          ///< (B, Hq, Sq, E), (B, Hq, Sq, 1)
    tensor<double> dq, dk, dv, dbias; ///< empty where the folder has none
    tensor<double> dslopes, dsinks;   ///< (1, H, 1, 1), or empty
    bool has_backward = false;
};

/// A case that cannot be read or contradicts itself; the text says what.
class case_error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// A case that asks for something that its reader does not know, or knows by name alone.
class unknown_feature : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// Numbers of any element type as doubles, in an extent of as many elements.
[[nodiscard]] tensor<double> as_doubles(const npy::array& a, const extents& e);

/// A file's numbers as doubles; missing axes are added in front.
[[nodiscard]] tensor<double> read_tensor(const std::filesystem::path& file);

/// Reads a folder. Throws case_error, unknown_feature or npy::error.
[[nodiscard]] vector_case read_vector_case(const std::filesystem::path& folder);

/// Every folder below `root` that holds a case.json, sorted by path.
[[nodiscard]] std::vector<std::filesystem::path> case_folders(const std::filesystem::path& root);

} // namespace pantile::test
