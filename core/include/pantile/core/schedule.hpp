/// \file
/// Which key tiles a row tile visits, and the reverse: band ∩ optional tile map, each pair of tiles skipped, partial or
/// full. Every machine iterates this schedule, so all of them visit the same tiles.
#pragma once

#include <pantile/core/band.hpp>
#include <pantile/core/macros.hpp>
#include <pantile/core/problem.hpp>
#include <pantile/core/tile_plan.hpp>

namespace pantile::inline v0::core {

/// How much of a (row tile, key tile) pair is visible: nothing, some pairs, every pair.
enum class visit : unsigned char { skip, partial, full };

/// One key tile as a machine receives it: keys [keys.begin, keys.end) of the sequence, the number `index` of the tile in
/// the key grid, and the visit it is due.
struct key_tile {
    span keys;
    index_t index = 0;
    visit due = visit::skip;
};

/// One row tile: rows [rows.begin, rows.end) of the sequence.
struct row_tile {
    span rows;
    index_t index = 0;
    visit due = visit::skip;
};

/// A block mask: block (r, c) covers block_rows rows and block_cols keys and is visible if its byte is not 0. Blocks need
/// not agree with tiles: a tile that mixes visible and hidden blocks is partial.
struct tile_map {
    const unsigned char* visible = nullptr; ///< null: no map
    index_t block_rows = 0;
    index_t block_cols = 0;
    index_t row_stride = 0; ///< bytes from block (r, c) to block (r + 1, c)

    PANTILE_FN bool sees(index_t i, index_t j) const {
        return visible == nullptr || visible[i / block_rows * row_stride + j / block_cols] != 0;
    }
    PANTILE_FN visit classify(span rows, span keys) const {
        if (visible == nullptr) return visit::full;
        bool any = false;
        bool all = true;
        for (index_t r = rows.begin / block_rows; r * block_rows < rows.end; ++r) {
            for (index_t c = keys.begin / block_cols; c * block_cols < keys.end; ++c) {
                const bool here = visible[r * row_stride + c] != 0;
                any = any || here;
                all = all && here;
            }
        }
        return all ? visit::full : any ? visit::partial : visit::skip;
    }
};

/// The tiling of one sequence. Row tiles are cut every row_tile rows; key tiles every key_tile keys, and anew at each
/// multiple of run_length (0: one run), so that no tile crosses a page.
struct schedule {
    sequence seq;
    band mask;
    index_t row_size = 1;   ///< rows of a row tile
    index_t key_size = 1;   ///< keys of a key tile
    index_t run_length = 0; ///< keys of a contiguous run (a page), 0: all
    tile_map map;

    constexpr schedule() = default;
    PANTILE_FN schedule(const sequence& s, const band& m, index_t rows, index_t keys, index_t run = 0, tile_map t = {})
        : seq(s), mask(m), row_size(rows), key_size(keys), run_length(run), map(t) {}
    PANTILE_FN schedule(const problem& p, const sequence& s, const tile_plan& plan, index_t run = 0, tile_map t = {})
        : schedule(s, p.band_of(s), plan.row_tile, plan.key_tile, run, t) {}

    /// The oracle that tests hold the tiles against.
    PANTILE_FN bool visible(index_t i, index_t j) const { return mask.visible(i, j) && map.sees(i, j); }

    PANTILE_FN index_t row_tiles() const { return ceil_div(seq.q_len, row_size); }
    PANTILE_FN index_t key_tiles() const {
        if (run_length == 0) return ceil_div(seq.k_len, key_size);
        return seq.k_len / run_length * tiles_per_run() + ceil_div(seq.k_len % run_length, key_size);
    }

    PANTILE_FN span rows(index_t tile) const { return {tile * row_size, min((tile + 1) * row_size, seq.q_len)}; }
    PANTILE_FN span keys(index_t tile) const {
        if (run_length == 0) return {tile * key_size, min((tile + 1) * key_size, seq.k_len)};
        const index_t run = tile / tiles_per_run() * run_length;
        const index_t begin = run + tile % tiles_per_run() * key_size;
        return {begin, min(min(begin + key_size, run + run_length), seq.k_len)};
    }
    /// The number of the tile that holds key j.
    PANTILE_FN index_t tile_of_key(index_t j) const {
        if (run_length == 0) return j / key_size;
        return j / run_length * tiles_per_run() + j % run_length / key_size;
    }

    /// skip: no pair of the two spans is visible; full: every pair is; else partial. Exact for the band; a map adds its
    /// own skip, and calls a tile partial wherever its blocks are mixed.
    PANTILE_FN visit classify(span r, span k) const {
        if (r.empty() || k.empty()) return visit::skip;
        if (mask.left + mask.right < 0) return visit::skip;
        const span seers = mask.rows(seq.q_len, k); // the rows that see a key of k: by monotony one run
        if (min(r.end, seers.end) <= max(r.begin, seers.begin)) return visit::skip;
        const visit mapped = map.classify(r, k);
        if (mapped == visit::skip) return visit::skip;
        const bool covered = mask.lo(r.end - 1) <= k.begin && mask.hi(r.begin) >= k.end;
        return covered ? mapped : visit::partial;
    }

    /// Numbers of the key tiles that the band lets row tile `tile` see (the map may still skip some inside).
    PANTILE_FN span key_range(index_t tile) const {
        const span r = rows(tile);
        if (r.empty() || seq.k_len == 0) return {0, 0};
        const index_t lo = mask.lo(r.begin);
        const index_t hi = mask.hi(r.end - 1);
        if (hi <= lo) return {0, 0};
        return {tile_of_key(lo), tile_of_key(hi - 1) + 1};
    }
    /// Numbers of the row tiles that the band lets see key tile `tile`.
    PANTILE_FN span row_range(index_t tile) const {
        const span r = mask.rows(seq.q_len, keys(tile));
        if (r.empty()) return {0, 0};
        return {r.begin / row_size, ceil_div(r.end, row_size)};
    }

    /// The first key tile of `range`, from number `from` on, that row tile `tile` must visit; due == skip: none is left.
    PANTILE_FN key_tile next_key_tile(index_t tile, index_t from, span range) const {
        for (index_t j = from; j < range.end; ++j) {
            const visit due = classify(rows(tile), keys(j));
            if (due != visit::skip) return {keys(j), j, due};
        }
        return {{0, 0}, range.end, visit::skip};
    }
    /// The same from right to left: the last tile of `range` with a number of at most `from`.
    PANTILE_FN key_tile previous_key_tile(index_t tile, index_t from, span range) const {
        for (index_t j = from; j >= range.begin; --j) {
            const visit due = classify(rows(tile), keys(j));
            if (due != visit::skip) return {keys(j), j, due};
        }
        return {{0, 0}, range.begin - 1, visit::skip};
    }
    /// The first row tile of `range`, from number `from` on, that key tile `tile` must visit.
    PANTILE_FN row_tile next_row_tile(index_t tile, index_t from, span range) const {
        for (index_t i = from; i < range.end; ++i) {
            const visit due = classify(rows(i), keys(tile));
            if (due != visit::skip) return {rows(i), i, due};
        }
        return {{0, 0}, range.end, visit::skip};
    }

  private:
    PANTILE_FN index_t tiles_per_run() const { return ceil_div(run_length, key_size); }
};

} // namespace pantile::inline v0::core
