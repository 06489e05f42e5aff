/// \file
/// The tiles that the CPU's forward machines are led to, recorded while they compute.
#pragma once

#include <array>
#include <vector>

#include <pantile/core/problem.hpp>
#include <pantile/core/tile_plan.hpp>

namespace pantile::test {

/// (row tile, first key, one past the last key, full), in the order of the visits. One batch, one head.
using visit_list = std::vector<std::array<index_t, 4>>;

[[nodiscard]] visit_list tile_machine_visits(const core::problem& p, const tile_plan& plan);
/// One row tile holds all rows.
[[nodiscard]] visit_list decode_machine_visits(const core::problem& p, const tile_plan& plan);

} // namespace pantile::test
