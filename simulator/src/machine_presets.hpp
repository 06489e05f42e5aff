/// \file
/// The built-in machines, in the form that parse_machine reads.
#pragma once

#include <string_view>
#include <vector>

namespace pantile::inline v0::simulator {

[[nodiscard]] const std::vector<std::string_view>& machine_presets();

} // namespace pantile::inline v0::simulator
