/// \file
/// Q and dO of one query head as the products of the backward pass want them: in rows and in panels, with each row's
/// statistics.
#pragma once

#include <limits>

#include "../micro/tile_io.hpp"
#include "machine.hpp"
#include "statistics.hpp"

namespace pantile::inline v0::cpu::backward {

/// Rows of one head in compute precision, and how far apart they are.
template <class T>
struct rows_in_memory {
    const T* data;
    index_t stride;
};
/// Where rows of `from` from `first_row` on are read: in place where type and strides allow it, else in `copy`. With
/// `whole_vectors` each row can be read to the end of its last vector.
template <class V>
rows_in_memory<number_t<V>> place_of_rows(const tensor_ref& from, index_t batch, index_t head, index_t first_row,
                                          index_t dims, bool whole_vectors, const number_t<V>* copy) {
    using T = number_t<V>;
    const index_t unit = whole_vectors ? lanes<V> : 1;
    if (!rows_in_place(from, dims, unit, sizeof(T))) return {copy, core::round_up(dims, unit)};
    const matrix_ref rows = matrix_of<T>(from, batch, head, first_row);
    return {static_cast<const T*>(rows.data), rows.row_stride};
}
/// The same, and sees to it that `rows`, counted from `first_row`, are there.
template <class V>
rows_in_memory<number_t<V>> bring_rows(const tensor_ref& from, index_t batch, index_t head, index_t first_row,
                                       core::span rows, index_t dims, bool whole_vectors, number_t<V>* copy) {
    const auto place = place_of_rows<V>(from, batch, head, first_row, dims, whole_vectors, copy);
    if (place.data == copy) {
        load_rows<V>(matrix_of<number_t<V>>(from, batch, head, first_row), rows.begin, rows.size(), dims,
                     copy + rows.begin * place.stride, place.stride);
        // Whole vectors are computed with: what lies behind a row must be numbers.
        for (index_t r = rows.begin; dims < place.stride && r < rows.end; ++r) {
            for (index_t x = dims; x < place.stride; ++x) copy[r * place.stride + x] = number_t<V>(0);
        }
    }
    return place;
}

template <class T>
PANTILE_INLINE inline void fill_zero(T* data, index_t count) {
    for (index_t i = 0; i < count; ++i) data[i] = T(0);
}

/// Query head `h` as it lies in `memory` once prepare_rows has filled it; dQᵀ is for the caller to place.
template <class V>
head_data<number_t<V>> head_at(const call& c, const head_layout& layout, index_t batch, index_t h,
                               number_t<V>* memory) {
    using T = number_t<V>;
    const auto q = place_of_rows<V>(c.q, batch, h, 0, c.problem.head_dim, true, memory + layout.q);
    const auto dout = place_of_rows<V>(c.dout, batch, h, 0, c.problem.value_dim, true, memory + layout.dout);
    head_data<T> head;
    head.q_rows = q.data;
    head.q_stride = q.stride;
    head.dout_rows = dout.data;
    head.dout_stride = dout.stride;
    head.qt = memory + layout.qt;
    head.dot = memory + layout.dot;
    head.reference = memory + layout.reference;
    head.log_sum = memory + layout.log_sum;
    head.delta = memory + layout.delta;
    head.slope = core::score_function<T>::slope_of(c.problem.features, batch, h);
    return head;
}

/// Scratch for a look at some keys: `k` holds `keys` of them in rows, `scores` keys · W numbers.
template <class T>
struct key_scratch {
    T* k;
    T* scores;
    index_t keys;
};

/// Fills the part of `memory` that belongs to `rows` of query head `h`, whole panels; those past the last row count as rows
/// that see no key.
template <class V>
class prepared_rows {
    using T = number_t<V>;
    static constexpr index_t panel = index_t{panel_vectors<V>} * lanes<V>;

  public:
    prepared_rows(const call& c, const head_layout& layout, index_t batch, index_t h, core::span rows, T* memory,
                  const key_scratch<T>& scratch)
        : call_(c), layout_(layout), memory_(memory), batch_(batch), rows_(rows) {
        const core::problem& p = c.problem;
        const core::span real{rows.begin, core::min(rows.end, p.q_len)};
        const auto q = bring_rows<V>(c.q, batch, h, 0, real, p.head_dim, true, memory + layout.q);
        const auto dout = bring_rows<V>(c.dout, batch, h, 0, real, p.value_dim, true, memory + layout.dout);
        const core::scale_split scale = core::split_scale<T>(p.scale);
        panels(q.data, q.stride, p.head_dim, memory + layout.qt, scaled_by<T>{static_cast<T>(scale.query)});
        panels(dout.data, dout.stride, p.value_dim, memory + layout.dot, unscaled{});
        statistics(h, dout);
        for (index_t r = real.begin; r < real.end; r += panel) {
            if (!is_trusted({r, core::min(r + panel, real.end)}, h)) look_at_keys(h, r, scale, scratch);
        }
    }

