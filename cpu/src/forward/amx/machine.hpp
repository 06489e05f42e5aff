/// \file
/// The forward walk's machine for bf16 on a matrix unit, queries along the tiles' columns.
///
/// A row tile (up to 1024 queries) is cut into panels of 32 queries, a key tile (up to 768 keys) into blocks of 32 keys. As in
/// cpu/src/forward/tile/machine.hpp, Sᵀ[key][query] and Oᵀ[dim][query] are computed a panel at a time, so that the softmax is
/// vertical. Both products are blocks of 2 × 2 tiles of 16 × 16: four loads of 1 KiB serve four tile products.
///
///     product     first operand, tile [16][32]       second operand, tile [16 pairs][16]{even, odd}
///     Sᵀ = K·Qᵀ   K rows: copied once a key tile     Q, dims in pairs: packed once a row tile
///     Oᵀ = Vᵀ·P   Vᵀ rows: packed once a key tile    P, keys in pairs: written by the exponentials
///
/// Every operand tile is 1 KiB in one piece. The matrix unit and the vector units are to work at the same time: while the
/// exponentials of panel u are taken, step by step, the matrix unit finishes P·V of panel u - 1 and then starts the scores of
/// panel u + 1, in the memory that those of u - 1 have left.
///
///     vectors        exp 0           exp 1           exp 2
///     matrix unit    S 1             P·V 0, S 2      P·V 1, S 3      …
///
/// Sizes in bytes, row tile of r queries, key tile of c keys, head dim d, value dim e, all in L2 (1.5 MB with d = e = 128):
///     Q 2·r·d, O 4·r·e, K 2·c·d, V 2·c·e
///     scores of two panels 2 · 4·32·c, their P 2 · 2·32·c
/// A panel does 64·c·(d + e) FLOP, c·(d + e)/16 clocks of the matrix unit at its peak, and takes 32·c exponentials. From L2 it
/// moves 2·c·(d + e) bytes of K and V, 4·64·c of scores and P, and 8·32·e of O.
///
/// P is rounded to bf16 for the product with V, as every matrix-unit code does; the row sum adds the unrounded P, so that
/// the log-sum-exp keeps the precision of fp32. The unit takes subnormal inputs as zero.
#pragma once

#include "../row_tile_machine.hpp"
#include "exponentials.hpp"
#include "pack.hpp"
#include "visits.hpp"

namespace pantile::inline v0::cpu::amx {

template <class Unit>
class tile_machine : public row_tile_machine<typename Unit::vector> {
    using V = typename Unit::vector;
    using base = row_tile_machine<V>;
    static constexpr index_t n = lanes<V>;
    static constexpr int vectors = panel_rows / lanes<V>; // a row of 32 queries
    /// The unit takes subnormal numbers as zero, so Q is not made smaller than this: q·2^-64 is 0 below 2^-62, which no score
    /// notices unless its k is above 2^90, and products up to 2^192 fit.
    static constexpr int least_query_power = -64;
    using softmax = core::online_softmax<vector_ops<V>>;

  public:
    tile_machine(const forward_call& call, const forward_work& work, const output& to, std::byte* scratch)
        : base(call, work, to, core::split_scale(call.problem.scale, least_query_power, core::least_power<float>)) {
        measure();
        allocate(scratch);
    }

    static index_t scratch_bytes(const forward_call& call) {
        tile_machine counting(call);
        return counting.allocate(nullptr);
    }

    /// Q of the rows as second operands: reads r·d numbers.
    void open(const core::row_tile& t) {
        rows_ = t.rows;
        partial_seen_ = false;
        const index_t first = mask_.lo(rows_.begin);
        seen_ = {first, core::max(first, mask_.hi(rows_.end - 1))};
        panels_ = core::ceil_div(rows_.size(), panel_rows);
        for (index_t r = 0; r < panels_ * panel_rows; r += 16) pack_queries(r);
        this->start_rows(0, panels_ * panel_rows);
        for (index_t i = 0; i < panels_ * panel_rows * value_pad_; i += n) softmax::start().sum.store_aligned(ot_ + i);
    }

