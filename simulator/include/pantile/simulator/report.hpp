/// \file
/// One self-contained HTML page: the laws, the published figures, the shared cache, and the walks in motion.
#pragma once

#include <string>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/run.hpp>

namespace pantile::inline v0::simulator {

/// One tile pair as a walk visits it.
struct tile_visit {
    index_t row_tile = 0;
    index_t key_tile = 0;
    index_t moved_bytes = 0; ///< to and from far memory until here
};
/// The tile pairs of a forward pass on one head, in the order in which their scores are computed.
[[nodiscard]] PANTILE_API std::vector<tile_visit> visits_of(const algorithm& a, const experiment& e);

/// The page. It needs no network; the animation is a few lines of script inside.
[[nodiscard]] PANTILE_API std::string report_html();

} // namespace pantile::inline v0::simulator
