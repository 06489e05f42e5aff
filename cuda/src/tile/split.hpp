#pragma once

#include <pantile/core/band.hpp>

// How keys are split.

namespace pantile::cuda {

/// Share `share` of `count` things among `shares`: neighbours, and no share larger than another by more than one.
PANTILE_FN core::span share_of(index_t count, index_t shares, index_t share) {
    const index_t each = count / shares;
    const index_t larger = count - each * shares; // the first ones
    const index_t begin = share * each + core::min(share, larger);
    return {begin, begin + each + (share < larger ? 1 : 0)};
}

/// Keys of split `split` of `splits`, whole key tiles each.
PANTILE_FN core::span split_keys(index_t k_len, index_t key_tile, index_t splits, index_t split) {
    const core::span tiles = share_of(core::ceil_div(k_len, key_tile), splits, split);
    return {core::min(tiles.begin * key_tile, k_len), core::min(tiles.end * key_tile, k_len)};
}

} // namespace pantile::cuda
