/// \file
/// One work item of the backward pass: (batch, kv head, chunk of keys). It prepares each query head of the group, walks the
/// chunk's key tiles, and stores what is finished.
///
///     for each query head of the group:
///         bring Q, dO into rows and panels; lse2, delta; dQᵀ = 0
///         for each key tile of the chunk: walk::backward
///         store dQ (or, with several chunks, this chunk's partial of it)
///     store dK, dV
#pragma once

#include <limits>

#include "../tile_io.hpp"
#include "machine.hpp"

namespace pantile::cpu::backward {

/// Rows of one head in compute precision, and how far apart they are.
template <class T>
struct rows_in_memory {
    const T* data;
    index_t stride;
};
/// In place where type and strides allow it, else `rows` of it through `copy`. With `whole_vectors` each row can be read to
/// the end of its last vector.
template <class V>
rows_in_memory<number_t<V>> bring_rows(const matrix_ref& from, core::span rows, index_t dims, bool whole_vectors,
                                       number_t<V>* copy) {
    using T = number_t<V>;
    constexpr element own = sizeof(T) == 8 ? element::f64 : element::f32;
    const index_t padded = whole_vectors ? core::round_up(dims, lanes<V>) : dims;
    if (from.type == own && from.col_stride == 1 && padded == dims && !rows_far_apart<T>(from.row_stride)) {
        return {static_cast<const T*>(from.data), from.row_stride};
    }
    load_rows<V>(from, rows.begin, rows.size(), dims, copy + rows.begin * padded, padded);
    return {copy, padded};
}

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

/// One panel of dQᵀ, [dim][W], times scale, to dq. `rows`: W · head_dim numbers of scratch.
template <class V>
void store_dq_panel(const call& c, index_t batch, index_t h, index_t row, const number_t<V>* dqt, number_t<V>* rows) {
    const core::problem& p = c.problem;
    constexpr index_t panel = index_t{panel_vectors<V>} * lanes<V>;
    const index_t count = core::min(panel, p.q_len - row);
    transpose_copy<V>(p.head_dim, panel, dqt, panel, rows, p.head_dim, unscaled{});
    store_rows<V>(rows, p.head_dim, count, p.head_dim, static_cast<number_t<V>>(p.scale), c.accumulate,
                  matrix_of<number_t<V>>(c.dq, batch, h, row));
}

template <class V>
class work_item {
    using T = number_t<V>;
    static constexpr index_t panel = index_t{panel_vectors<V>} * lanes<V>;

  public:
    /// `scratch`: scratch_layout::size numbers, aligned to 64 bytes, of any content.
    work_item(const call& c, index_t number, std::byte* scratch)
        : call_(c), layout_(c.problem, c.plan, c.chunk_keys, panel, lanes<V>), scratch_(reinterpret_cast<T*>(scratch)) {
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
        fill_zero(dk, chunk_span_.size() * layout_.padded_head_dim);
        fill_zero(dv, chunk_span_.size() * layout_.padded_value_dim);
        // The chunk is a sequence of its own: the walk's keys are counted from the chunk's first.
        const core::sequence part = sequence_.part(chunk_span_);
        const core::schedule plan(part, p.band_of(part), call_.plan.row_tile, call_.plan.key_tile);
        for (index_t g = 0; g < p.group(); ++g) {
            const index_t h = kv_head_ * p.group() + g;
            const head_data<T> head = prepare(h);
            machine<V, work_item> m(*this, head, p, plan.mask, layout_, call_.plan.row_tile, scratch_ + layout_.p,
                                    scratch_ + layout_.ds);
            for (index_t t = 0; t < plan.key_tiles(); ++t) core::walk::backward(m, plan, t);
            finish_dq(h, head.dqt);
        }
        store_keys(call_.dk, dk, layout_.padded_head_dim, p.head_dim, static_cast<T>(p.scale));
        store_keys(call_.dv, dv, layout_.padded_value_dim, p.value_dim, T(1));
    }

    /// Key tile in rows (asked by the machine); keys are counted from the chunk's first.
    key_data<T> keys(core::span t) {
        const core::problem& p = call_.problem;
        const index_t first = chunk_span_.begin + t.begin;
        const auto k = bring_rows<V>(matrix_of<T>(call_.k, batch_, kv_head_, first), {0, t.size()}, p.head_dim, false,
                                     scratch_ + layout_.k);
        const auto v = bring_rows<V>(matrix_of<T>(call_.v, batch_, kv_head_, first), {0, t.size()}, p.value_dim, false,
                                     scratch_ + layout_.v);
        return {k.data,
                k.stride,
                v.data,
                v.stride,
                scratch_ + layout_.dk + t.begin * layout_.padded_head_dim,
                scratch_ + layout_.dv + t.begin * layout_.padded_value_dim};
    }

  private:
    static void fill_zero(T* data, index_t count) {
        for (index_t i = 0; i < count; ++i) data[i] = T(0);
    }

