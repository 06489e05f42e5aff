#pragma once

#include <pantile/core/band.hpp>

// How keys are split.

namespace pantile::cuda {

/// Keys of split `split` of `splits`, whole key tiles each.
PANTILE_FN core::span split_keys(index_t k_len, index_t key_tile, index_t splits, index_t split) {
    const index_t tiles = core::ceil_div(core::ceil_div(k_len, key_tile), splits);
    return {core::min(split * tiles * key_tile, k_len), core::min((split + 1) * tiles * key_tile, k_len)};
}

} // namespace pantile::cuda