    /// Rows that no query of the row tile sees are never read; zeros stand for them.
    void fetch_key(const core::key_tile& t) {
        const index_t dim = call_.problem.head_dim;
        const bool in_place = k_.col_stride == 1 && dim == head_pad_;
        for (index_t j = 0; j < core::round_up(t.keys.size(), block_keys); ++j) {
            const bfloat16* row = zeros_;
            if (is_seen(t, j)) {
                row = static_cast<const bfloat16*>(k_.data) + (t.keys.begin + j) * k_.row_stride;
                if (!in_place) {
                    copy_row<V>(k_, t.keys.begin + j, dim, staging_, head_pad_);
                    row = staging_;
                }
            }
            put_row(row, head_pad_, j % 16, kt_ + j / 16 * 16 * head_pad_);
        }
    }
    void fetch_value(const core::key_tile& t) {
        const index_t dim = call_.problem.value_dim;
        const bool in_place = v_.col_stride == 1 && dim == value_pad_;
        for (index_t j = 0; j < t.keys.size(); j += block_keys) {
            const bfloat16* rows[block_keys];
            for (index_t i = 0; i < block_keys; ++i) {
                const index_t key = t.keys.begin + j + i;
                rows[i] = zeros_;
                if (!is_seen(t, j + i)) continue;
                rows[i] = static_cast<const bfloat16*>(v_.data) + key * v_.row_stride;
                if (in_place) continue;
                copy_row<V>(v_, key, dim, staging_ + i * value_pad_, value_pad_);
                rows[i] = staging_ + i * value_pad_;
            }
            pack_row_pairs<V>(rows, value_pad_, spare_, vt_ + j * value_pad_);
        }
    }

    void score(const core::key_tile& t, core::full_tile) { visit_panels(t); }
    void score(const core::key_tile& t, core::partial_tile) {
        partial_seen_ = true;
        visit_panels(t);
    }

    void accumulate(const core::key_tile&) {} // done by score, panel by panel

    void close() { this->store_panels(panel_rows, reference_, panels()); }
    bool find_suspects() { return this->any_suspect(panel_rows, panels()); }

  private:
    explicit tile_machine(const forward_call& call) : base(call) { measure(); }

    void measure() {
        head_pad_ = core::round_up(core::max(call_.problem.head_dim, 1), 32);
        value_pad_ = core::round_up(core::max(call_.problem.value_dim, 1), 32);
    }

    index_t allocate(std::byte* scratch) {
        const core::problem& p = call_.problem;
        const index_t rows = core::round_up(core::min(call_.plan.row_tile, core::max(p.q_len, 1)), panel_rows);
        const index_t keys = core::round_up(core::min(call_.plan.key_tile, core::max(p.k_len, 1)), block_keys);
        const index_t pad = core::max(head_pad_, value_pad_);
        arena memory(scratch);
        scores_ = memory.template take<float>(keys * score_stride);
        for (bfloat16*& p : p_) p = memory.template take<bfloat16>(keys * panel_rows);
        for (float*& block : product_) block = memory.template take<float>(32 * panel_rows);
        for (float*& factor : factor_) factor = memory.template take<float>(panel_rows);
        this->take_state(memory, panel_rows, rows);
        kt_ = memory.template take<bfloat16>(keys * head_pad_);
        vt_ = memory.template take<bfloat16>(keys * value_pad_);
        qt_ = memory.template take<bfloat16>(rows * head_pad_);
        ot_ = memory.template take<float>(rows * value_pad_);
        staging_ = memory.template take<bfloat16>(32 * pad);
        spare_ = memory.template take<bfloat16>(32 * value_pad_);
        zeros_ = memory.template take<bfloat16>(pad);
        if (zeros_ != nullptr) std::memset(static_cast<void*>(zeros_), 0, static_cast<std::size_t>(pad) * 2);
        return memory.used();
    }

