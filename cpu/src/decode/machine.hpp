/// \file
/// The CPU machine of the forward walk for few query rows over many keys: decoding against a cache. It is bound by reading
/// K and V once, so all query heads of a group share one pass (GQA packing: row = (query, head of the group), head fastest).
///
/// Dims run through the SIMD lanes, for K and V alike, so that both are read in whole vectors as they lie:
///
///     scores   S[row][key]   n keys at a time: n accumulators of K·q, then one transposing addition gives n scores
///     P        in place      2^(S·c - reference), keys in lanes
///     P·V      O[row][dim]   the product kernel: P broadcast, rows of V
///
/// Sizes in numbers, R packed rows, key tile of c keys: q R·d, O R·e, S R·c, all in L1. Reads per key tile: c·(d + e) from far
/// memory, for 2·R·c·(d + e) operations. A tile that is not in compute precision with whole vectors goes through a copy of
/// c·max(d, e) numbers, in L1.
#pragma once

#include "../machine.hpp"

namespace pantile::cpu {

/// O[row] = O[row] · factor[row] + block.
template <class V>
struct join_rows {
    number_t<V>* sums; ///< [row][dim]
    index_t stride;
    const number_t<V>* factor; ///< [row]

    template <int rows, int vectors>
    PANTILE_INLINE void operator()(index_t m0, register_block<V, rows, vectors>& block) const {
        unroll<rows>([&](auto m) PANTILE_INLINE {
            const V scale(factor[m0 + m]);
            unroll<vectors>([&](auto v) PANTILE_INLINE {
                number_t<V>* p = sums + (m0 + m) * stride + v * lanes<V>;
                xsimd::fma(V::load_aligned(p), scale, block.at[m][v]).store_aligned(p);
            });
        });
    }
};

template <class V>
class decode_machine {
    using T = number_t<V>;
    static constexpr index_t n = lanes<V>;
    using softmax = core::online_softmax<vector_ops<V>>;

  public:
    /// `work.head` is the kv head; its one row tile holds every row of the sequence.
    decode_machine(const forward_call& call, const forward_work& work, const output& to, std::byte* scratch)
        : decode_machine(call) {
        work_ = work;
        to_ = to;
        mask_ = call.problem.band_of(work.seq);
        const core::problem& p = call.problem;
        k_ = matrix_of<T>(call.k, work.batch, work.head, work.seq.k_begin);
        v_ = matrix_of<T>(call.v, work.batch, work.head, work.seq.k_begin);
        factor_of_q_ = p.scale < 0 ? T(-1) : p.scale > 0 ? T(1) : T(0);
        exponent_scale_ = static_cast<T>((p.scale < 0 ? -p.scale : p.scale > 0 ? p.scale : 1.0) * core::log2_e);
        allocate(scratch);
    }

    static index_t scratch_bytes(const forward_call& call) {
        decode_machine counting(call);
        return counting.allocate(nullptr);
    }

    void open(const core::row_tile& t) {
        const core::problem& p = call_.problem;
        fill(q_, rows_ * q_stride_, T(0));
        fill(o_, rows_ * o_stride_, T(0));
        fill(max_, padded_rows_, -std::numeric_limits<T>::infinity());
        fill(sum_, padded_rows_, T(0));
        for (index_t r = 0; r < rows_; ++r) {
            const index_t row = work_.seq.q_begin + t.rows.begin + r / group_;
            const matrix_ref q = matrix_of<T>(call_.q, work_.batch, work_.head * group_ + r % group_, row);
            load_rows<V>(q, 0, 1, p.head_dim, q_ + r * q_stride_, q_stride_);
            for (index_t x = 0; x < q_stride_; x += n) {
                (V::load_aligned(q_ + r * q_stride_ + x) * V(factor_of_q_)).store_aligned(q_ + r * q_stride_ + x);
            }
        }
    }

    void fetch_key(const core::key_tile&) {} // streams: the hardware prefetcher is ahead of the walk
    void fetch_value(const core::key_tile&) {}

    void score(const core::key_tile& t, core::full_tile) { score_rows(t.keys, false); }
    void score(const core::key_tile& t, core::partial_tile) { score_rows(t.keys, true); }

    void accumulate(const core::key_tile&) {
        const index_t e = call_.problem.value_dim;
        const rows_ref v = near(v_, keys_, e, o_stride_);
        if (!partial_) {
            add_values(0, rows_, v, 0, keys_.size());
            return;
        }
        // The heads of a group see the same keys; a query touches no value that it does not see.
        for (index_t i = 0; i < rows_ / group_; ++i) {
            const core::span seen = seen_by(i);
            add_values(i * group_, group_, v, seen.begin - keys_.begin, seen.size());
        }
    }

