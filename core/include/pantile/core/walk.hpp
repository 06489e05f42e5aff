/// \file
/// The tiling algorithm, written once. A machine holds one tile's work; these loops hold the order. The CPU, the
/// portable CUDA kernel and every simulated machine run the same walk.
#pragma once

#include <concepts>

#include <pantile/core/macros.hpp>
#include <pantile/core/schedule.hpp>

namespace pantile::inline v0::core {

/// Tags by which a machine learns at compile time whether it must compare positions inside a tile.
struct full_tile {};    ///< every pair is visible
struct partial_tile {}; ///< some pairs are hidden

/// A machine of the forward walk (FlashAttention-2, Algorithm 1: row tile outside, key tiles inside).
///   open(rows)         make the row tile current: load Q, start {max, sum, O}
///   fetch_key(t)       begin to bring K of key tile t near; waits, if any, belong to score
///   fetch_value(t)     the same for V; waits belong to accumulate
///   score(t, tag)      S = Q·Kᵀ of the tile, mask if partial, fold it into {max, sum}
///   accumulate(t)      O = O · factor + P·V
///   close()            normalise, store out and the log-sum-exp
template <class M>
concept forward_machine = requires(M& m, const row_tile& rows, const key_tile& keys) {
    m.open(rows);
    m.fetch_key(keys);
    m.fetch_value(keys);
    m.score(keys, full_tile{});
    m.score(keys, partial_tile{});
    m.accumulate(keys);
    m.close();
};

/// A machine of the backward walk (FlashAttention-2, Algorithm 2: key tile outside, row tiles inside).
///   open(keys)         make the key tile current: load K and V, dK = dV = 0
///   fetch_row(t)       begin to bring Q, dO, lse and D of row tile t near
///   score(t, tag)      P = exp(S - lse) of the tile, 0 where hidden
///   gradients(t)       dV += Pᵀ·dO; dS = P ∘ (dO·Vᵀ - D); dK += dSᵀ·Q; dQ(t) += dS·K
///   close()            store dK and dV
template <class M>
concept backward_machine = requires(M& m, const row_tile& rows, const key_tile& keys) {
    m.open(keys);
    m.fetch_row(rows);
    m.score(rows, full_tile{});
    m.score(rows, partial_tile{});
    m.gradients(rows);
    m.close();
};

namespace walk {

// Both walks as one shape: a stationary tile, and the tiles that pass by it, each asked for one step before its use.
// Traffic of forward, elements, one row tile of r rows: Q r·d, K and V Σ over visited tiles of keys·(d + e), out r·(e + 1).
// Traffic of backward, one key tile of c keys: K, V c·(d + e), Σ over visited row tiles of rows·(2d + e + ...), dK, dV
// c·(d + e); traffic.hpp has both in closed form.

/// One row tile against the keys it sees, left to right. A row tile that sees none is opened and closed: its rows get
/// out = 0, lse = -inf. `plan` is a schedule, or what a machine has made of one: key_range, rows and next_key_tile are asked,
/// and a key tile has an `index` and a visit `due`.
PANTILE_WALK
template <class M, class Schedule>
PANTILE_WALK_FN constexpr void forward(M& machine, const Schedule& plan, index_t row_tile_index) {
    const auto range = plan.key_range(row_tile_index);
    machine.open(row_tile{plan.rows(row_tile_index), row_tile_index, visit::full});
    auto current = plan.next_key_tile(row_tile_index, range.begin, range);
    if (current.due != visit::skip) machine.fetch_key(current);
    while (current.due != visit::skip) {
        machine.fetch_value(current);
        if (current.due == visit::full) {
            machine.score(current, full_tile{});
        } else {
            machine.score(current, partial_tile{});
        }
        const auto next = plan.next_key_tile(row_tile_index, current.index + 1, range);
        if (next.due != visit::skip) machine.fetch_key(next);
        machine.accumulate(current);
        current = next;
    }
    machine.close();
}

/// One key tile against the rows that see it, top to bottom. A key tile that no row sees is opened and closed: its dK
/// and dV are 0.
PANTILE_WALK
template <class M>
PANTILE_WALK_FN constexpr void backward(M& machine, const schedule& plan, index_t key_tile_index) {
    const span range = plan.row_range(key_tile_index);
    machine.open(key_tile{plan.keys(key_tile_index), key_tile_index, visit::full});
    row_tile current = plan.next_row_tile(key_tile_index, range.begin, range);
    if (current.due != visit::skip) machine.fetch_row(current);
    while (current.due != visit::skip) {
        if (current.due == visit::full) {
            machine.score(current, full_tile{});
        } else {
            machine.score(current, partial_tile{});
        }
        const row_tile next = plan.next_row_tile(key_tile_index, current.index + 1, range);
        if (next.due != visit::skip) machine.fetch_row(next);
        machine.gradients(current);
        current = next;
    }
    machine.close();
}

} // namespace walk
} // namespace pantile::inline v0::core
