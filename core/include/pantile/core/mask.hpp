/// \file
/// The mask as a call names it: one struct for options, problems and workloads. core/band.hpp is what it means for one run of
/// rows and keys.
#pragma once

#include <pantile/core/band.hpp>
#include <pantile/core/macros.hpp>

namespace pantile::inline v0 {

/// Where row 0 stands: bottom_right puts the last row at the last key (a row of a growing cache), top_left puts row 0 at
/// key 0, explicit_offset takes the number given.
enum class alignment : unsigned char { bottom_right, top_left, explicit_offset };

/// Which keys a row sees: i + off - left <= j <= i + off + right, both sides inclusive. off is k_len - q_len
/// (bottom_right: the last row stands at the last key), 0 (top_left) or the number given by at_offset.
/// With per-batch key lengths, k_len is that of the batch.
struct mask {
    index_t left = unbounded;
    index_t right = unbounded;
    alignment align = alignment::bottom_right;
    index_t offset = 0; ///< read where align is explicit_offset

    /// The same band with row 0 at key `off`: a chunk of a prefill, a row of a cache.
    [[nodiscard]] constexpr mask at_offset(index_t off) const { return {left, right, alignment::explicit_offset, off}; }
};

/// Every row sees every key.
[[nodiscard]] constexpr mask full() { return {}; }
/// Row i sees the keys j <= i + off.
[[nodiscard]] constexpr mask causal(alignment align = alignment::bottom_right) { return {unbounded, 0, align, 0}; }
/// Row i sees the keys i + off - left <= j <= i + off + right; `unbounded` lifts a side.
[[nodiscard]] constexpr mask window(index_t left, index_t right, alignment align = alignment::bottom_right) {
    return {left, right, align, 0};
}

} // namespace pantile::inline v0
