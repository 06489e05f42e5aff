/// \file
/// What the machines that work on a tile of rows have in common, whatever computes their products.
#pragma once

#include <limits>

#include <pantile/core/online_softmax.hpp>
#include <pantile/core/scale.hpp>
#include <pantile/core/walk.hpp>

#include "kernels.hpp"
#include "micro/exp2.hpp"

namespace pantile::inline v0::cpu {

/// The online softmax on vectors, one row a lane.
template <class V>
struct vector_ops {
    using value = V;
    using T = number_t<V>;
    static PANTILE_INLINE V lowest() { return V(-std::numeric_limits<T>::infinity()); }
    static PANTILE_INLINE V zero() { return V(T(0)); }
    static PANTILE_INLINE V max(const V& a, const V& b) { return xsimd::max(a, b); }
    static PANTILE_INLINE V exp2(const V& x) { return cpu::power_of_two(x); }
    static PANTILE_INLINE V finite_or_zero(const V& x) { return xsimd::select(x == lowest(), zero(), x); }
};

/// The largest reference at which exponents y - reference stay where 2^x is good. The reference is the maximum rounded: from
/// twice this number on half a unit of its last place exceeds 64, and 2^x of what rounding took from it could overflow.
template <class T>
inline constexpr T largest_reference = sizeof(T) == 8 ? static_cast<T>(0x1p+60) : static_cast<T>(0x1p+31);

/// Is it beyond, and finite?
template <class T>
PANTILE_FN bool is_beyond(T reference) {
    const T size = reference < T(0) ? -reference : reference;
    return size >= largest_reference<T> && size <= std::numeric_limits<T>::max();
}

/// Scores of a row whose reference is beyond, s[0], s[stride], … of one key tile: there neighbouring numbers are exponents
/// so far apart that only the largest score has any weight. It becomes 0, the others minus infinity, to be taken against a
/// reference of 0. `tile_max` is the tile's largest score, `leads` tells whether it is the row's; NaN stays.
template <class V>
[[gnu::noinline, gnu::cold]] void keep_largest(number_t<V>* s, index_t stride, index_t keys, number_t<V> tile_max,
                                               bool leads) {
    using T = number_t<V>;
    for (index_t k = 0; k < keys; ++k, s += stride) {
        if (*s < tile_max || (*s == tile_max && !leads)) {
            *s = -std::numeric_limits<T>::infinity();
        } else if (*s == tile_max) {
            *s = T(0);
        }
    }
}

/// Keys [lo, hi) as far as they lie in the tile.
PANTILE_FN core::span within(const core::span& tile, index_t lo, index_t hi) {
    const index_t begin = core::clamp(lo, tile.begin, tile.end);
    return {begin, core::clamp(hi, begin, tile.end)};
}

/// Stores the log-sum-exp of `rows`, and their max and sum, where the call wants them; max and sum count from rows.begin.
template <class T>
PANTILE_INLINE inline void store_statistics(const output& to, const forward_work& work, core::span rows, const T* max,
                                            const T* sum) {
    const auto put = [&](const tensor_ref& r, index_t row, T x) PANTILE_INLINE {
        if (r.data == nullptr) return;
        static_cast<T*>(
            r.data)[work.batch * r.stride[0] + work.head * r.stride[1] + (work.seq.q_begin + row) * r.stride[2]] = x;
    };
    for (index_t row = rows.begin; row < rows.end; ++row) {
        const core::softmax_state<T> state{max[row - rows.begin], sum[row - rows.begin]};
        if (to.lse.data != nullptr) put(to.lse, row, core::finish_lse(state));
        put(to.max, row, state.max);
        put(to.sum, row, state.sum);
    }
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