    bfloat16* q_panel(index_t u) const { return qt_ + u * panel_rows * head_pad_; }
    float* o_panel(index_t u) const { return ot_ + u * panel_rows * value_pad_; }
    auto panels() const {
        return [this](index_t r) { return panel_sums<float>{o_panel(r / panel_rows), panel_rows}; };
    }

    /// Does key j of the tile exist, and does some row of the row tile see it, as far as the band's ends tell?
    bool is_seen(const core::key_tile& t, index_t j) const {
        const index_t key = t.keys.begin + j;
        return key < t.keys.end && key >= seen_.begin && key < seen_.end;
    }

    /// 16 rows of Q from row r of the tile on, times their factor, a power of two: bf16 holds the product exactly.
    void pack_queries(index_t r) {
        for (index_t i = 0; i < 16; ++i) {
            bfloat16* row = staging_ + i * head_pad_;
            if (r + i < rows_.size()) {
                copy_row<V>(q_, rows_.begin + r + i, call_.problem.head_dim, row, head_pad_);
            } else {
                std::memcpy(static_cast<void*>(row), zeros_, static_cast<std::size_t>(head_pad_) * sizeof(bfloat16));
            }
        }
        pack_column_pairs<V>(staging_, head_pad_, q_factor_, qt_ + r * head_pad_);
    }

    /// Every panel of the row tile against one key tile, matrix unit and vectors overlapping as drawn above.
    void visit_panels(const core::key_tile& t) {
        visits order(mask_, rows_, t.keys);
        index_t turn = 0;
        // Two visits are under way: each has memory of its own.
        const auto next = [&]() PANTILE_INLINE {
            panel_visit v = order.next();
            v.scores = scores_ + turn % 2 * panel_rows;
            v.p = p_[turn % 2];
            v.factor = factor_[turn++ % 2];
            return v;
        };
        panel_visit before;
        panel_visit now = next();
        if (!now.any()) return;
        idle nothing;
        scores(t, now, nothing);
        while (now.any()) {
            fold_maxima(t, now, now.last - 1);
            if (this->template fold<vectors>(now.panel * panel_rows, now.factor)) {
                this->keep_largest_scores(now.panel * panel_rows, 0, panel_rows, now.scores_of(now.first), score_stride,
                                          now.blocks() * block_keys);
            }
            if (stage_.on()) {
                index_t end[vectors];
                for (index_t& key : end) key = now.blocks() * block_keys;
                this->template drop_tails<vectors>(now.scores_of(now.first), score_stride, 0, end);
            }
            const panel_visit after = next();
            // A few steps stay for the end: they cover the wait for the last block of scores.
            const index_t slots = (value_slots(before) + score_slots(after)) * 17 / 16 + 4;
            exponentials<Unit> work(now.scores_of(now.first), now.p_of(now.first), now.blocks(), exponent_scale_,
                                    reference_, slots);
            if (before.any()) values(before, work);
            if (after.any()) scores(t, after, work);
            work.finish(tile_sum_);
            this->template add_tile_sums<vectors>(now.panel * panel_rows, now.factor);
            before = now;
            now = after;
        }
        values(before, nothing);
    }

    index_t score_slots(const panel_visit& v) const { return v.blocks() * head_pad_ / 32 * 4; }
    index_t value_slots(const panel_visit& v) const {
        return v.blocks() * core::ceil_div(call_.problem.value_dim, 16) * 2;
    }

    /// Scores of a panel, and the maxima of all blocks but the last. `work` gets a slot after every tile product.
    template <class Work>
    PANTILE_INLINE void scores(const core::key_tile& t, const panel_visit& v, Work& work) {
        unroll<vectors>([&](auto i) PANTILE_INLINE { softmax::start().max.store_aligned(tile_max_ + i * n); });
        const bfloat16* q = q_panel(v.panel);
        for (index_t b = v.first; b < v.last; ++b) {
            const bfloat16* k = kt_ + b * block_keys * head_pad_;
            unit_.template zero<0>();
            unit_.template zero<1>();
            unit_.template zero<2>();
            unit_.template zero<3>();
            for (index_t x = 0; x < head_pad_; x += 32) {
                unit_.template load<4>(k + x * 16, 64);
                unit_.template load<6>(q + x * 16, 64);
                unit_.template dot<0, 4, 6>();
                work.advance();
                unit_.template load<7>(q + (head_pad_ + x) * 16, 64);
                unit_.template dot<1, 4, 7>();
                work.advance();
                unit_.template load<5>(k + (head_pad_ + x) * 16, 64);
                unit_.template dot<2, 5, 6>();
                work.advance();
                unit_.template dot<3, 5, 7>();
                work.advance();
            }
            // Before the stores: these loads would wait for them, by the address rule that score_stride names.
            if (b > v.first) fold_maxima(t, v, b - 1);
            store_tiles<2>(v.scores_of(b), score_stride);
        }
    }

