/// \file
/// Which keys a query row sees: full, causal, sliding window and explicit offsets are one thing, a band.
#pragma once

#include <pantile/core/macros.hpp>

namespace pantile::inline v0 {

/// "No limit on this side." Large enough for every length, small enough that sums of three such values do not overflow.
inline constexpr index_t unbounded = index_t{1} << 60;

namespace core {

/// Keys [begin, end) or rows [begin, end).
struct span {
    index_t begin = 0;
    index_t end = 0;
    PANTILE_FN index_t size() const { return end - begin; }
    PANTILE_FN bool empty() const { return end <= begin; }
    constexpr bool operator==(const span&) const = default;
};

/// Row i stands at key position i + offset and sees the keys i+offset-left <= j <= i+offset+right that exist
/// (0 <= j < k_len); both sides are inclusive. lo(i) and hi(i) never decrease with i: every rule that skips tiles rests
/// on this monotony.
struct band {
    index_t left = unbounded;
    index_t right = unbounded;
    index_t offset = 0;
    index_t k_len = 0;

    /// First key that row i sees (if it sees any).
    PANTILE_FN index_t lo(index_t i) const { return clamp(i + offset - left, 0, k_len); }
    /// One past the last key that row i sees; hi(i) <= lo(i) means that it sees none.
    PANTILE_FN index_t hi(index_t i) const { return clamp(i + offset + right + 1, 0, k_len); }
    PANTILE_FN span keys(index_t i) const { return {lo(i), max(lo(i), hi(i))}; }
    /// The oracle: is the pair (row i, key j) visible?
    PANTILE_FN bool visible(index_t i, index_t j) const {
        return j >= 0 && j < k_len && j >= i + offset - left && j <= i + offset + right;
    }

    /// The rows below `q_len` that may see a key of [begin, end), by monotony one span; rows without keys that lie
    /// inside are included.
    PANTILE_FN span rows(index_t q_len, span k) const {
        if (k.empty()) return {0, 0};
        const index_t first = clamp(k.begin - offset - right, 0, q_len);
        const index_t last = clamp(k.end - offset + left, 0, q_len);
        return {first, max(first, last)};
    }
};

} // namespace core
} // namespace pantile::inline v0
