/// \file
/// The CPU machine of the forward walk for few query rows over many keys: decoding against a cache. It is bound by reading
/// K and V once, so all query heads of a group share one pass (GQA packing: row = (query, head of the group), head fastest).
///
/// Dims run through the SIMD lanes, for K and V alike, so that both are read in whole vectors as they lie, 16-bit numbers
/// becoming fp32 in registers. Rows are cut into blocks of b = lanes / 2, and of smaller powers of two for the rest:
///
///     scores   S[key][row]   lanes numbers at a time, b rows of lanes / b keys: as many sums, one transposing addition
///     P        in place      2^(S·c - reference), a vector of exponents whatever b
///     P·V      O[row][dim]   b rows by 16 / b vectors of dims: P broadcast, rows of V
///
/// Sizes in numbers, R packed rows, key tile of c keys: q R·d, O R·e, S R·c, all in L1. Reads per key tile: c·(d + e) from far
/// memory, for 2·R·c·(d + e) operations; while the scores of a tile are computed its V is asked for, and during P·V the next
/// tile's K, so both tiles should fit L1 or at least L2. A tile with strides between dims, or with fewer dims than a vector,
/// goes through a copy of c·max(d, e) numbers.
#pragma once

#include "../../micro/tile_io.hpp"
#include "../../score/stage.hpp"
#include "../../threads/arena.hpp"
#include "../row_tile.hpp"
#include "dots.hpp"
#include "values.hpp"

namespace pantile::inline v0::cpu {

template <class V>
class decode_machine {
    using T = number_t<V>;
    static constexpr index_t n = lanes<V>;
    static constexpr index_t least_rows_ahead = 4; // with fewer, the processor's own prefetch does better

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
        const core::scale_split scale = core::split_scale<T>(p.scale);
        factor_of_q_ = static_cast<T>(scale.query);
        stage_ = score::stage<V>(p.features, scale.exponent);
        exponent_scale_ = stage_.exponent_scale();
        allocate(scratch);
    }

    static index_t scratch_bytes(const forward_call& call) {
        decode_machine counting(call);
        return counting.allocate(nullptr);
    }

    void open(const core::row_tile& t) {
        const core::problem& p = call_.problem;
        fill(o_, rows_ * o_stride_, T(0));
        fill(max_, padded_rows_, -std::numeric_limits<T>::infinity());
        fill(sum_, padded_rows_, T(0));
        fill(tile_max_, padded_rows_, -std::numeric_limits<T>::infinity());
        fill(tile_sum_, padded_rows_, T(0));
        for (index_t r = 0; r < rows_; ++r) {
            const index_t row = work_.seq.q_begin + t.rows.begin + r / group_;
            const matrix_ref q = matrix_of<T>(call_.q, work_.batch, work_.head * group_ + r % group_, row);
            load_rows<V>(q, 0, 1, p.head_dim, line_, q_stride_);
            pack_query(q_ + r * q_stride_);
        }
        if (p.features.sinks.given() || slope_ != nullptr) start_heads();
    }

    void fetch_key(const core::key_tile& t) { next_ = rows_ahead(k_, t.keys, call_.problem.head_dim); }
    void fetch_value(const core::key_tile& t) { next_ = rows_ahead(v_, t.keys, call_.problem.value_dim); }

    void score(const core::key_tile& t, core::full_tile) { score_rows(t.keys, false); }
    void score(const core::key_tile& t, core::partial_tile) { score_rows(t.keys, true); }

    void accumulate(const core::key_tile&) {
        with_rows(v_, v_in_place_, keys_, call_.problem.value_dim, [&](const auto* v, index_t stride, auto dims) {
            for_blocks([&](auto rows, index_t r0) PANTILE_INLINE { add_block<rows>(r0, v, stride, dims); });
        });
    }

    void close() {
        const bool partial_result = to_.max.data != nullptr;
        for (index_t r = 0; r < rows_; ++r) {
            const core::span seen = mask_.keys(r / group_);
            const auto state = core::mark_overflow(core::softmax_state<T>{max_[r], sum_[r]}, !seen.empty());
            const index_t head = work_.head * group_ + r % group_;
            const index_t row = work_.seq.q_begin + r / group_;
            unpack_output(o_ + r * o_stride_);
            store_rows<V>(line_, o_stride_, 1, call_.problem.value_dim,
                          times<T>{partial_result ? T(1) : core::finish_factor(state)}, false,
                          matrix_of<T>(to_.out, work_.batch, head, row));
            store_statistics(to_, work_.batch, head, row, state);
        }
    }

