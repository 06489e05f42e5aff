/// \file
/// From a problem and the facts about a machine to tile sizes.
#pragma once

#include <pantile/core/problem.hpp>
#include <pantile/core/tile_plan.hpp>

namespace pantile::inline v0::core {

/// Tile sizes for a machine with caches. `requested` fields that are not 0 are kept as they are (splits at least 1).
/// `workers` threads share the work: it may shrink row tiles, which changes no result bit, and nothing else.
[[nodiscard]] tile_plan choose_plan(const problem& p, const machine_limits& limits,
                                    const tile_plan& requested = {0, 0, 0}, index_t workers = 1);

/// Tile sizes of least traffic for a scratchpad that must hold, in elements, Q and O of a row tile, K and V of a key tile,
/// the score tile and {max, sum}: Br·(d + e + 2) + Bc·(d + e) + Br·Bc <= capacity. Traffic falls with Br alone, so Bc is
/// `key_quantum`. A row_tile of 0 says that not even one row fits.
[[nodiscard]] tile_plan choose_plan(const problem& p, index_t capacity, index_t key_quantum = 1);

} // namespace pantile::inline v0::core
