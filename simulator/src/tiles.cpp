#include <pantile/simulator/tiles.hpp>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <string>

#include <pantile/error.hpp>

namespace pantile::inline v0::simulator {

namespace {

/// Widths worth trying on one side: quantum · 1, 2, 3, 4, 6, 8, 12, 16 … up to `limit`.
std::vector<index_t> widths(index_t quantum, index_t limit) {
    std::vector<index_t> list;
    for (index_t n = 1; n * quantum <= limit; n *= 2) {
        list.push_back(n * quantum);
        if (n >= 2 && (n + n / 2) * quantum <= limit) list.push_back((n + n / 2) * quantum);
    }
    list.push_back(limit);
    return list;
}

/// The largest n·quantum <= limit for which fits(n·quantum); 0 if none. What a tile needs grows with its sides.
template <class F>
index_t largest(index_t quantum, index_t limit, F&& fits_at) {
    index_t low = 0;
    index_t high = limit / quantum + 1;
    while (high - low > 1) {
        const index_t middle = low + (high - low) / 2;
        (fits_at(middle * quantum) ? low : high) = middle;
    }
    return low * quantum;
}

index_t weight(const experiment& e, const tile_choice& c) {
    const core::transfers t = e.near.counts_elements() ? c.elements : c.bytes;
    return checked_add(t.reads, t.writes);
}

/// Row tiles are multiples of this: of the quantum and, where a tile must not cut a position of packed heads, of the group.
index_t row_step_of(const workload& w, const tile_quantum& quantum) {
    return w.packed_heads && w.banded() ? std::lcm(quantum.rows, std::max<index_t>(1, w.group())) : quantum.rows;
}

/// A positive number, else 0.
index_t parse_side(std::string_view text) {
    index_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() && value > 0 ? value : 0;
}

} // namespace

bool fits(const algorithm& a, const experiment& e) {
    const footprint f = footprint_of(a, e);
    return f.bytes <= e.near.bytes && (e.near.accumulator_bytes == 0 || f.register_bytes <= e.near.accumulator_bytes);
}

std::vector<tile_choice> feasible_tiles(const algorithm& a, const experiment& e, const tile_quantum& quantum,
                                        std::size_t limit) {
    const workload& w = e.what;
    const index_t row_step = row_step_of(w, quantum);
    const index_t all_rows = core::round_up(std::max<index_t>(1, w.q_len * (w.packed_heads ? w.group() : 1)), row_step);
    const index_t all_keys = core::round_up(std::max<index_t>(1, w.k_len), quantum.keys);

    const auto fits_plan = [&](index_t rows, index_t keys) {
        experiment trial = e;
        trial.plan = {rows, keys, e.plan.key_splits};
        return fits(a, trial);
    };
    std::vector<tile_plan> plans;
    const auto add = [&](index_t rows, index_t keys) {
        if (rows > 0 && keys > 0) plans.push_back({rows, keys, std::max<index_t>(1, e.plan.key_splits)});
    };
    for (const index_t keys : widths(quantum.keys, all_keys)) {
        add(largest(row_step, all_rows, [&](index_t rows) { return fits_plan(rows, keys); }), keys);
    }
    for (const index_t rows : widths(row_step, all_rows)) {
        add(rows, largest(quantum.keys, all_keys, [&](index_t keys) { return fits_plan(rows, keys); }));
    }
    const index_t both = std::max(row_step, quantum.keys);
    if (both % row_step == 0 && both % quantum.keys == 0) {
        const index_t side = largest(both, std::min(all_rows, all_keys), [&](index_t n) { return fits_plan(n, n); });
        add(side, side);
    }

    std::vector<tile_choice> choices;
    for (const tile_plan& plan : plans) {
        experiment trial = e;
        trial.plan = plan;
        const counts c = a.formula(w, e.which, plan);
        choices.push_back({plan, footprint_of(a, trial), c.elements(), c.bytes(w.type)});
    }
    // Least traffic; among equals the larger tile, which takes fewer steps.
    std::stable_sort(choices.begin(), choices.end(), [&](const tile_choice& x, const tile_choice& y) {
        const index_t wx = weight(e, x);
        const index_t wy = weight(e, y);
        if (wx != wy) return wx < wy;
        return x.plan.row_tile * x.plan.key_tile > y.plan.row_tile * y.plan.key_tile;
    });
    const auto same = [](const tile_choice& x, const tile_choice& y) { return x.plan == y.plan; };
    choices.erase(std::unique(choices.begin(), choices.end(), same), choices.end());
    if (choices.size() > limit) choices.resize(limit);
    return choices;
}

tile_plan parse_tiles(std::string_view text, const algorithm& a, const experiment& e, const tile_quantum& quantum) {
    if (text == "feasible") {
        const auto choices = feasible_tiles(a, e, quantum);
        if (!choices.empty()) return choices.front().plan;
        experiment least = e;
        least.plan = {row_step_of(e.what, quantum), quantum.keys, std::max<index_t>(1, e.plan.key_splits)};
        static_cast<void>(run(a, least)); // throws does_not_fit with the live set
        throw does_not_fit("no tiles fit near memory of " + std::to_string(e.near.bytes));
    }
    if (text == "paper") {
        const auto plan = a.published_tiles(e.what, e.which, e.near.bytes / e.near.operand_width);
        if (!plan) throw invalid_argument(std::string(a.name()) + " has no published rule for tiles; use 'feasible'");
        return *plan;
    }
    const std::size_t cross = text.find('x');
    const index_t rows = parse_side(text.substr(0, cross));
    const index_t keys = cross == std::string_view::npos ? 0 : parse_side(text.substr(cross + 1));
    if (rows == 0 || keys == 0) {
        throw invalid_argument("tiles is '" + std::string(text) +
                               "': it must be ROWSxKEYS (as in 128x64), 'feasible' or 'paper'");
    }
    return {rows, keys, std::max<index_t>(1, e.plan.key_splits)};
}

} // namespace pantile::inline v0::simulator
