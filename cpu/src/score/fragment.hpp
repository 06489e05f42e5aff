/// \file
/// A piece of S in near memory, and what gives row and key of each of its elements.
#pragma once

#include <pantile/core/band.hpp>

#include "../forward/softmax.hpp"

namespace pantile::inline v0::cpu::score {

/// 0, 1, 2, … in the lanes.
template <class V>
PANTILE_INLINE inline V lane_numbers() {
    number_t<V> numbers[V::size];
    for (int i = 0; i < lanes<V>; ++i) numbers[i] = static_cast<number_t<V>>(i);
    return V::load_unaligned(numbers);
}

/// One column of a score tile: vectors of rows, one under the other, key after key. In decode, where rows are few, a vector holds
/// them for several keys, and `keys_a_step` counts those. Keys are counted from the tile's first, in T, where they are exact; a lane
/// whose key is not the vector's first says so in `distance` and `visible`.
template <class V>
struct fragment {
    using T = number_t<V>;

    T* scores = nullptr; ///< of key `begin`
    index_t stride = 0;  ///< numbers from a vector to the next
    index_t begin = 0;   ///< keys [begin, end); a last vector may reach beyond
    index_t end = 0;
    index_t keys_a_step = 1; ///< from a vector to the next
    V distance{};            ///< row + offset - key of each lane, for key 0 of the tile
    V slope{};               ///< of each lane's query head, as core::score_function::slope_of gives it
    visible_keys<V> visible{V(T(0)), V(T(0))}; ///< asked only if `hides`
    bool hides = false;                        ///< some pairs may be hidden
};

/// The distance of rows `row`, `row` + 1, … in the lanes to key `first_key`.
template <class V>
PANTILE_INLINE inline V distances(const core::band& band, index_t row, index_t first_key) {
    return V(static_cast<number_t<V>>(row + band.offset - first_key)) + lane_numbers<V>();
}

/// The keys that these rows see, counted from `first_key`; clamped far outside a tile, where they are exact in T.
template <class V>
PANTILE_INLINE inline visible_keys<V> keys_seen(const core::band& band, index_t row, index_t first_key) {
    constexpr index_t far = index_t{1} << 23;
    const index_t at = row + band.offset - first_key;
    return {V(static_cast<number_t<V>>(core::clamp(at - band.left, -far, far))) + lane_numbers<V>(),
            V(static_cast<number_t<V>>(core::clamp(at + band.right + 1, -far, far))) + lane_numbers<V>()};
}

} // namespace pantile::inline v0::cpu::score
