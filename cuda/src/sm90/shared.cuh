#pragma once

#include "../arguments.hpp"
#include "../ptx/barrier.cuh"
#include "order.hpp"
#include "tile.hpp"

#include <pantile/core/schedule.hpp>

// What the warpgroups of a Hopper block share: rings of Q, K and V tiles with a full and an empty barrier a stage, the
// producers' notes, and the staging of O.

namespace pantile::inline v0::cuda {

/// What the consumers are told with a K tile.
struct key_note {
    int first;                          ///< first key of the tile in the sequence
    int flags;                          ///< of the following
    static constexpr int cut_left = 1;  ///< for some row its keys begin within the tile (or behind it)
    static constexpr int cut_right = 2; ///< for some row they end there (or before it)
    static constexpr int last = 4;      ///< no further tile for this row tile
    static constexpr int trim = 8;      ///< rows of V that no query row of the tile sees must be zeroed
};

/// What the consumers are told with Q.
struct row_note {
    int batch; ///< -1: no more work
    int head;
    int row_tile;
    int visible_begin; ///< keys that some row sees
    int visible_end;
    int low;     ///< row i sees the keys from i + low
    int high;    ///< up to i + high - 1
    int keys;    ///< of 0 to keys - 1
    int offset;  ///< row i stands at key i + offset; with ALiBi
    float slope; ///< of the head, as score_constants has it
    [[nodiscard]] PANTILE_FN bool sees_keys() const { return visible_begin < visible_end; }
};

/// A warp's 16 rows of O each, on their way to the copy engine.
template <class tile, bool stages_out = tile::stages_out>
struct sm90_staging {};
template <class tile>
struct sm90_staging<tile, true> {
    alignas(tile_alignment) char o[4 * tile::consumers][tile_bytes(warp_rows, tile::value_dim)];
};

template <class tile>
struct alignas(tile_alignment) sm90_shared : sm90_staging<tile> {
    alignas(tile_alignment) char q[tile::q_stages][tile::q_bytes];
    char k[tile::stages][tile::k_bytes];
    char v[tile::stages][tile::v_bytes];
    ptx::barrier q_full[tile::q_stages], q_empty[tile::q_stages];
    ptx::barrier k_full[tile::stages], k_empty[tile::stages];
    ptx::barrier v_full[tile::stages], v_empty[tile::stages];
    static constexpr int items = 2; ///< row tiles that the key producer may be told of ahead
    ptx::barrier item_full[items], item_empty[items];
    ptx::barrier counter_is_open;
    key_note key[tile::stages];
    row_note row[tile::q_stages];
    head_rows item[items]; ///< batch -1: no more work
};

/// A place in a ring of barriers: the stage and the parity that a consumer waits for.
template <int stages>
struct ring {
    int stage = 0;
    std::uint32_t parity = 0;
    __device__ __forceinline__ void advance() {
        if (++stage == stages) {
            stage = 0;
            parity ^= 1;
        }
    }
};

/// The sequence and schedule of one batch.
template <class tile>
__device__ __forceinline__ core::schedule schedule_of(const forward_arguments& a, int batch) {
    const core::sequence sequence = a.shape.sequence_of(batch);
    return {sequence, a.shape.band_of(sequence), tile::rows, tile::keys};
}

} // namespace pantile::inline v0::cuda
