/// \file
/// What the machines that work on a tile of rows have in common, whatever computes their products.
#pragma once

#include <pantile/core/scale.hpp>
#include <pantile/core/walk.hpp>

#include "call.hpp"
#include "softmax.hpp"

namespace pantile::inline v0::cpu {

/// Keys [lo, hi) as far as they lie in the tile.
PANTILE_FN core::span within(const core::span& tile, index_t lo, index_t hi) {
    const index_t begin = core::clamp(lo, tile.begin, tile.end);
    return {begin, core::clamp(hi, begin, tile.end)};
}

/// Stores the log-sum-exp of a row, and its max and sum, where the call wants them. `row` counts from the tensor's first.
template <class T>
PANTILE_INLINE inline void store_statistics(const output& to, index_t batch, index_t head, index_t row,
                                            const core::softmax_state<T>& state) {
    const auto put = [&](const tensor_ref& r, T x) PANTILE_INLINE {
        if (r.data == nullptr) return;
        static_cast<T*>(r.data)[batch * r.stride[0] + head * r.stride[1] + row * r.stride[2]] = x;
    };
    if (to.lse.data != nullptr) put(to.lse, core::finish_lse(state));
    put(to.max, state.max);
    put(to.sum, state.sum);
}

/// One row tile, start to end. Rows whose output is not finite although hidden pairs took part are walked again one by
/// one: a row alone touches no key that it does not see, and adds in the same order.
template <class Machine>
void run_row_tile(const forward_call& call, const forward_work& work, const output& to, std::byte* scratch) {
    Machine machine(call, work, to, scratch);
    const core::schedule tiles(call.problem, work.seq, call.plan);
    core::walk::forward(machine, tiles, work.row_tile);
    if (!machine.find_suspects()) return;
    const core::span rows = tiles.rows(work.row_tile);
    const core::schedule single(work.seq, tiles.mask, 1, call.plan.key_tile);
    for (index_t i = rows.begin; i < rows.end; ++i) {
        if (machine.is_suspect(i - rows.begin)) core::walk::forward(machine, single, i);
    }
}

} // namespace pantile::inline v0::cpu
