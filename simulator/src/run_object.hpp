/// \file
/// A run as a JSON object, to which others add their part.
#pragma once

#include <nlohmann/json.hpp>

#include <pantile/simulator/run.hpp>

namespace pantile::inline v0::simulator {

[[nodiscard]] nlohmann::ordered_json run_object(const algorithm& a, const experiment& e, const run_result& r);

} // namespace pantile::inline v0::simulator
