/// \file
/// One work item of the backward pass: (batch, kv head, chunk of keys). It walks the chunk's key tiles for each query head
/// of the group, and stores what is finished.
///
///     for each query head of the group:
///         Q, dO in rows and panels; lse2, delta (with several chunks they are there already); dQᵀ = 0
///         for each key tile of the chunk: walk::backward
///         store dQ (or, with several chunks, this chunk's partial of it)
///     store dK, dV
#pragma once

#include "visible_pairs.hpp"

namespace pantile::inline v0::cpu::backward {

/// The keys of a chunk, in a batch that may end before it.
inline core::span keys_of_chunk(const call& c, index_t batch, index_t chunk) {
    const index_t k_len = c.problem.sequence_of(batch).k_len;
    const index_t begin = core::min(chunk * c.chunk_keys, k_len);
    return {begin, core::min(begin + c.chunk_keys, k_len)};
}

/// The rows that may see a key of the chunk, in whole panels: only they are prepared and only they add to dQ. Under a causal
/// mask the last of many chunks needs few of them.
inline core::span rows_of_chunk(const call& c, index_t batch, index_t chunk, index_t panel) {
    const core::sequence sequence = c.problem.sequence_of(batch);
    const core::span seers = c.problem.band_of(sequence).rows(c.problem.q_len, keys_of_chunk(c, batch, chunk));
    return {seers.begin / panel * panel, core::round_up(seers.end, panel)};
}

/// The scale of dQ and dK, in two steps: a scale below the type's smallest normal number keeps its digits.
template <class T>
struct gradient_factor {
    T power = T(1); ///< a power of two
    T rest = T(1);

    gradient_factor() = default;
    explicit PANTILE_INLINE gradient_factor(double scale) {
        const double query = core::split_scale<T>(scale).query;
        power = static_cast<T>(query < 0 ? -query : query);
        if (query != 0) rest = static_cast<T>(scale / static_cast<double>(power));
    }
    template <class X>
    PANTILE_INLINE X operator()(const X& x) const {
        return x * X(power) * X(rest);
    }
};

/// One panel of dQᵀ, [dim][W], times scale, to dq. `rows`: W · head_dim numbers of scratch.
template <class V>
void store_dq_panel(const call& c, index_t batch, index_t h, index_t row, const number_t<V>* dqt, number_t<V>* rows) {
    const core::problem& p = c.problem;
    constexpr index_t panel = index_t{panel_vectors<V>} * lanes<V>;
    const index_t count = core::min(panel, p.q_len - row);
    transpose_copy<V>(p.head_dim, panel, dqt, panel, rows, p.head_dim, unscaled{});
    store_rows<V>(rows, p.head_dim, count, p.head_dim, gradient_factor<number_t<V>>(p.scale), c.accumulate,
                  matrix_of<number_t<V>>(c.dq, batch, h, row));
}

/// One panel of dQᵀ, [dim][W], complete: rows that are not finite because of keys that they do not see are computed again.
template <class V>
void mend_dq_panel(visible_pairs<V> pairs, const head_data<number_t<V>>& head, const core::problem& p, index_t row,
                   number_t<V>* dqt) {
    using T = number_t<V>;
    constexpr int width = panel_vectors<V>;
    constexpr index_t panel = index_t{width} * lanes<V>;
    T zero[panel]; // stays 0 as long as all numbers are finite
    unroll<width>([&](auto v) PANTILE_INLINE {
        V sum(T(0));
        for (index_t x = 0; x < p.head_dim; ++x) {
            sum = xsimd::fma(V::load_unaligned(dqt + x * panel + v * lanes<V>), V(T(0)), sum);
        }
        sum.store_unaligned(zero + v * lanes<V>);
    });
    const index_t count = core::min(panel, p.q_len - row);
    for (index_t i = 0; i < count; ++i) {
        if (zero[i] == T(0) || !pairs.blames_a_key(row + i)) continue;
        pairs.dq_row(head, row + i, dqt + i, panel);
    }
}

template <class V>
class work_item {
    using T = number_t<V>;
    static constexpr index_t panel = index_t{panel_vectors<V>} * lanes<V>;

  public:
    /// `scratch`: scratch_layout::size numbers, aligned to 64 bytes, of any content.
    work_item(const call& c, index_t number, std::byte* scratch)
        : call_(c), layout_(c, panel, lanes<V>), scratch_(reinterpret_cast<T*>(scratch)), number_(number) {
        // Chunk outermost: with a causal mask the first keys have the most rows, and long items should start first.
        const index_t heads = c.problem.batch * c.problem.kv_heads;
        chunk_ = number / heads;
        batch_ = number % heads / c.problem.kv_heads;
        kv_head_ = number % c.problem.kv_heads;
        sequence_ = c.problem.sequence_of(batch_);
        chunk_span_ = keys_of_chunk(c, batch_, chunk_);
        rows_ = rows_of_chunk(c, batch_, chunk_, panel);
    }

