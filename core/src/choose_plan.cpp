#include <pantile/core/choose_plan.hpp>

namespace pantile::inline v0::core {
namespace {

/// Key tile: as large as allowed, so that rescaling and tile starts are rare, while the K and V tile, which every panel of
/// the row tile reads again, stays in a quarter of the far memory.
index_t choose_key_tile(const problem& p, const machine_limits& m) {
    const index_t row_bytes = (p.head_dim + p.value_dim) * m.element_bytes;
    const index_t fitting = m.far_bytes / 4 / max(row_bytes, 1) / m.key_quantum * m.key_quantum;
    const index_t largest = clamp(fitting, m.key_quantum, round_up(m.max_key_tile, m.key_quantum));
    return min(largest, round_up(max(p.k_len, 1), m.key_quantum));
}

/// Row tile: at most what keeps Q and O of the tile in half of the far memory; then evened out, so that the last tile is
/// not a sliver, and shrunk while workers would starve.
index_t choose_row_tile(const problem& p, const machine_limits& m, index_t workers) {
    const index_t row_bytes = (p.head_dim + p.value_dim) * m.element_bytes;
    const index_t fitting = m.far_bytes / 2 / max(row_bytes, 1) / m.row_quantum * m.row_quantum;
    const index_t largest = clamp(fitting, m.row_quantum, round_up(m.max_row_tile, m.row_quantum));
    const index_t rows = max(p.q_len, 1);
    const index_t heads = max(p.batch * p.q_heads, 1);
    index_t tiles = ceil_div(rows, largest);
    const index_t panels = ceil_div(rows, m.row_quantum);
    // Three tiles a worker let the dynamic order even out causal tiles of different length.
    while (workers > 1 && heads * tiles < 3 * workers && tiles < panels) ++tiles;
    return round_up(ceil_div(rows, tiles), m.row_quantum);
}

/// Splits: only where rows are few; a function of lengths alone, so that results do not depend on the thread count.
index_t choose_splits(const problem& p, const machine_limits& m) {
    if (m.split_keys <= 0 || p.q_len * p.group() > m.decode_rows) return 1;
    return clamp(p.k_len / m.split_keys, 1, max(m.max_splits, 1));
}

} // namespace

tile_plan choose_plan(const problem& p, const machine_limits& limits, const tile_plan& requested, index_t workers) {
    tile_plan plan;
    plan.key_tile = requested.key_tile > 0 ? requested.key_tile : choose_key_tile(p, limits);
    plan.row_tile = requested.row_tile > 0 ? requested.row_tile : choose_row_tile(p, limits, workers);
    plan.key_splits = requested.key_splits > 0 ? requested.key_splits : choose_splits(p, limits);
    return plan;
}

tile_plan choose_plan(const problem& p, index_t capacity, index_t key_quantum) {
    const index_t width = p.head_dim + p.value_dim;
    const index_t keys = clamp(key_quantum, 1, max(p.k_len, 1));
    const index_t rows = (capacity - keys * width) / (width + 2 + keys);
    return {clamp(rows, 0, max(p.q_len, 1)), keys, 1};
}

} // namespace pantile::inline v0::core
