#pragma once

#include <pantile/core/band.hpp>

// How keys are split.

namespace pantile::inline v0::cuda {

/// Share `share` of `count` things among `shares`: neighbours, and no share larger than another by more than one. On the
/// device 32 bits divide several times faster than 64.
template <class T>
PANTILE_FN core::span share_of(T count, T shares, T share) {
    const T each = count / shares;
    const T larger = count - each * shares; // the first ones
    const T begin = share * each + (share < larger ? share : larger);
    return {static_cast<index_t>(begin), static_cast<index_t>(begin + each + (share < larger ? 1 : 0))};
}

/// Keys of split `split` of `splits`, whole key tiles each.
PANTILE_FN core::span split_keys(index_t k_len, index_t key_tile, index_t splits, index_t split) {
    const core::span tiles = share_of(core::ceil_div(k_len, key_tile), splits, split);
    return {core::min(tiles.begin * key_tile, k_len), core::min(tiles.end * key_tile, k_len)};
}

} // namespace pantile::inline v0::cuda