    void run() {
        const core::problem& p = call_.problem;
        T* dk = scratch_ + layout_.dk;
        T* dv = scratch_ + layout_.dv;
        fill_zero(dk, chunk_span_.size() * layout_.rows.padded_head_dim);
        fill_zero(dv, chunk_span_.size() * layout_.rows.padded_value_dim);
        // The chunk is a sequence of its own: the walk's keys are counted from the chunk's first.
        const core::sequence part = sequence_.part(chunk_span_);
        const core::schedule plan(part, p.band_of(part), call_.plan.row_tile, call_.plan.key_tile);
        for (index_t g = 0; g < p.group(); ++g) {
            const index_t h = kv_head_ * p.group() + g;
            const head_data<T> rows = head(h);
            start_dq(rows.dqt);
            machine<V, work_item> m(*this, rows, p, plan.mask, layout_.rows, call_.plan.row_tile, scratch_ + layout_.p,
                                    scratch_ + layout_.ds, scratch_ + layout_.derivative, call_.slope_sums != nullptr);
            for (index_t t = 0; t < plan.key_tiles(); ++t) core::walk::backward(m, plan, t);
            if (call_.slope_sums != nullptr) call_.slope_sums[number_ * p.group() + g] = m.slope_sum();
            finish_dq(h, rows);
        }
        mend_keys(dk, dv);
        store_keys(call_.dk, dk, layout_.rows.padded_head_dim, p.head_dim, gradient_factor<T>(p.scale));
        store_keys(call_.dv, dv, layout_.rows.padded_value_dim, p.value_dim, gradient_factor<T>());
    }

    /// Key tile in rows (asked by the machine); keys are counted from the chunk's first.
    key_data<T> keys(core::span t) {
        const core::problem& p = call_.problem;
        const index_t first = chunk_span_.begin + t.begin;
        const auto k =
            bring_rows<V>(call_.k, batch_, kv_head_, first, {0, t.size()}, p.head_dim, false, scratch_ + layout_.k);
        const auto v =
            bring_rows<V>(call_.v, batch_, kv_head_, first, {0, t.size()}, p.value_dim, false, scratch_ + layout_.v);
        return {k.data,
                k.stride,
                v.data,
                v.stride,
                scratch_ + layout_.dk + t.begin * layout_.rows.padded_head_dim,
                scratch_ + layout_.dv + t.begin * layout_.rows.padded_value_dim};
    }

  private:
    key_scratch<T> own_scratch() const { return key_scratch_of<T>(call_, layout_, scratch_); }
    visible_pairs<V> pairs() const { return {call_, batch_, kv_head_, own_scratch(), scratch_ + layout_.v}; }

    /// The head's rows: prepared here, or with several chunks in the phase before, for all of them.
    head_data<T> head(index_t h) {
        head_data<T> head;
        if (call_.key_chunks == 1) {
            T* memory = scratch_ + layout_.head;
            prepared_rows<V>(call_, layout_.rows, batch_, h, rows_, memory, own_scratch());
            head = head_at<V>(call_, layout_.rows, batch_, h, memory);
            head.dqt = scratch_ + layout_.dqt;
        } else {
            const shared_layout shared(call_, panel, lanes<V>);
            const index_t number = batch_ * call_.problem.q_heads + h;
            T* memory = static_cast<T*>(call_.shared);
            head = head_at<V>(call_, layout_.rows, batch_, h, memory + shared.head(number));
            head.dqt = memory + shared.partial(chunk_, number);
        }
        return head;
    }

    /// dQᵀ of the rows that the chunk adds to.
    void start_dq(T* dqt) const {
        const index_t d = call_.problem.head_dim;
        fill_zero(dqt + rows_.begin * d, rows_.size() * d);
    }

    void finish_dq(index_t h, const head_data<T>& head) {
        const core::problem& p = call_.problem;
        if (call_.key_chunks > 1) return; // the chunks' shares are summed in the last phase
        T* dqt = head.dqt;
        for (index_t r = rows_.begin; r < rows_.end; r += panel) {
            mend_dq_panel<V>(pairs(), head, p, r, dqt + r * p.head_dim);
        }
        // Rows that see no key at all have a gradient of 0.
        fill_zero(dqt, rows_.begin * p.head_dim);
        fill_zero(dqt + rows_.end * p.head_dim, (layout_.rows.padded_rows - rows_.end) * p.head_dim);
        for (index_t r = 0; r < p.q_len; r += panel) {
            store_dq_panel<V>(call_, batch_, h, r, dqt + r * p.head_dim, scratch_ + layout_.rows_out);
        }
    }