  private:
    explicit decode_machine(const forward_call& call)
        : call_(call), group_(call.problem.group()), rows_(call.problem.q_len * group_),
          padded_rows_(core::round_up(rows_, n)), q_stride_(padded(call.problem.head_dim)),
          o_stride_(padded(call.problem.value_dim)), s_keys_(core::round_up(call.plan.key_tile, n)),
          k_in_place_(in_place(call.k, call.problem.head_dim)), v_in_place_(in_place(call.v, call.problem.value_dim)),
          stage_({}, 1.0) {}

    index_t allocate(std::byte* scratch) {
        const index_t longest = core::max(q_stride_, o_stride_);
        arena memory(scratch);
        q_ = memory.template take<T>(rows_ * q_stride_);
        o_ = memory.template take<T>(rows_ * o_stride_);
        s_ = memory.template take<T>(rows_ * s_keys_);
        max_ = memory.template take<T>(padded_rows_);
        sum_ = memory.template take<T>(padded_rows_);
        factor_ = memory.template take<T>(padded_rows_);
        reference_ = memory.template take<T>(padded_rows_);
        tile_max_ = memory.template take<T>(padded_rows_);
        tile_sum_ = memory.template take<T>(padded_rows_);
        slope_ = call_.problem.features.slopes.given() ? memory.template take<T>(padded_rows_) : nullptr;
        keep_ = memory.template take<T>(2 * n);
        line_ = memory.template take<T>(longest);
        copy_ = k_in_place_ && v_in_place_ ? nullptr : memory.template take<T>(s_keys_ * longest);
        return memory.used();
    }

    /// Where a row's head makes a difference: its sink, before the first key, and its slope.
    void start_heads() {
        const core::features& f = call_.problem.features;
        for (index_t r = 0; r < rows_; ++r) {
            const index_t head = work_.head * group_ + r % group_;
            const core::softmax_state<T> start = core::start_row<T>(f, work_.carries_sink, work_.batch, head);
            max_[r] = start.max;
            sum_[r] = start.sum;
            if (slope_ != nullptr) slope_[r] = core::score_function<T>::slope_of(f, work_.batch, head);
        }
    }

    /// Room for `dim` numbers in chunks of either size; for one chunk where there are none.
    static index_t padded(index_t dim) { return core::round_up(core::max(dim, 1), 2 * n); }

    static PANTILE_INLINE void fill(T* data, index_t count, T value) {
        for (index_t i = 0; i < count; i += n) V(value).store_aligned(data + i);
    }

    /// Can rows be read as they lie: contiguous dims, enough for a chunk?
    static bool in_place(const tensor_ref& t, index_t dim) {
        bool result = false;
        with_elements<T>(t.data, t.type, [&](auto* p) PANTILE_INLINE {
            using number = std::remove_pointer_t<decltype(p)>;
            result = t.stride[3] == 1 && decode::cut<V, number>::width(dim) == dim;
        });
        return result;
    }

    /// f(pointer to the first key's row, stride, cut of the dims), the rows in place or in a copy of the same type: layouts
    /// must not change the order of additions.
    template <class F>
    PANTILE_INLINE void with_rows(const matrix_ref& from, bool in_place, core::span keys, index_t dim, F&& f) {
        with_elements<T>(from.data, from.type, [&](auto* p) PANTILE_INLINE {
            using number = std::remove_pointer_t<decltype(p)>;
            const decode::cut<V, number> dims{decode::cut<V, number>::width(dim)};
            if (in_place) {
                f(static_cast<const number*>(p + keys.begin * from.row_stride), from.row_stride, dims);
                return;
            }
            auto* copy = reinterpret_cast<number*>(copy_);
            for (index_t j = 0; j < keys.size(); ++j) {
                for (index_t x = dim; x < dims.dim; ++x) copy[j * dims.dim + x] = number(0);
            }
            if constexpr (std::is_same_v<number, T>) {
                load_rows<V>(from, keys.begin, keys.size(), dim, copy, dims.dim);
            } else {
                for (index_t j = 0; j < keys.size(); ++j) {
                    const number* row = p + (keys.begin + j) * from.row_stride;
                    for (index_t x = 0; x < dim; ++x) copy[j * dims.dim + x] = row[x * from.col_stride];
                }
            }
            f(static_cast<const number*>(copy), dims.dim, dims);
        });
    }

