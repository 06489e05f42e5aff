/// \file
/// The tiles that the CPU's machines are led to, recorded while they compute.
#pragma once

#include <array>
#include <vector>

#include <pantile/core/problem.hpp>
#include <pantile/core/tile_plan.hpp>

namespace pantile::test {

/// (row tile, first key, one past the last key, full), in the order of the visits. One batch, one head.
using visit_list = std::vector<std::array<index_t, 4>>;

[[nodiscard]] visit_list tile_machine_visits(const core::problem& p, const tile_plan& plan);
/// That of bf16 on a matrix unit, in plain code.
[[nodiscard]] visit_list matrix_machine_visits(const core::problem& p, const tile_plan& plan);
/// One row tile holds all rows.
[[nodiscard]] visit_list decode_machine_visits(const core::problem& p, const tile_plan& plan);

/// (key tile, first row, one past the last row, full), key tiles first. Row tiles are multiples of backward_panel.
[[nodiscard]] visit_list backward_machine_visits(const core::problem& p, const tile_plan& plan);
inline constexpr index_t backward_panel = 8;

} // namespace pantile::test
