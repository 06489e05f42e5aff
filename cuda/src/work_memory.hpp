#pragma once

#include "plan.hpp"

#include <cstddef>
#include <span>

// What a call's work memory holds, and where.

namespace pantile::inline v0::cuda {

enum class work : unsigned char {
    none,   ///< the kernel needs no memory
    shared, ///< the kernel's blocks share it: splits that it merges itself, or a counter of row tiles
    parts,  ///< partial results of splits, merged by a launch of their own
};
[[nodiscard]] work work_of(const forward_plan& plan);

/// The caller's memory, which must be at least so many bytes and 256-byte aligned. Throws invalid_argument.
[[nodiscard]] std::byte* offered_memory(std::span<std::byte> offered, index_t bytes);

/// The launch that writes the splits' O, then their sums, then their maxima to `memory`, each (split, batch, head, row), in
/// the precision computed in.
[[nodiscard]] forward_arguments into_parts(const forward_arguments& a, dtype type, std::byte* memory);

} // namespace pantile::inline v0::cuda