  private:
    /// [row][dim] to [panel][dim][W], the last panel filled with zeros.
    template <class Scale>
    void panels(const T* rows, index_t stride, index_t dims, T* to, Scale scale) const {
        for (index_t r = rows_.begin; r < rows_.end; r += panel) {
            const index_t count = core::min(panel, call_.problem.q_len - r);
            if (count < panel) fill_zero(to + r * dims, panel * dims);
            transpose_copy<V>(count, dims, rows + r * stride, stride, to + r * dims, panel, scale);
        }
    }

    [[nodiscard]] T lse_of(index_t h, index_t row) const {
        const tensor_ref& lse = call_.lse;
        return static_cast<const T*>(lse.data)[batch_ * lse.stride[0] + h * lse.stride[1] + row * lse.stride[2]];
    }

    /// Does lse tell P of all rows? NaN does: P is NaN.
    [[nodiscard]] bool is_trusted(core::span rows, index_t h) const {
        for (index_t i = rows.begin; i < rows.end; ++i) {
            const T size = std::fabs(lse_of(h, i));
            if (size >= T(trusted_lse) && size <= std::numeric_limits<T>::max()) return false;
        }
        return true;
    }

    /// Reference and log_sum of the panel at row `r` from its keys, for the rows that see some.
    void look_at_keys(index_t h, index_t r, const core::scale_split& scale, const key_scratch<T>& scratch) {
        const core::problem& p = call_.problem;
        const core::sequence sequence = p.sequence_of(batch_);
        const core::band band = p.band_of(sequence);
        const index_t end = core::min(r + panel, p.q_len);
        const core::span seen{band.lo(r), band.hi(end - 1)};
        const core::features& features = p.features;
        const auto sink = core::start_row<double>(features, true, batch_, h);
        panel_statistics<V> found(score::stage<V>(features, scale.exponent),
                                  core::score_function<T>::slope_of(features, batch_, h), sink.max);
        for (index_t j = seen.begin; j < seen.end; j += scratch.keys) {
            const core::span keys{0, core::min(scratch.keys, seen.end - j)};
            const auto k = bring_rows<V>(call_.k, batch_, p.kv_head(h), j, keys, p.head_dim, false, scratch.k);
            found.add(k.data, k.stride, j, keys.size(), memory_ + layout_.qt + r * p.head_dim, p.head_dim, r, band,
                      scratch.scores);
        }
        for (index_t i = r; i < end; ++i) {
            const T lse = lse_of(h, i);
            if (std::fabs(lse) <= std::numeric_limits<T>::max() && !band.keys(i).empty()) {
                found.finish(i - r, lse, memory_[layout_.reference + i], memory_[layout_.log_sum + i]);
            }
        }
    }

    /// Reference 0, log_sum and delta of each row. delta is summed in double: dP - delta cancels.
    void statistics(index_t h, rows_in_memory<T> dout) {
        const core::problem& p = call_.problem;
        T* reference = memory_ + layout_.reference;
        T* log_sum = memory_ + layout_.log_sum;
        T* delta = memory_ + layout_.delta;
        constexpr T infinity = std::numeric_limits<T>::infinity();
        const matrix_ref out = matrix_of<T>(call_.out, batch_, h, 0);
        const index_t end = core::min(rows_.end, p.q_len);
        for (index_t i = rows_.begin; i < end; ++i) {
            const T lse = lse_of(h, i);
            reference[i] = T(0);
            log_sum[i] = lse == -infinity ? infinity : lse * static_cast<T>(core::log2_e);
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
            reference[i] = T(0);
            log_sum[i] = infinity;
            delta[i] = T(0);
        }
    }

    const call& call_;
    const head_layout& layout_;
    T* memory_;
    index_t batch_;
    core::span rows_;
};

/// Of a thread's scratch, while it holds no key tile and no strip of scores.
template <class T>
key_scratch<T> key_scratch_of(const call& c, const scratch_layout& layout, T* scratch) {
    return {scratch + layout.k, scratch + layout.p, core::min(c.plan.key_tile, strip_keys)};
}

/// First phase with several chunks: one panel of one query head.
template <class V>
void prepare_panel(const call& c, index_t number, std::byte* scratch) {
    using T = number_t<V>;
    constexpr index_t panel = index_t{panel_vectors<V>} * lanes<V>;
    const shared_layout layout(c, panel, lanes<V>);
    const scratch_layout own(c, panel, lanes<V>);
    const index_t panels = layout.rows.padded_rows / panel;
    const index_t head = number / panels;
    const index_t row = number % panels * panel;
    prepared_rows<V>(c, layout.rows, head / c.problem.q_heads, head % c.problem.q_heads, {row, row + panel},
                     static_cast<T*>(c.shared) + layout.head(head),
                     key_scratch_of<T>(c, own, reinterpret_cast<T*>(scratch)));
}

} // namespace pantile::inline v0::cpu::backward
