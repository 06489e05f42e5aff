/// \file
/// Runs a prepared forward call on its threads.
#pragma once

#include <span>

#include "prepare.hpp"

namespace pantile::inline v0::cpu {

/// Row tiles of all heads and batches, each against all its keys or one split of them; then the merge of splits.
/// Safe inside an OpenMP region (it then uses the threads that OpenMP grants there) and from several user threads.
void run(const prepared& p, const output& to, std::span<std::byte> given_workspace);

} // namespace pantile::inline v0::cpu