    void close() {
        const bool partial_result = to_.max.data != nullptr;
        for (index_t r = 0; r < rows_; ++r) {
            const core::softmax_state<T> state{max_[r], sum_[r]};
            const index_t head = work_.head * group_ + r % group_;
            const index_t row = work_.seq.q_begin + r / group_;
            store_rows<V>(o_ + r * o_stride_, o_stride_, 1, call_.problem.value_dim,
                          partial_result ? T(1) : core::finish_factor(state), false,
                          matrix_of<T>(to_.out, work_.batch, head, row));
            put(to_.lse, head, row, core::finish_lse(state));
            put(to_.max, head, row, state.max);
            put(to_.sum, head, row, state.sum);
        }
    }

  private:
    explicit decode_machine(const forward_call& call)
        : call_(call), group_(call.problem.group()), rows_(call.problem.q_len * group_),
          padded_rows_(core::round_up(rows_, n)), q_stride_(core::round_up(call.problem.head_dim, n)),
          o_stride_(core::round_up(call.problem.value_dim, n)), s_stride_(core::round_up(call.plan.key_tile, n)) {}

    index_t allocate(std::byte* scratch) {
        arena memory(scratch);
        q_ = memory.template take<T>(rows_ * q_stride_);
        o_ = memory.template take<T>(rows_ * o_stride_);
        s_ = memory.template take<T>(rows_ * s_stride_);
        max_ = memory.template take<T>(padded_rows_);
        sum_ = memory.template take<T>(padded_rows_);
        factor_ = memory.template take<T>(padded_rows_);
        reference_ = memory.template take<T>(padded_rows_);
        tile_max_ = memory.template take<T>(padded_rows_);
        tile_sum_ = memory.template take<T>(padded_rows_);
        copy_ = memory.template take<T>(s_stride_ * core::max(q_stride_, o_stride_));
        return memory.used();
    }

    static PANTILE_INLINE void fill(T* data, index_t count, T value) {
        for (index_t i = 0; i < count; i += n) V(value).store_aligned(data + i);
    }

    template <class Row>
    PANTILE_INLINE void put(const Row& to, index_t head, index_t row, T x) const {
        if (to.data == nullptr) return;
        static_cast<T*>(to.data)[work_.batch * to.stride[0] + head * to.stride[1] + row * to.stride[2]] = x;
    }

    struct rows_ref {
        const T* data;
        index_t stride;
    };

    /// `keys` as rows of whole vectors: in place, or copied with zeros at the end of each row.
    PANTILE_INLINE rows_ref near(const matrix_ref& from, core::span keys, index_t dim, index_t padded) {
        constexpr element own = sizeof(T) == 8 ? element::f64 : element::f32;
        if (from.type == own && from.col_stride == 1 && dim == padded) {
            return {static_cast<const T*>(from.data) + keys.begin * from.row_stride, from.row_stride};
        }
        if (dim != padded) {
            for (index_t j = 0; j < keys.size(); ++j) V(T(0)).store_aligned(copy_ + j * padded + padded - n);
        }
        load_rows<V>(from, keys.begin, keys.size(), dim, copy_, padded);
        return {copy_, padded};
    }

    /// Keys of the tile that query i sees.
    core::span seen_by(index_t i) const {
        const index_t begin = core::clamp(mask_.lo(i), keys_.begin, keys_.end);
        return {begin, core::clamp(mask_.hi(i), begin, keys_.end)};
    }

    void score_rows(core::span keys, bool partial) {
        const index_t last_query = rows_ / group_ - 1;
        // Keys outside the union of what the rows see are not even read.
        keys_ = {core::max(keys.begin, mask_.lo(0)), core::min(keys.end, mask_.hi(last_query))};
        partial_ = partial;
        const rows_ref k = near(k_, keys_, call_.problem.head_dim, q_stride_);
        for (index_t r = 0; r < rows_; ++r) {
            const core::span seen = partial ? seen_by(r / group_) : keys_;
            tile_max_[r] = score_row(r, k, {seen.begin - keys_.begin, seen.end - keys_.begin});
        }
        for (index_t r = 0; r < padded_rows_; r += n) raise(r);
        for (index_t r = 0; r < rows_; ++r) tile_sum_[r] = exponentiate_row(r);
        for (index_t r = 0; r < padded_rows_; r += n) {
            const V sum =
                xsimd::fma(V::load_aligned(sum_ + r), V::load_aligned(factor_ + r), V::load_aligned(tile_sum_ + r));
            sum.store_aligned(sum_ + r);
        }
    }

    /// S of one row, minus infinity outside `seen`; returns the maximum.
    T score_row(index_t r, rows_ref k, core::span seen) {
        const T* q = q_ + r * q_stride_;
        T* s = s_ + r * s_stride_;
        V largest = vector_ops<V>::lowest();
        const index_t count = keys_.size();
        for (index_t j = 0; j < count; j += n) {
            V score = j + n <= count ? dots<true>(q, k, j, count) : dots<false>(q, k, j, count);
            if (j < seen.begin || j + n > seen.end) {
                const V key = key_numbers() + V(static_cast<T>(j));
                score = xsimd::select(V(static_cast<T>(seen.begin)) <= key && key < V(static_cast<T>(seen.end)), score,
                                      vector_ops<V>::lowest());
            }
            score.store_aligned(s + j);
            largest = xsimd::max(largest, score);
        }
        T numbers[V::size];
        largest.store_unaligned(numbers);
        for (int half = lanes<V> / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; ++i) {
                numbers[i] = numbers[i] < numbers[i + half] ? numbers[i + half] : numbers[i];
            }
        }
        return numbers[0];
    }

