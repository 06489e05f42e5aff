/// \file
/// The markers of the host+device core and of the public page, and the size type.
#pragma once

#include <cstdint>

// PANTILE_FN: a small function that any machine may call, on the host, on the device or in a constant expression.
// It is always inlined on the host: an object file compiled for a newer instruction set then emits no copy of it that
// the linker could hand to code meant for an older processor.
#if defined(__CUDACC__)
#define PANTILE_FN __host__ __device__ constexpr __forceinline__
#elif defined(__GNUC__)
#define PANTILE_FN __attribute__((always_inline)) constexpr inline
#else
#define PANTILE_FN constexpr inline
#endif

// PANTILE_WALK: put before `template` of a loop over a machine. The machine may be host-only, device-only or both, and
// the loop is compiled for the side that its machine lives on; nvcc must be told not to check the other side.
#if defined(__CUDACC__)
#define PANTILE_WALK _Pragma("nv_exec_check_disable")
#define PANTILE_WALK_FN __host__ __device__
#else
#define PANTILE_WALK
#define PANTILE_WALK_FN
#endif

// PANTILE_API: what the shared library exports. Everything else is hidden.
#if defined(__GNUC__)
#define PANTILE_API __attribute__((visibility("default")))
#else
#define PANTILE_API
#endif

namespace pantile::inline v0 {

/// Every size, position, count and stride (in elements unless said otherwise).
using index_t = std::int64_t;

namespace core {

PANTILE_FN index_t min(index_t a, index_t b) { return b < a ? b : a; }
PANTILE_FN index_t max(index_t a, index_t b) { return a < b ? b : a; }
PANTILE_FN index_t clamp(index_t x, index_t low, index_t high) { return min(max(x, low), high); }

/// a / b rounded up, for a >= 0 and b > 0.
PANTILE_FN index_t ceil_div(index_t a, index_t b) { return a / b + (a % b != 0 ? 1 : 0); }
/// The smallest multiple of b that is at least a.
PANTILE_FN index_t round_up(index_t a, index_t b) { return ceil_div(a, b) * b; }

} // namespace core
} // namespace pantile::inline v0