    /// The row in line_, times the sign of the scale, in the order in which K is read.
    void pack_query(T* to) {
        const index_t dim = call_.problem.head_dim;
        for (index_t x = dim; x < q_stride_; ++x) line_[x] = T(0);
        for (index_t x = 0; x < q_stride_; x += n) {
            (V::load_aligned(line_ + x) * V(factor_of_q_)).store_aligned(line_ + x);
        }
        with_order(k_, dim, [&](auto dims) PANTILE_INLINE {
            using cut = decltype(dims);
            for (index_t c = 0; c < dims.chunks(); ++c) {
                const index_t repeated = dims.repeated(c);
                if (cut::piece::vectors == 1 && repeated == 0) {
                    V::load_aligned(line_ + dims.first(c)).store_aligned(to + c * n);
                    V(all_bits()).store_aligned(keep_);
                    continue;
                }
                for (index_t i = 0; i < cut::dims; ++i) {
                    const index_t at = cut::piece::place(i);
                    to[c * cut::dims + at] = i < repeated ? T(0) : line_[dims.first(c) + i];
                    keep_[at] = i < repeated ? T(0) : all_bits();
                }
            }
        });
    }

    /// A row of O in the order of V's chunks to line_, in natural order.
    void unpack_output(const T* from) {
        with_order(v_, call_.problem.value_dim, [&](auto dims) PANTILE_INLINE {
            using cut = decltype(dims);
            for (index_t c = 0; c < dims.chunks(); ++c) {
                if (cut::piece::vectors == 1) {
                    V::load_aligned(from + c * n).store_unaligned(line_ + dims.first(c));
                    continue;
                }
                for (index_t i = 0; i < cut::dims; ++i) {
                    line_[dims.first(c) + i] = from[c * cut::dims + cut::piece::place(i)];
                }
            }
        });
    }

    /// f(cut of the dims) as with_rows cuts them.
    template <class F>
    PANTILE_INLINE void with_order(const matrix_ref& of, index_t dim, F&& f) {
        with_elements<T>(of.data, of.type, [&](auto* p) PANTILE_INLINE {
            using cut = decode::cut<V, std::remove_pointer_t<decltype(p)>>;
            f(cut{cut::width(dim)});
        });
    }

    static PANTILE_INLINE T all_bits() {
        using bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
        return __builtin_bit_cast(T, ~bits{0});
    }

    decode::ahead rows_ahead(const matrix_ref& from, core::span keys, index_t dim) const {
        if (rows_ < least_rows_ahead || from.col_stride != 1) return {};
        decode::ahead next;
        with_elements<T>(from.data, from.type, [&](auto* p) PANTILE_INLINE {
            constexpr index_t size = sizeof *p;
            next = {reinterpret_cast<const char*>(p + keys.begin * from.row_stride), from.row_stride * size,
                    core::ceil_div(dim * size, 64)};
        });
        return next;
    }

    /// f(rows as a constant, first row) for each block of rows from `begin` to `end`.
    template <class F>
    PANTILE_INLINE void for_blocks(index_t begin, index_t end, F&& f) {
        constexpr int most = decode::most_rows<V>;
        index_t r = begin;
        for (; r + most <= end; r += most) f(std::integral_constant<int, most>{}, r);
        const auto rest = [&](auto rows) PANTILE_INLINE {
            if constexpr (rows < most) {
                if (r + rows > end) return;
                f(rows, r);
                r += rows;
            }
        };
        rest(std::integral_constant<int, 4>{});
        rest(std::integral_constant<int, 2>{});
        rest(std::integral_constant<int, 1>{});
    }
    template <class F>
    PANTILE_INLINE void for_blocks(F&& f) {
        for_blocks(0, rows_, f);
    }

    /// S[key][row] of the block of `rows` rows from r on.
    T* block_scores(index_t r) const { return s_ + r * s_keys_; }

    /// Keys of the tile that query i sees, counted from the tile's first.
    core::span seen_by(index_t i) const {
        const index_t begin = core::clamp(mask_.lo(i), keys_.begin, keys_.end);
        return {begin - keys_.begin, core::clamp(mask_.hi(i), begin, keys_.end) - keys_.begin};
    }

