/// \file
/// Tile sizes for a given near memory: those that fit and move least, those that a paper prints, those a user names.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/run.hpp>

namespace pantile::inline v0::simulator {

/// Tile sizes are multiples of these: 1 in the model of the papers, what the matrix unit takes on a machine.
struct tile_quantum {
    index_t rows = 1;
    index_t keys = 1;
};

/// Does one block of `e` fit e.near?
[[nodiscard]] PANTILE_API bool fits(const algorithm& a, const experiment& e);

struct tile_choice {
    tile_plan plan;
    footprint needs;
    core::transfers elements; ///< traffic of the whole workload
    core::transfers bytes;
};

/// The plans that fit e.near and move least (bytes; elements in the model of the papers), best first, at most `limit`.
/// For each width of one side, the longest other side that fits; squares too. Empty if nothing fits.
[[nodiscard]] PANTILE_API std::vector<tile_choice>
feasible_tiles(const algorithm& a, const experiment& e, const tile_quantum& quantum = {}, std::size_t limit = 1);

/// "feasible", "paper" or "ROWSxKEYS". Throws invalid_argument for anything else and for "paper" where none is printed,
/// and does_not_fit, with the live set of the smallest tiles, where nothing is feasible.
[[nodiscard]] PANTILE_API tile_plan parse_tiles(std::string_view text, const algorithm& a, const experiment& e,
                                                const tile_quantum& quantum = {});

} // namespace pantile::inline v0::simulator
