/// \file
/// The CPU machine of the forward walk, queries in SIMD lanes.
///
/// A row tile (about 256 queries) is cut into panels of up to panel_vectors·lanes queries. Sᵀ[key][query] and
/// Oᵀ[dim][query] are computed a panel at a time, so that row maximum, row sum and rescaling are vertical vector
/// operations. K and V are read by broadcast from where they lie; only Q is transposed on its way in and O on its way out.
///
/// Sizes in numbers, row tile of r queries, panel of w, key tile of c keys:
///     Qᵀ  r·d    Oᵀ  r·e    state 2·r            stay in L2 over the whole row tile
///     P   c·w                                    L1: written by the score kernel, read by exp and by P·V
/// A (panel, key tile) step does 2·c·w·(d + e) FLOP and moves c·(d + e) + w·(d + 2e) numbers between L2 and L1.
#pragma once

#include "../panel.hpp"
#include "../row_tile_machine.hpp"

namespace pantile::inline v0::cpu {

template <class V>
class tile_machine : public row_tile_machine<V> {
    using base = row_tile_machine<V>;
    using T = number_t<V>;
    static constexpr index_t n = lanes<V>;
    static constexpr index_t panel_rows = n * panel_vectors<V>;
    using softmax = core::online_softmax<vector_ops<V>>;

  public:
    tile_machine(const forward_call& call, const forward_work& work, const output& to, std::byte* scratch)
        : base(call, work, to, core::split_scale<T>(call.problem.scale)) {
        allocate(scratch);
    }

    static index_t scratch_bytes(const forward_call& call) {
        tile_machine counting(call);
        return counting.allocate(nullptr);
    }

    /// Q of the rows, transposed: reads r·d numbers.
    void open(const core::row_tile& t) {
        rows_ = t.rows;
        partial_seen_ = false;
        const core::problem& p = call_.problem;
        for (index_t r = 0; r < rows_.size(); r += panel_rows) {
            const index_t rows = core::min(panel_rows, rows_.size() - r);
            const index_t width = core::round_up(rows, n);
            T* q = q_panel(r);
            if (rows < width) {
                for (index_t i = 0; i < width * p.head_dim; i += n) softmax::start().sum.store_aligned(q + i);
            }
            load_transposed<V>(q_, rows_.begin + r, rows, p.head_dim, q_factor_, q, width);
            T* o = o_panel(r);
            for (index_t i = 0; i < width * p.value_dim; i += n) softmax::start().sum.store_aligned(o + i);
            this->start_rows(r, width);
        }
    }

    /// K and V are used in place if they are in compute precision with contiguous rows (V: less than a page apart); else
    /// the tile is copied once, for all panels of the row tile.
    void fetch_key(const core::key_tile& t) { near(k_, t.keys, call_.problem.head_dim, k_copy_, k_data_, k_stride_); }
    void fetch_value(const core::key_tile& t) {
        near(v_, t.keys, call_.problem.value_dim, v_copy_, v_data_, v_stride_);
    }

    /// Scores, exponentials and P·V of one panel after the other: P then lives in L1 only.
    void score(const core::key_tile& t, core::full_tile) {
        origin_ = t.keys.begin;
        for (index_t r = 0; r < rows_.size(); r += panel_rows) {
            const index_t rows = core::min(panel_rows, rows_.size() - r);
            with_width(rows, [&](auto vectors) PANTILE_INLINE { visit_full<vectors>(r, t.keys.size()); });
        }
    }

    /// Each panel takes only the keys that one of its rows sees; pairs are compared only where a panel's rows differ.
    void score(const core::key_tile& t, core::partial_tile) {
        partial_seen_ = true;
        origin_ = t.keys.begin;
        for (index_t r = 0; r < rows_.size(); r += panel_rows) {
            const index_t rows = core::min(panel_rows, rows_.size() - r);
            const core::span mine{rows_.begin + r, rows_.begin + r + rows};
            // Keys of the tile that the first and the last row of the panel see; the others lie between.
            const core::span first = within(t.keys, mask_.lo(mine.begin), mask_.hi(mine.begin));
            const core::span last = within(t.keys, mask_.lo(mine.end - 1), mask_.hi(mine.end - 1));
            if (last.end <= first.begin) continue;
            with_width(rows,
                       [&](auto vectors) PANTILE_INLINE { visit_partial<vectors>(r, mine, t.keys, first, last); });
        }
    }

    void accumulate(const core::key_tile&) {} // done by score, panel by panel

    void close() { this->store_panels(panel_rows, factor_, panels()); }
    bool find_suspects() { return this->any_suspect(panel_rows, panels()); }

  private:
    explicit tile_machine(const forward_call& call) : base(call) {}