    void score_rows(core::span keys, bool partial) {
        const index_t last_query = rows_ / group_ - 1;
        // Keys outside the union of what the rows see are not even read.
        keys_ = {core::max(keys.begin, mask_.lo(0)), core::min(keys.end, mask_.hi(last_query))};
        partial_ = partial;
        with_rows(k_, k_in_place_, keys_, call_.problem.head_dim, [&](const auto* k, index_t stride, auto dims) {
            for_blocks([&](auto rows, index_t r) PANTILE_INLINE { score_block<rows>(r, k, stride, dims); });
        });
        bool beyond = false;
        for (index_t r = 0; r < padded_rows_; r += n) {
            beyond = raise<V, 1>(max_ + r, tile_max_ + r, exponent_scale_, reference_ + r, factor_ + r) || beyond;
        }
        if (beyond) {
            for_blocks([&](auto rows, index_t r) PANTILE_INLINE { keep_largest_scores(r, rows); });
        }
        if (stage_.on()) for_blocks([&](auto rows, index_t r) PANTILE_INLINE { drop_tails<rows>(r); });
        for_blocks([&](auto rows, index_t r) PANTILE_INLINE { exponentiate_block<rows>(r); });
        for (index_t r = 0; r < padded_rows_; r += n) add_sums<V, 1>(sum_ + r, factor_ + r, tile_sum_ + r);
    }

    /// S of a block of rows, minus infinity where hidden, and its maxima.
    template <int rows, class From, class Cut>
    PANTILE_INLINE void score_block(index_t r0, const From* k, index_t stride, Cut dims) {
        constexpr index_t keys = n / rows; // of a vector of scores
        T lane_begin[V::size];             // keys that the row of a lane sees
        T lane_end[V::size];
        core::span common{0, keys_.size()}; // seen by all rows
        for (index_t i = 0; i < n; ++i) {
            core::span seen{0, keys_.size()};
            if (partial_) seen = seen_by((r0 + i % rows) / group_);
            const index_t key = i / rows; // of the vector, in this lane
            lane_begin[i] = static_cast<T>(seen.begin - key);
            lane_end[i] = static_cast<T>(seen.end - key);
            common = {core::max(common.begin, seen.begin), core::min(common.end, seen.end)};
        }
        const visible_keys<V> visible{V::load_unaligned(lane_begin), V::load_unaligned(lane_end)};
        const decode::packed_rows<V> q{q_ + r0 * q_stride_, q_stride_, keep_};
        const decode::ahead next = r0 == 0 ? next_ : decode::ahead{};
        const index_t last = keys_.size() - 1;
        T* s = block_scores(r0);
        V largest = vector_ops<V>::lowest();
        for (index_t j = 0; j <= last; j += keys) {
            for (index_t i = 0; i < keys; ++i) next.ask(j + i, 0, next.lines);
            const From* key[keys];
            unroll<keys>([&](auto i) PANTILE_INLINE { key[i] = k + core::min(j + i, last) * stride; });
            V score = decode::dots<V, rows>(q, key, dims);
            if (j < common.begin || j + keys > common.end) score = visible.hide(score, V(static_cast<T>(j)));
            score.store_aligned(s + j * rows);
            largest = xsimd::max(largest, score);
        }
        if (stage_.on()) {
            const bool hides = common.begin > 0 || common.end < core::round_up(keys_.size(), keys);
            largest = shape_block<rows>(r0, visible, hides);
        }
        T numbers[V::size];
        largest.store_unaligned(numbers);
        for (index_t i = n / 2; i >= rows; i /= 2) {
            for (index_t l = 0; l < i; ++l) numbers[l] = numbers[l] < numbers[l + i] ? numbers[l + i] : numbers[l];
        }
        for (index_t r = 0; r < rows; ++r) tile_max_[r0 + r] = numbers[r];
    }

    /// The score stage of a block of rows; returns the lanes' maxima.
    template <int rows>
    [[gnu::noinline]] V shape_block(index_t r0, const visible_keys<V>& visible, bool hides) {
        T distance[V::size];
        T slope[V::size];
        for (index_t i = 0; i < n; ++i) {
            const index_t row = r0 + i % rows;
            const index_t position = row / group_;
            const index_t key = i / rows; // of the vector, in this lane
            distance[i] = static_cast<T>(position + mask_.offset - keys_.begin - key);
            slope[i] = slope_ != nullptr ? slope_[row] : T(0);
        }
        return stage_.fold({block_scores(r0), n, 0, keys_.size(), n / rows, V::load_unaligned(distance),
                            V::load_unaligned(slope), visible, hides},
                           vector_ops<V>::lowest());
    }

