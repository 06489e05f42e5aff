// What needs the core's headers alone.
#include <pantile/core/walk.hpp>
#include <pantile/options.hpp>
#include <pantile/tensor.hpp>
#include <pantile/version.hpp>

int rank_of(const pantile::tensor_ref& t) { return t.rank; }
