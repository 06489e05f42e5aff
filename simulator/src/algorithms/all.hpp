/// \file
/// One function a file of this folder; algorithm_list.cpp puts them in order.
#pragma once

#include <pantile/simulator/algorithm.hpp>

namespace pantile::inline v0::simulator {

const algorithm* standard();
const algorithm* fa1();
const algorithm* fa1_lazy();
const algorithm* fa2();
const algorithm* fa2_printed();
const algorithm* fa2_recompute();
const algorithm* split_keys();
const algorithm* ring();
const algorithm* small_cache();

} // namespace pantile::inline v0::simulator