    /// The chunk's dK and dV, summed: keys that are not finite because of rows that do not see them are computed again.
    void mend_keys(T* dk, T* dv) {
        const index_t d = layout_.rows.padded_head_dim;
        const index_t e = layout_.rows.padded_value_dim;
        const index_t keys = chunk_span_.size();
        if (all_finite_vectors<V>(dk, keys, d) && all_finite_vectors<V>(dv, keys, e)) return;
        for (index_t j = 0; j < keys; ++j) {
            if (all_finite(dk + j * d, d) && all_finite(dv + j * e, e)) continue;
            mend_key(chunk_span_.begin + j, dk + j * d, dv + j * e);
        }
    }
    [[gnu::noinline, gnu::cold]] void mend_key(index_t key, T* dk, T* dv) {
        const core::problem& p = call_.problem;
        auto* exact = reinterpret_cast<double*>(scratch_ + layout_.exact);
        const index_t first = kv_head_ * p.group();
        bool blamed = false;
        for (index_t h = first; h < first + p.group() && !blamed; ++h) blamed = pairs().blames_a_row(h, key);
        if (!blamed) return;
        for (index_t x = 0; x < p.head_dim + p.value_dim; ++x) exact[x] = 0.0;
        for (index_t h = first; h < first + p.group(); ++h) {
            pairs().add_key(head(h), key, exact, exact + p.head_dim);
        }
        for (index_t x = 0; x < p.head_dim; ++x) dk[x] = static_cast<T>(exact[x]);
        for (index_t x = 0; x < p.value_dim; ++x) dv[x] = static_cast<T>(exact[p.head_dim + x]);
    }

    /// The chunk's rows of dk or dv; keys past the batch's length, if this is the last chunk that reaches them, get 0.
    void store_keys(const tensor_ref& to, const T* from, index_t stride, index_t dims,
                    gradient_factor<T> factor) const {
        store_rows<V>(from, stride, chunk_span_.size(), dims, factor, call_.accumulate,
                      matrix_of<T>(to, batch_, kv_head_, chunk_span_.begin));
        if (call_.accumulate) return;
        const index_t begin = core::max(chunk_span_.end, chunk_ * call_.chunk_keys);
        const index_t end = core::min((chunk_ + 1) * call_.chunk_keys, call_.problem.k_len);
        const matrix_ref unseen = matrix_of<T>(to, batch_, kv_head_, begin);
        with_elements<T>(unseen.data, unseen.type, [&](auto* data) PANTILE_INLINE {
            using number = std::remove_pointer_t<decltype(data)>;
            for (index_t j = begin; j < end; ++j) {
                number* row = data + (j - begin) * unseen.row_stride;
                for (index_t x = 0; x < dims; ++x) row[x * unseen.col_stride] = number(T(0));
            }
        });
    }

    const call& call_;
    scratch_layout layout_;
    T* scratch_;
    index_t number_;
    index_t chunk_ = 0;
    index_t batch_ = 0;
    index_t kv_head_ = 0;
    core::sequence sequence_;
    core::span chunk_span_;
    core::span rows_; // that see a key of the chunk, in whole panels
};

/// Second phase with several chunks: one panel of one query head, its partials summed in chunk order.
template <class V>
void reduce_dq_panel(const call& c, index_t number, std::byte* scratch) {
    using T = number_t<V>;
    const core::problem& p = c.problem;
    constexpr index_t panel = index_t{panel_vectors<V>} * lanes<V>;
    const index_t panels = core::ceil_div(p.q_len, panel);
    const index_t batch = number / panels / p.q_heads;
    const index_t h = number / panels % p.q_heads;
    const index_t row = number % panels * panel;
    const index_t numbers = panel * p.head_dim;
    const scratch_layout layout(c, panel, lanes<V>);
    const shared_layout shared(c, panel, lanes<V>);
    T* sum = reinterpret_cast<T*>(scratch) + layout.rows_out;
    for (index_t i = 0; i < numbers; ++i) sum[i] = T(0);
    for (index_t chunk = 0; chunk < c.key_chunks; ++chunk) {
        const core::span seers = rows_of_chunk(c, batch, chunk, panel);
        if (row < seers.begin || row >= seers.end) continue;
        const T* from =
            static_cast<const T*>(c.shared) + shared.partial(chunk, batch * p.q_heads + h) + row * p.head_dim;
        for (index_t i = 0; i < numbers; ++i) sum[i] += from[i];
    }
    head_data<T> head =
        head_at<V>(c, shared.rows, batch, h, static_cast<T*>(c.shared) + shared.head(batch * p.q_heads + h));
    T* own = reinterpret_cast<T*>(scratch);
    mend_dq_panel<V>({c, batch, p.kv_head(h), key_scratch_of<T>(c, layout, own), own + layout.v}, head, p, row, sum);
    store_dq_panel<V>(c, batch, h, row, sum, sum + numbers);
}

template <class V, class Layout>
index_t bytes_of(const call& c) {
    constexpr index_t panel = index_t{panel_vectors<V>} * lanes<V>;
    return Layout(c, panel, lanes<V>).size * static_cast<index_t>(sizeof(number_t<V>));
}

template <class V>
void run_work_item(const call& c, index_t number, std::byte* scratch) {
    work_item<V>(c, number, scratch).run();
}

template <class V>
constexpr kernels kernels_of() {
    return {lanes<V> * panel_vectors<V>,
            block_rows<V, panel_vectors<V>>,
            bytes_of<V, scratch_layout>,
            bytes_of<V, shared_layout>,
            prepare_panel<V>,
            run_work_item<V>,
            reduce_dq_panel<V>};
}

} // namespace pantile::inline v0::cpu::backward
