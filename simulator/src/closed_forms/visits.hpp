/// \file
/// How many rows and keys cross between far and near memory under a mask, by arithmetic on the band's edges. Written
/// without core's schedule, so that a run of the schedule and these sums can be held against each other.
#pragma once

#include <functional>

#include <pantile/simulator/workload.hpp>

namespace pantile::inline v0::simulator {

/// Sums over the tiles of one head that hold a visible pair. With packed heads a "row" is a packed row.
struct head_sums {
    index_t heads = 0;       ///< heads that share these sums
    index_t q = 0;           ///< rows of q
    index_t k = 0;           ///< keys
    index_t row_tiles = 0;   ///< ceil(q / Br)
    index_t key_tiles = 0;   ///< ceil(k / Bc)
    index_t keys = 0;        ///< Σ over row tiles of the keys of the tiles they visit: Tr·k without a mask
    index_t rows = 0;        ///< Σ over key tiles of the rows of the tiles they visit: Tc·q without a mask
    index_t pairs = 0;       ///< Σ over visited tiles of rows · keys: q·k without a mask
    index_t seeing_rows = 0; ///< rows of the row tiles that visit any key tile
};

/// The sums of batch `batch`.
[[nodiscard]] head_sums sums_of(const workload& w, const tile_plan& plan, index_t batch);
/// Calls `body` once for each batch (heads of a batch share their sums).
void for_each_batch(const workload& w, const tile_plan& plan, const std::function<void(const head_sums&)>& body);

/// `c` and what sending does to far memory: each element is read on one side and written on the other.
[[nodiscard]] counts with_sent(counts c, const counts& sent);

/// a·b·…, checked.
template <class... Rest>
[[nodiscard]] index_t product(index_t first, Rest... rest) {
    index_t p = first;
    ((p = checked_mul(p, rest)), ...);
    return p;
}

} // namespace pantile::inline v0::simulator
