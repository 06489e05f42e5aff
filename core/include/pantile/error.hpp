/// \file
/// What pantile throws. It never prints, aborts or exits.
#pragma once

#include <stdexcept>
#include <string>

#include <pantile/core/macros.hpp>

namespace pantile::inline v0 {

/// An argument that no machine could accept: thrown before any work, naming the argument, its value and the limit.
class PANTILE_API invalid_argument : public std::invalid_argument {
  public:
    using std::invalid_argument::invalid_argument;
};

/// A valid request that this machine does not serve; the text says what is served.
class PANTILE_API unsupported : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// A CUDA call failed: the text holds the call and the driver's words.
class PANTILE_API cuda_error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

} // namespace pantile::inline v0