    /// O = O · factor + Vᵀ·P of a panel. A block's sum joins O one block later, when the unit has surely finished it.
    template <class Work>
    PANTILE_INLINE void values(const panel_visit& v, Work& work) {
        const index_t tiles = core::ceil_div(call_.problem.value_dim, 16);
        index_t x = 0;
        for (; x + 2 <= tiles; x += 2) {
            value_block<2>(v, x, product_[x / 2 % 2], work);
            if (x > 0) join<2>(v, x - 2, product_[(x / 2 + 1) % 2]);
        }
        if (x < tiles) value_block<1>(v, x, product_[x / 2 % 2], work);
        if (x > 0) join<2>(v, x - 2, product_[(x / 2 + 1) % 2]);
        if (x < tiles) join<1>(v, x, product_[x / 2 % 2]);
    }

    /// Tiles x … x + rows - 1 of Vᵀ·P, into `to`: [dim][query].
    template <int rows, class Work>
    PANTILE_INLINE void value_block(const panel_visit& v, index_t x, float* to, Work& work) {
        unit_.template zero<0>();
        unit_.template zero<1>();
        if constexpr (rows == 2) {
            unit_.template zero<2>();
            unit_.template zero<3>();
        }
        for (index_t b = v.first; b < v.last; ++b) {
            const bfloat16* p = v.p_of(b);
            const bfloat16* values = vt_ + (b * value_pad_ + x * 16) * block_keys;
            unit_.template load<4>(values, 64);
            unit_.template load<6>(p, 64);
            unit_.template dot<0, 4, 6>();
            work.advance();
            unit_.template load<7>(p + tile_numbers, 64);
            unit_.template dot<1, 4, 7>();
            work.advance();
            if constexpr (rows == 2) {
                unit_.template load<5>(values + 16 * block_keys, 64);
                unit_.template dot<2, 5, 6>();
                work.advance();
                unit_.template dot<3, 5, 7>();
                work.advance();
            }
        }
        store_tiles<rows>(to, panel_rows);
    }

    /// Accumulators to [16 or 32 rows][32 queries], `row` floats from row to row.
    template <int rows>
    PANTILE_INLINE void store_tiles(float* to, index_t row) {
        const index_t stride = row * 4;
        unit_.template store<0>(to, stride);
        unit_.template store<1>(to + 16, stride);
        if constexpr (rows == 2) {
            unit_.template store<2>(to + 16 * row, stride);
            unit_.template store<3>(to + 16 * row + 16, stride);
        }
    }

    template <int rows>
    PANTILE_INLINE void join(const panel_visit& v, index_t x, const float* from) {
        V factor[vectors];
        unroll<vectors>([&](auto i) PANTILE_INLINE { factor[i] = V::load_aligned(v.factor + i * n); });
        float* o = o_panel(v.panel) + x * 16 * panel_rows;
        for (index_t r = 0; r < rows * 16 * panel_rows; r += panel_rows) {
            unroll<vectors>([&](auto i) PANTILE_INLINE {
                const index_t at = r + i * n;
                xsimd::fma(V::load_aligned(o + at), factor[i], V::load_aligned(from + at)).store_aligned(o + at);
            });
        }
    }

