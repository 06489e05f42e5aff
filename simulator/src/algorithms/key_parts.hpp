/// \file
/// Keys cut into parts of whole key tiles: the splits of split_keys, the devices of ring.
#pragma once

#include <algorithm>

#include <pantile/simulator/workload.hpp>

namespace pantile::inline v0::simulator {

/// Key tiles of one part, and how many parts hold any.
struct key_parts {
    index_t tiles_each = 0;
    index_t count = 0;
    key_parts(index_t key_tiles, index_t wanted) {
        if (key_tiles == 0) return;
        tiles_each = core::ceil_div(key_tiles, wanted);
        count = core::ceil_div(key_tiles, tiles_each);
    }
};

/// The same rows against the keys of part `i` only.
[[nodiscard]] inline head_task part_of(const head_task& whole, const key_parts& cut, index_t i) {
    const core::schedule& plan = whole.plan;
    const index_t keys_each = cut.tiles_each * plan.key_size;
    const core::span keys{i * keys_each, std::min((i + 1) * keys_each, plan.seq.k_len)};
    const core::sequence s = plan.seq.part(keys);
    head_task part = whole;
    part.plan = core::schedule(s, {plan.mask.left, plan.mask.right, s.offset, s.k_len}, plan.row_size, plan.key_size);
    return part;
}

} // namespace pantile::inline v0::simulator