    template <int rows>
    [[gnu::noinline]] void drop_tails(index_t r0) {
        T against[V::size];
        for (index_t i = 0; i < n; ++i) against[i] = reference_[r0 + i % rows];
        score::fragment<V> s;
        s.scores = block_scores(r0);
        s.stride = n;
        s.end = keys_.size();
        s.keys_a_step = n / rows;
        stage_.drop_tails(s, V::load_unaligned(against));
    }

    /// The rows of a block that are beyond largest_reference.
    [[gnu::noinline, gnu::cold]] void keep_largest_scores(index_t r0, index_t rows) {
        for (index_t r = r0; r < r0 + rows; ++r) {
            keep_largest_beyond<V>(reference_[r], max_[r], tile_max_[r], exponent_scale_, block_scores(r0) + (r - r0),
                                   rows, keys_.size());
        }
    }

    /// P of a block of rows, and its sums.
    template <int rows>
    PANTILE_INLINE void exponentiate_block(index_t r0) {
        T numbers[V::size];
        for (index_t i = 0; i < n; ++i) numbers[i] = reference_[r0 + i % rows];
        const V against = V::load_unaligned(numbers);
        const V c(exponent_scale_);
        T* s = block_scores(r0);
        V total(T(0));
        for (index_t i = 0; i < keys_.size() * rows; i += n) {
            const V p = power_of_two(xsimd::fms(V::load_aligned(s + i), c, against));
            p.store_aligned(s + i);
            total = total + p;
        }
        total.store_unaligned(numbers);
        for (index_t i = n / 2; i >= rows; i /= 2) {
            for (index_t l = 0; l < i; ++l) numbers[l] += numbers[l + i];
        }
        for (index_t r = 0; r < rows; ++r) tile_sum_[r0 + r] = numbers[r];
    }

    /// O of a block of rows joined by the values of the tile's keys. A query touches no value that it does not see; the
    /// heads of a group see the same.
    template <int rows, class From, class Cut>
    PANTILE_INLINE void add_block(index_t r0, const From* v, index_t stride, Cut dims) {
        const T* p = block_scores(r0);
        const decode::ahead next = r0 == 0 ? next_ : decode::ahead{};
        const auto add = [&](auto count, index_t r, core::span seen) PANTILE_INLINE {
            decode::add_values<V, count>(decode::weighted_keys<V, From>{p + seen.begin * rows + (r - r0), rows,
                                                                        v + seen.begin * stride, stride, seen.size()},
                                         dims, o_ + r * o_stride_, o_stride_, factor_ + r, next);
        };
        if (!partial_) return add(std::integral_constant<int, rows>{}, r0, {0, keys_.size()});
        for (index_t r = r0; r < r0 + rows;) {
            const index_t query = r / group_;
            const index_t end = core::min((query + 1) * group_, r0 + rows);
            const core::span seen = seen_by(query);
            for_blocks(r, end, [&](auto count, index_t first) PANTILE_INLINE {
                if constexpr (count <= rows) add(count, first, seen);
            });
            r = end;
        }
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
    index_t s_keys_; // keys of a tile, whole vectors
    bool k_in_place_;
    bool v_in_place_;
    score::stage<V> stage_;
    decode::ahead next_; // what the step after this one reads

    core::span keys_; // of the current tile, as far as any row sees them
    bool partial_ = false;

    T* q_ = nullptr;   // [row][dim], in the order of K's chunks
    T* o_ = nullptr;   // [row][dim], in the order of V's chunks
    T* s_ = nullptr;   // a block's [key][row] after the other
    T* max_ = nullptr; // [row], as the next ones
    T* sum_ = nullptr;
    T* factor_ = nullptr;
    T* reference_ = nullptr;
    T* tile_max_ = nullptr;
    T* tile_sum_ = nullptr;
    T* slope_ = nullptr; // of the row's head; null: none are given
    T* keep_ = nullptr;  // of K's last chunk: all bits where a dim counts
    T* line_ = nullptr;  // one row in natural order
    T* copy_ = nullptr;  // [key][dim]: a tile that cannot be read in place
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
    constexpr index_t widest_row_tile = 256; // not used: there is one row tile
    constexpr index_t key_tile = 256;        // what a tile costs once is spread; its K and V stay in L2
    return {lanes<V>,      core::max(lanes<V> / 2, 1),
            lanes<V>,      decode_machine<V>::scratch_bytes,
            run_decode<V>, widest_row_tile,
            key_tile};
}

} // namespace pantile::inline v0::cpu