    index_t allocate(std::byte* scratch) {
        const core::problem& p = call_.problem;
        const index_t rows = core::round_up(core::min(call_.plan.row_tile, core::max(p.q_len, 1)), n);
        const index_t keys = core::min(call_.plan.key_tile, core::max(p.k_len, 1));
        arena memory(scratch);
        scores_ = memory.template take<T>(keys * panel_rows);
        factor_ = memory.template take<T>(panel_rows);
        this->take_state(memory, panel_rows, rows);
        qt_ = memory.template take<T>(rows * p.head_dim);
        ot_ = memory.template take<T>(rows * p.value_dim);
        k_copy_ = in_place(call_.k) ? nullptr : memory.template take<T>(keys * copy_stride(p.head_dim));
        // P·V walks down the keys once for every few dims.
        const bool v_in_place = in_place(call_.v) && !rows_far_apart(call_.v.stride[2], sizeof(T));
        v_copy_ = v_in_place ? nullptr : memory.template take<T>(keys * copy_stride(p.value_dim));
        return memory.used();
    }

    static bool in_place(const tensor_ref& t) {
        return t.stride[3] == 1 && t.type == (sizeof(T) == 8 ? dtype::fp64 : dtype::fp32);
    }
    /// Rows of a copied tile start at 64-byte boundaries.
    static index_t copy_stride(index_t dim) { return core::round_up(dim, 64 / static_cast<index_t>(sizeof(T))); }

    T* q_panel(index_t r) const { return qt_ + r * call_.problem.head_dim; }
    T* o_panel(index_t r) const { return ot_ + r * call_.problem.value_dim; }
    auto panels() const {
        return [this](index_t r) {
            return panel_sums<T>{o_panel(r), core::round_up(core::min(panel_rows, rows_.size() - r), n)};
        };
    }

    void near(const matrix_ref& from, const core::span& keys, index_t dim, T* copy, const T*& data, index_t& stride) {
        if (copy == nullptr) {
            data = static_cast<const T*>(from.data) + keys.begin * from.row_stride;
            stride = from.row_stride;
        } else {
            data = copy;
            stride = copy_stride(dim);
            load_rows<V>(from, keys.begin, keys.size(), dim, copy, stride);
        }
    }

    /// f(vectors in the panel) as a compile-time constant.
    template <class F>
    static PANTILE_INLINE void with_width(index_t rows, F&& f) {
        const index_t vectors = core::ceil_div(rows, n);
        unroll<panel_vectors<V>>([&](auto v) PANTILE_INLINE {
            if (vectors == v + 1) f(std::integral_constant<int, v + 1>{});
        });
    }

    template <int vectors>
    void visit_full(index_t r, index_t keys) {
        constexpr index_t width = vectors * n;
        start_tile<vectors>();
        product<V, vectors>(keys, rows_of<T>{k_data_, k_stride_}, vectors_of<T>{q_panel(r), width},
                            whole_sum{call_.problem.head_dim}, store_scores<V>{scores_, width, tile_max_});
        index_t end[vectors];
        for (index_t& e : end) e = keys;
        if (stage_.on()) shape<vectors>(r, 0, end, false);
        if (this->template fold<vectors>(r, factor_)) {
            this->keep_largest_scores(r, 0, width, scores_, width, keys);
        }
        if (stage_.on()) this->template drop_tails<vectors>(scores_, width, 0, end);
        exponentiate<V, vectors>(scores_, width, 0, keys, exponent_scale_, reference_, tile_sum_);
        this->template add_tile_sums<vectors>(r, factor_);
        product<V, vectors>(call_.problem.value_dim, columns_of<T>{v_data_, v_stride_}, vectors_of<T>{scores_, width},
                            whole_sum{keys}, join_tile<V>{o_panel(r), width, factor_});
    }

