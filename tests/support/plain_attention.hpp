/// \file
/// Whole problems through the core's walks on the plain machine: every head, with the features that a case has, the keys
/// in one run or in pages, in one part or in several.
#pragma once

#include <support/formula.hpp>

namespace pantile::test {

/// How the work is cut. None of it may change the result by more than rounding.
struct cut {
    index_t row_tile = 8;
    index_t key_tile = 8;
    index_t page = 0;   ///< 0: keys in one run; else pages of so many keys, in shuffled order in the pool
    index_t splits = 1; ///< parts of the keys, merged in index order
};

struct plain_result {
    forward_result<double> forward;
    backward_result<double> backward;
};

/// Throws std::logic_error if a walk calls a machine out of order or calls a tile full that is not.
[[nodiscard]] plain_result attention_by_walks(const attention_case& c, const attention_inputs& in, const cut& how);

} // namespace pantile::test
