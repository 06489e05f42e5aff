#include <pantile/core/float_environment.hpp>

#if defined(__x86_64__)

namespace pantile::inline v0::core {
namespace {

// All exceptions masked, round to nearest, no FTZ, no DAZ: what a program starts with.
constexpr unsigned standard = 0x1f80;
constexpr unsigned raised_flags = 0x3f;

} // namespace

// A load waits for all that computes, so there is none where nothing would change.
float_environment::float_environment() noexcept : saved_(__builtin_ia32_stmxcsr()) {
    if ((saved_ & ~raised_flags) != standard) __builtin_ia32_ldmxcsr(standard);
}

float_environment::~float_environment() {
    if (__builtin_ia32_stmxcsr() != saved_) __builtin_ia32_ldmxcsr(saved_);
}

} // namespace pantile::inline v0::core

#else

#include <cfenv>
#include <cstring>

namespace pantile::inline v0::core {

float_environment::float_environment() noexcept : saved_{} {
    std::fenv_t callers;
    static_assert(sizeof callers <= sizeof saved_);
    std::fegetenv(&callers);
    std::memcpy(saved_, &callers, sizeof callers);
    std::fesetenv(FE_DFL_ENV);
}

float_environment::~float_environment() {
    std::fenv_t callers;
    std::memcpy(&callers, saved_, sizeof callers);
    std::fesetenv(&callers);
}

} // namespace pantile::inline v0::core

#endif