    /// q · K of the n keys from j on; beyond the last key (not `whole`), that of the last key again.
    template <bool whole>
    PANTILE_INLINE V dots(const T* q, rows_ref k, index_t j, index_t count) const {
        V sum[V::size];
        const T* row[V::size];
        unroll<lanes<V>>([&](auto i) PANTILE_INLINE {
            sum[i] = V(T(0));
            row[i] = k.data + (whole ? j + i : core::min(j + i, count - 1)) * k.stride;
        });
        for (index_t x = 0; x < q_stride_; x += n) {
            const V qx = V::load_aligned(q + x);
            unroll<lanes<V>>([&](auto i)
                                 PANTILE_INLINE { sum[i] = xsimd::fma(V::load_unaligned(row[i] + x), qx, sum[i]); });
        }
        return horizontal_sums(sum);
    }

    /// The state of n rows meets the tile's maxima.
    PANTILE_INLINE void raise(index_t r) {
        typename softmax::state state{V::load_aligned(max_ + r), V::load_aligned(sum_ + r)};
        const V factor = softmax::raise(state, V::load_aligned(tile_max_ + r) * V(exponent_scale_));
        factor.store_aligned(factor_ + r);
        softmax::reference(state).store_aligned(reference_ + r);
        state.max.store_aligned(max_ + r);
    }

    T exponentiate_row(index_t r) {
        T* s = s_ + r * s_stride_;
        const V c(exponent_scale_);
        const V against(reference_[r]);
        V total(T(0));
        for (index_t j = 0; j < keys_.size(); j += n) {
            const V p = power_of_two(xsimd::fms(V::load_aligned(s + j), c, against));
            p.store_aligned(s + j);
            total = total + p;
        }
        return xsimd::hadd(total);
    }

    /// O of `count` rows joined by the values of the keys [begin, begin + keys) of the tile.
    void add_values(index_t row, index_t count, rows_ref v, index_t begin, index_t keys) {
        index_t x = 0;
        for (; x + panel_vectors<V> * n <= o_stride_; x += panel_vectors<V> * n) {
            add_strip<panel_vectors<V>>(row, count, v, begin, keys, x);
        }
        for (; x < o_stride_; x += n) add_strip<1>(row, count, v, begin, keys, x);
    }
    template <int vectors>
    void add_strip(index_t row, index_t count, rows_ref v, index_t begin, index_t keys, index_t x) {
        product<V, vectors>(count, rows_of<T>{s_ + row * s_stride_ + begin, s_stride_},
                            vectors_of<T>{v.data + begin * v.stride + x, v.stride}, whole_sum{keys},
                            join_rows<V>{o_ + row * o_stride_ + x, o_stride_, factor_ + row});
    }

    static PANTILE_INLINE V key_numbers() {
        T numbers[V::size];
        for (int i = 0; i < lanes<V>; ++i) numbers[i] = static_cast<T>(i);
        return V::load_unaligned(numbers);
    }

    const forward_call& call_;
    forward_work work_;
    output to_;
    core::band mask_;
    matrix_ref k_, v_;
    T factor_of_q_ = T(1);
    T exponent_scale_ = T(1);

    index_t group_;
    index_t rows_;        // packed
    index_t padded_rows_; // whole vectors
    index_t q_stride_;
    index_t o_stride_;
    index_t s_stride_;

    core::span keys_; // of the current tile, as far as any row sees them
    bool partial_ = false;

    T* q_ = nullptr;   // [row][dim]
    T* o_ = nullptr;   // [row][dim]
    T* s_ = nullptr;   // [row][key]
    T* max_ = nullptr; // [row], as the next ones
    T* sum_ = nullptr;
    T* factor_ = nullptr;
    T* reference_ = nullptr;
    T* tile_max_ = nullptr;
    T* tile_sum_ = nullptr;
    T* copy_ = nullptr; // [key][dim]: a tile that cannot be read in place
};

template <class V>
void run_decode(const forward_call& call, const forward_work& work, const output& to, std::byte* scratch) {
    decode_machine<V> machine(call, work, to, scratch);
    const core::schedule tiles(work.seq, call.problem.band_of(work.seq), work.seq.q_len, call.plan.key_tile);
    core::walk::forward(machine, tiles, 0);
}

/// Served: up to lanes / 2 queries a sequence. Beyond, queries in lanes are cheaper: there a key costs d + e broadcasts
/// whatever the rows, here about (d + e) · rows / lanes · 1.5 multiply-adds and additions.
template <class V>
constexpr forward_kernels decode_kernels_of() {
    return {lanes<V>, core::max(lanes<V> / 2, 1), lanes<V>, decode_machine<V>::scratch_bytes, run_decode<V>};
}

} // namespace pantile::cpu