    /// Block b into the panel's maxima; hidden pairs become minus infinity first. With a score function by the stage.
    PANTILE_INLINE void fold_maxima(const core::key_tile& t, const panel_visit& v, index_t b) {
        const core::span mine = visits::rows_of(rows_, v.panel);
        const index_t begin = t.keys.begin + b * block_keys;
        const index_t end = begin + block_keys;
        const bool whole = end <= t.keys.end && mask_.lo(mine.end - 1) <= begin && mask_.hi(mine.begin) >= end;
        float* row = v.scores_of(b);
        if (!whole) this->template note_visible_keys<vectors>(mine.begin, t.keys.begin, t.keys.size());
        if (stage_.on()) {
            const index_t first = b * block_keys;
            index_t last[vectors];
            for (index_t& key : last) key = first + block_keys;
            return this->template shape_scores<vectors>(mine.begin, t.keys.begin, row, score_stride, first, last,
                                                        !whole);
        }
        if (!whole) hide(row, b * block_keys);
        V even[vectors];
        V odd[vectors];
        unroll<vectors>([&](auto i) PANTILE_INLINE { even[i] = odd[i] = V::load_aligned(tile_max_ + i * n); });
        for (index_t k = 0; k < block_keys; k += 2, row += 2 * score_stride) {
            unroll<vectors>([&](auto i) PANTILE_INLINE {
                even[i] = xsimd::max(even[i], V::load_aligned(row + i * n));
                odd[i] = xsimd::max(odd[i], V::load_aligned(row + score_stride + i * n));
            });
        }
        unroll<vectors>([&](auto i) PANTILE_INLINE { xsimd::max(even[i], odd[i]).store_aligned(tile_max_ + i * n); });
    }

    /// Hidden pairs of a block to minus infinity; its first key is number `first_key` of the tile.
    void hide(float* row, index_t first_key) {
        for (index_t k = first_key; k < first_key + block_keys; ++k, row += score_stride) {
            const V key(static_cast<float>(k));
            for (index_t i = 0; i < panel_rows; i += n) {
                const visible_keys<V> seen{V::load_aligned(first_visible_ + i), V::load_aligned(end_visible_ + i)};
                seen.hide(V::load_aligned(row + i), key).store_aligned(row + i);
            }
        }
    }

    Unit unit_;
    using base::call_, base::mask_, base::q_, base::k_, base::v_, base::q_factor_, base::exponent_scale_, base::rows_,
        base::partial_seen_, base::stage_;
    using base::tile_max_, base::tile_sum_, base::reference_, base::first_visible_, base::end_visible_;
    index_t head_pad_ = 32; // dims, rounded up to what one tile product sums over
    index_t value_pad_ = 32;
    core::span seen_; // keys between the first and the last that some row sees
    index_t panels_ = 0;

    float* scores_ = nullptr;     // of two panels, see score_stride
    bfloat16* p_[2] = {};         // of a panel, see panel_visit
    float* factor_[2] = {};       // [query] of a panel, as the next ones
    float* product_[2] = {};      // [32 dims][query]
    bfloat16* kt_ = nullptr;      // 16 keys' [32 dims of head_pad][key][dim] after the other
    bfloat16* vt_ = nullptr;      // a block's [dim][pair of keys]{even, odd} after the other
    bfloat16* qt_ = nullptr;      // 16 rows' [pair of dims][query]{even, odd} after the other
    float* ot_ = nullptr;         // a panel's [dim][query] after the other
    bfloat16* staging_ = nullptr; // 32 rows
    bfloat16* spare_ = nullptr;   // 32 rows of V, interleaved
    bfloat16* zeros_ = nullptr;   // one row
};

template <class Unit>
constexpr forward_kernels forward_kernels_of() {
    forward_kernels k;
    k.lanes = panel_rows;
    k.panel_rows = panel_rows;
    k.block_keys = block_keys;
    k.max_row_tile = 1024;
    k.max_key_tile = 768;
    k.far_bytes = 2 << 20; // every processor with AMX has as much
    k.scratch_bytes = tile_machine<Unit>::scratch_bytes;
    k.run = run_row_tile<tile_machine<Unit>>;
    return k;
}

} // namespace pantile::inline v0::cpu::amx