    /// Keys are counted from the first key of the tile. Vector v of the panel needs the keys below end[v]; those from
    /// `uncertain` on, and those below `certain`, are compared.
    ///
    ///     key      begin      certain      uncertain  end[0] end[1] …
    ///     pairs      | compared  |   all visible  | compared: vectors 0 …, 1 …, 2 … |
    template <int vectors>
    void visit_partial(index_t r, const core::span& rows, const core::span& tile, const core::span& first,
                       const core::span& last) {
        constexpr index_t width = vectors * n;
        const index_t origin = tile.begin;
        const index_t begin = first.begin - origin;
        index_t end[vectors];
        for (index_t v = 0; v < vectors; ++v) {
            const index_t last_row = core::min(rows.begin + (v + 1) * n, rows.end) - 1;
            end[v] = core::clamp(mask_.hi(last_row), first.begin, last.end) - origin;
        }
        index_t certain = last.begin - origin;
        index_t uncertain = first.end - origin;
        if (uncertain < certain) certain = uncertain = begin;
        this->template note_visible_keys<vectors>(rows.begin, origin);
        start_tile<vectors>();
        masked_scores<vectors, 0>(r, begin, certain);
        product<V, vectors>(uncertain - certain, rows_of<T>{k_data_ + certain * k_stride_, k_stride_},
                            vectors_of<T>{q_panel(r), width}, whole_sum{call_.problem.head_dim},
                            store_scores<V>{scores_ + certain * width, width, tile_max_});
        masked_scores<vectors, 0>(r, uncertain, end[0]);
        unroll<vectors - 1>(
            [&](auto v) PANTILE_INLINE { masked_scores<vectors, v + 1>(r, core::max(uncertain, end[v]), end[v + 1]); });
        if (stage_.on()) shape<vectors>(r, begin, end, true);
        if (this->template fold<vectors>(r, factor_)) {
            for (index_t v = 0; v < vectors; ++v) {
                this->keep_largest_scores(r, v * n, n, scores_ + begin * width, width, end[v] - begin);
            }
        }
        if (stage_.on()) this->template drop_tails<vectors>(scores_ + begin * width, width, begin, end);
        index_t done = begin;
        unroll<vectors>([&](auto v) PANTILE_INLINE {
            exponentiate<V, vectors - v>(scores_ + v * n, width, done, end[v], exponent_scale_, reference_ + v * n,
                                         tile_sum_ + v * n);
            done = core::max(done, end[v]);
        });
        this->template add_tile_sums<vectors>(r, factor_);
        index_t length[vectors];
        for (index_t v = 0; v < vectors; ++v) length[v] = end[v] - begin;
        product<V, vectors>(call_.problem.value_dim, columns_of<T>{v_data_ + begin * v_stride_, v_stride_},
                            vectors_of<T>{scores_ + begin * width, width}, staircase_sum{length},
                            join_tile<V>{o_panel(r), width, factor_});
    }

    /// Scores of the keys [begin, end) for the vectors from `skip` on, hidden pairs at minus infinity.
    template <int vectors, int skip>
    PANTILE_INLINE void masked_scores(index_t r, index_t begin, index_t end) {
        constexpr index_t width = vectors * n;
        if (end <= begin) return;
        const store_scores<V> store{scores_ + begin * width + skip * n, width, tile_max_ + skip * n};
        product<V, vectors - skip>(
            end - begin, rows_of<T>{k_data_ + begin * k_stride_, k_stride_},
            vectors_of<T>{q_panel(r) + skip * n, width}, whole_sum{call_.problem.head_dim},
            store_masked_scores<V>{store, first_visible_ + skip * n, end_visible_ + skip * n, begin});
    }

    /// The score stage of the panel at r, on the keys begin … end[v] - 1 of the tile. The maxima of the raw scores go.
    template <int vectors>
    PANTILE_INLINE void shape(index_t r, index_t begin, const index_t (&end)[vectors], bool hides) {
        unroll<vectors>([&](auto v) PANTILE_INLINE { softmax::start().max.store_aligned(tile_max_ + v * n); });
        this->template shape_scores<vectors>(rows_.begin + r, origin_, scores_ + begin * vectors * n, vectors * n,
                                             begin, end, hides);
    }

    template <int vectors>
    PANTILE_INLINE void start_tile() {
        unroll<vectors>([&](auto v) PANTILE_INLINE {
            softmax::start().max.store_aligned(tile_max_ + v * n);
            softmax::start().sum.store_aligned(tile_sum_ + v * n);
        });
    }

    using base::call_, base::mask_, base::q_, base::k_, base::v_, base::q_factor_, base::exponent_scale_, base::rows_,
        base::partial_seen_, base::stage_;
    using base::tile_max_, base::tile_sum_, base::reference_, base::first_visible_, base::end_visible_;

    index_t origin_ = 0;        // the first key of the current key tile
    const T* k_data_ = nullptr; // of the current key tile, as the next ones
    const T* v_data_ = nullptr;
    index_t k_stride_ = 0;
    index_t v_stride_ = 0;

    T* scores_ = nullptr; // [key][query] of one panel
    T* factor_ = nullptr; // [query] of one panel
    T* qt_ = nullptr;     // a panel's [dim][query] after the other
    T* ot_ = nullptr;
    T* k_copy_ = nullptr; // [key][dim], or null: K is used in place
    T* v_copy_ = nullptr;
};

template <class V>
constexpr forward_kernels tile_kernels_of() {
    return {lanes<V>, lanes<V> * panel_vectors<V>, block_rows<V, panel_vectors<V>>, tile_machine<V>::scratch_bytes,
            run_row_tile<tile_machine<V>>};
}

} // namespace pantile::inline v0::cpu
