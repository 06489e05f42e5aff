/// \file
/// The floating-point environment that a call computes in. Host code only.
#pragma once

#include <cstdint>

namespace pantile::inline v0::core {

/// While it lives, the thread rounds to nearest, keeps subnormal numbers (no FTZ, no DAZ) and traps no floating-point
/// exception. Its end gives the caller's environment back as it was, raised flags included: those of the call are dropped.
///
/// Each public function takes one first of all, and each thread that works for it takes its own, so that what a caller has
/// set changes no bit and traps nowhere in the library. On x86 it is two accesses of MXCSR, some ten cycles; x87's
/// control word is left alone: nothing here computes with it.
class float_environment {
  public:
    float_environment() noexcept;
    ~float_environment();
    float_environment(const float_environment&) = delete;
    float_environment& operator=(const float_environment&) = delete;

  private:
#if defined(__x86_64__)
    unsigned saved_; ///< MXCSR
#else
    std::uint64_t saved_[4]; ///< std::fenv_t
#endif
};

} // namespace pantile::inline v0::core
