/// \file
/// Where the rows of K and V lie, for the plain machine: it asks a locator for contiguous key runs, which tiles never cross. A
/// paged cache is a locator with a page table; a plain tensor is one run.
#pragma once

#include <pantile/core/macros.hpp>

namespace pantile::test {

/// One run: key j is row j of the tensor.
struct contiguous_keys {
    PANTILE_FN index_t run_length() const { return 0; } ///< 0: a single run holds every key
    PANTILE_FN index_t row(index_t /*batch*/, index_t key) const { return key; }
};

/// Pages of `page` keys: key j of batch b lies in page table[b·table_stride + j / page] of the pool.
struct paged_keys {
    const index_t* table = nullptr;
    index_t table_stride = 0;
    index_t page = 1;
    PANTILE_FN index_t run_length() const { return page; }
    PANTILE_FN index_t row(index_t batch, index_t key) const {
        return table[batch * table_stride + key / page] * page + key % page;
    }
};

} // namespace pantile::test
