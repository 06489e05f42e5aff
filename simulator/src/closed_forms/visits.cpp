#include "closed_forms/visits.hpp"

#include <algorithm>
#include <vector>

namespace pantile::inline v0::simulator {

namespace {

/// Edges of a band over `q` positions and `k` keys: position i sees [i + offset - left, i + offset + right] ∩ [0, k).
struct edges {
    index_t q, k, offset, left, right;
};

/// One past the last and the first key that any of the positions [r0, r1) sees; empty if the second is not smaller.
core::span seen_keys(const edges& b, index_t r0, index_t r1) {
    return {std::max<index_t>(0, r0 + b.offset - b.left), std::min(b.k, r1 + b.offset + b.right)};
}

/// Positions that see any key of [c0, c1).
core::span seeing_rows(const edges& b, index_t c0, index_t c1) {
    return {std::max<index_t>(0, c0 - b.offset - b.right), std::min(b.q, c1 - b.offset + b.left)};
}

index_t down(index_t x, index_t step) { return x / step * step; }
index_t up(index_t x, index_t step, index_t limit) { return std::min(limit, (x + step - 1) / step * step); }

/// The key tiles (merged into intervals of keys) that hold part of a visible block of the block rows [first, last].
std::vector<core::span> shown_keys(const workload& w, index_t first, index_t last, index_t k, index_t bc) {
    const index_t across = core::ceil_div(w.k_len, w.block_cols);
    std::vector<core::span> intervals;
    for (index_t c = 0; c < across && c * w.block_cols < k; ++c) {
        bool any = false;
        for (index_t r = first; r <= last && !any; ++r) any = w.blocks[static_cast<std::size_t>(r * across + c)] != 0;
        if (!any) continue;
        const core::span tiles{down(c * w.block_cols, bc), up((c + 1) * w.block_cols, bc, k)};
        if (!intervals.empty() && tiles.begin <= intervals.back().end) {
            intervals.back().end = std::max(intervals.back().end, tiles.end);
        } else {
            intervals.push_back(tiles);
        }
    }
    return intervals;
}

/// Block masks: for each row tile, the tiles of its blocks that lie within the band's tiles.
void sum_blocks(const workload& w, const edges& b, index_t br, index_t bc, head_sums& s) {
    std::vector<core::span> shown;
    core::span shown_for{-1, -1}; // neighbouring row tiles often lie in the same block rows
    for (index_t r0 = 0; r0 < b.q; r0 += br) {
        const index_t r1 = std::min(b.q, r0 + br);
        const core::span seen = seen_keys(b, r0, r1);
        if (seen.empty()) continue;
        const core::span block_rows{r0 / w.block_rows, (r1 - 1) / w.block_rows};
        if (block_rows.begin != shown_for.begin || block_rows.end != shown_for.end) {
            shown = shown_keys(w, block_rows.begin, block_rows.end, b.k, bc);
            shown_for = block_rows;
        }
        const core::span band{down(seen.begin, bc), up(seen.end, bc, b.k)};
        index_t keys = 0;
        index_t tiles = 0;
        for (const core::span& x : shown) {
            const core::span both{std::max(x.begin, band.begin), std::min(x.end, band.end)};
            if (both.empty()) continue;
            keys += both.size();
            tiles += core::ceil_div(both.size(), bc);
        }
        s.keys += keys;
        s.rows += tiles * (r1 - r0);
        s.pairs += (r1 - r0) * keys;
        if (keys > 0) s.seeing_rows += r1 - r0;
    }
}

void sum_band(const edges& b, index_t br, index_t bc, head_sums& s) {
    for (index_t r0 = 0; r0 < b.q; r0 += br) {
        const index_t r1 = std::min(b.q, r0 + br);
        const core::span seen = seen_keys(b, r0, r1);
        if (seen.empty()) continue;
        const index_t keys = up(seen.end, bc, b.k) - down(seen.begin, bc);
        s.keys += keys;
        s.pairs += (r1 - r0) * keys;
        s.seeing_rows += r1 - r0;
    }
    for (index_t c0 = 0; c0 < b.k; c0 += bc) {
        const core::span r = seeing_rows(b, c0, std::min(b.k, c0 + bc));
        if (!r.empty()) s.rows += up(r.end, br, b.q) - down(r.begin, br);
    }
}

} // namespace

head_sums sums_of(const workload& w, const tile_plan& plan, index_t batch) {
    const index_t group = w.packed_heads ? w.group() : 1;
    const index_t k = w.key_lengths.empty() ? w.k_len : w.key_lengths[static_cast<std::size_t>(batch)];
    head_sums s;
    s.heads = w.packed_heads ? w.kv_heads : w.q_heads;
    s.q = w.q_len * group;
    s.k = k;
    s.row_tiles = core::ceil_div(s.q, plan.row_tile);
    s.key_tiles = core::ceil_div(k, plan.key_tile);
    if (!w.banded()) {
        const bool any = s.q > 0 && k > 0;
        s.keys = checked_mul(s.row_tiles, k);
        s.rows = checked_mul(s.key_tiles, s.q);
        s.pairs = checked_mul(s.q, k);
        s.seeing_rows = any ? s.q : 0;
    } else if (w.mask.left + w.mask.right >= 0) {
        // Packed rows at one position see the same keys: count positions, then multiply rows by the group.
        const index_t offset = w.mask.align == alignment::top_left       ? 0
                               : w.mask.align == alignment::bottom_right ? k - w.q_len
                                                                         : w.mask.offset;
        const edges band{w.q_len, k, offset, w.mask.left, w.mask.right};
        if (w.blocks.empty()) {
            sum_band(band, plan.row_tile / group, plan.key_tile, s);
        } else {
            sum_blocks(w, band, plan.row_tile / group, plan.key_tile, s);
        }
        s.rows *= group;
        s.pairs *= group;
        s.seeing_rows *= group;
    }
    return s;
}

counts with_sent(counts c, const counts& sent) {
    for (int i = 0; i < tensor_kinds; ++i) {
        const auto t = static_cast<tensor>(i);
        c.read(t, sent[t].writes);
        c.write(t, sent[t].writes);
    }
    return c;
}

void for_each_batch(const workload& w, const tile_plan& plan, const std::function<void(const head_sums&)>& body) {
    for (index_t batch = 0; batch < w.batch; ++batch) body(sums_of(w, plan, batch));
}

} // namespace pantile::inline v0::simulator