    head_data<T> prepare(index_t h) {
        const core::problem& p = call_.problem;
        const core::span rows{rows_.begin, core::min(rows_.end, p.q_len)};
        const auto q = bring_rows<V>(matrix_of<T>(call_.q, batch_, h, 0), rows, p.head_dim, true, scratch_ + layout_.q);
        const auto dout =
            bring_rows<V>(matrix_of<T>(call_.dout, batch_, h, 0), rows, p.value_dim, true, scratch_ + layout_.dout);
        head_data<T> head;
        head.q_rows = q.data;
        head.q_stride = q.stride;
        head.dout_rows = dout.data;
        head.dout_stride = dout.stride;
        panels(q.data, q.stride, p.head_dim, scratch_ + layout_.qt);
        panels(dout.data, dout.stride, p.value_dim, scratch_ + layout_.dot);
        statistics(h, dout);
        head.qt = scratch_ + layout_.qt;
        head.dot = scratch_ + layout_.dot;
        head.lse2 = scratch_ + layout_.lse2;
        head.delta = scratch_ + layout_.delta;
        head.dqt = scratch_ + layout_.dqt;
        fill_zero(head.dqt + rows_.begin * p.head_dim, rows_.size() * p.head_dim);
        return head;
    }

    /// [row][dim] to [panel][dim][W], the last panel filled with zeros.
    void panels(const T* rows, index_t stride, index_t dims, T* to) const {
        for (index_t r = rows_.begin; r < rows_.end; r += panel) {
            const index_t count = core::min(panel, call_.problem.q_len - r);
            if (count < panel) fill_zero(to + r * dims, panel * dims);
            transpose_copy<V>(count, dims, rows + r * stride, stride, to + r * dims, panel, unscaled{});
        }
    }

    /// lse2 and delta of each row. delta is summed in double: dP - delta cancels.
    void statistics(index_t h, rows_in_memory<T> dout) {
        const core::problem& p = call_.problem;
        T* lse2 = scratch_ + layout_.lse2;
        T* delta = scratch_ + layout_.delta;
        constexpr T infinity = std::numeric_limits<T>::infinity();
        const T* lse = static_cast<const T*>(call_.lse.data) + batch_ * call_.lse.stride[0] + h * call_.lse.stride[1];
        const matrix_ref out = matrix_of<T>(call_.out, batch_, h, 0);
        const index_t end = core::min(rows_.end, p.q_len);
        for (index_t i = rows_.begin; i < end; ++i) {
            const T value = lse[i * call_.lse.stride[2]];
            lse2[i] = value == -infinity ? infinity : value * static_cast<T>(core::log2_e);
        }
        with_elements<T>(out.data, out.type, [&](const auto* data) PANTILE_INLINE {
            for (index_t i = rows_.begin; i < end; ++i) {
                const T* d = dout.data + i * dout.stride;
                const auto* o = data + i * out.row_stride;
                double sum[8] = {};
                for (index_t x = 0; x < p.value_dim; ++x) {
                    sum[x % 8] +=
                        static_cast<double>(d[x]) * static_cast<double>(static_cast<T>(o[x * out.col_stride]));
                }
                delta[i] =
                    static_cast<T>(((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7])));
            }
        });
        for (index_t i = end; i < rows_.end; ++i) {
            lse2[i] = infinity;
            delta[i] = T(0);
        }
    }

    void finish_dq(index_t h, T* dqt) {
        const core::problem& p = call_.problem;
        if (call_.dq_partials != nullptr) {
            const index_t numbers = layout_.padded_rows * p.head_dim;
            T* to = static_cast<T*>(call_.dq_partials) + ((chunk_ * p.batch + batch_) * p.q_heads + h) * numbers;
            for (index_t i = rows_.begin * p.head_dim; i < rows_.end * p.head_dim; ++i) to[i] = dqt[i];
            return;
        }
        // Rows that see no key at all have a gradient of 0.
        fill_zero(dqt, rows_.begin * p.head_dim);
        fill_zero(dqt + rows_.end * p.head_dim, (layout_.padded_rows - rows_.end) * p.head_dim);
        for (index_t r = 0; r < p.q_len; r += panel) {
            store_dq_panel<V>(call_, batch_, h, r, dqt + r * p.head_dim, scratch_ + layout_.rows_out);
        }
    }

    /// The chunk's rows of dk or dv; keys past the batch's length, if this is the last chunk that reaches them, get 0.
    void store_keys(const tensor_ref& to, const T* from, index_t stride, index_t dims, T factor) const {
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
    const scratch_layout layout(p, c.plan, c.chunk_keys, panel, lanes<V>);
    T* sum = reinterpret_cast<T*>(scratch) + layout.rows_out;
    for (index_t i = 0; i < numbers; ++i) sum[i] = T(0);
    for (index_t chunk = 0; chunk < c.key_chunks; ++chunk) {
        const core::span seers = rows_of_chunk(c, batch, chunk, panel);
        if (row < seers.begin || row >= seers.end) continue;
        const T* from = static_cast<const T*>(c.dq_partials) +
                        ((chunk * p.batch + batch) * p.q_heads + h) * layout.padded_rows * p.head_dim +
                        row * p.head_dim;
        for (index_t i = 0; i < numbers; ++i) sum[i] += from[i];
    }
    store_dq_panel<V>(c, batch, h, row, sum, sum + numbers);
}

template <class V>
index_t scratch_bytes(const call& c) {
    constexpr index_t panel = index_t{panel_vectors<V>} * lanes<V>;
    return scratch_layout(c.problem, c.plan, c.chunk_keys, panel, lanes<V>).size *
           static_cast<index_t>(sizeof(number_t<V>));
}

template <class V>
void run_work_item(const call& c, index_t number, std::byte* scratch) {
    work_item<V>(c, number, scratch).run();
}

template <class V>
constexpr kernels kernels_of() {
    return {lanes<V> * panel_vectors<V>, block_rows<V, panel_vectors<V>>, scratch_bytes<V>, run_work_item<V>,
            reduce_dq_panel<V>};
}

} // namespace pantile::cpu::backward
