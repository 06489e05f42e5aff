#pragma once

#include "plan.hpp"

// What explain tells of a call whose kernel is chosen.

namespace pantile::inline v0::cuda {

[[nodiscard]] device_explanation explained(const core::problem& shape, const forward_plan& plan, dtype type);

} // namespace pantile::inline v0::cuda
