#pragma once

#include "../tile/softmax.cuh"
#include "../tile/tile_run.hpp"

#include <pantile/core/band.hpp>

namespace pantile::inline v0::cuda {

/// What a launch computes once on the host.
struct half_constants {
    score_scale scale;
    bool whole; ///< head and value dim fill the padded dim, and rows are moved in pieces of 16 bytes
};

/// What a block knows of its work, in shared memory: looked at where a mask cuts, and at the ends.
template <class T>
struct half_work {
    tile_run run;
    core::span visible; ///< keys that some row sees
    index_t low;        ///< row r of the row tile sees the keys from low + r on
    index_t high;       ///< and up to, not including, high + r
    index_t diagonal;   ///< the key that row 0 of the row tile stands at
    float slope;        ///< of the head
    index_t k_len;
    const T* k; ///< first key of the sequence
    const T* v;
    int batch;
    int head;
    int rows;

    /// Whether row r of the row tile sees a key.
    [[nodiscard]] PANTILE_FN bool sees_keys(int r) const { return core::max(low + r, 0) < core::min(high + r, k_len); }
};

} // namespace pantile::inline v0::cuda
