#pragma once

#include "../arguments.hpp"
#include "../ptx/barrier.cuh"
#include "../ptx/copy.cuh"
#include "../tile/finish.cuh"
#include "../tile/score.cuh"
#include "../tile/tile_run.hpp"
#include "fold.cuh"
#include "products.cuh"

#include <pantile/core/schedule.hpp>
#include <pantile/core/walk.hpp>

namespace pantile::inline v0::cuda {

/// What a block knows of its work, in shared memory: looked at once a tile at most, where registers are short.
struct f64_work {
    tile_run run;
    core::band mask;
    core::span rows;    ///< of the row tile, in positions
    core::span visible; ///< keys that some row of the tile sees
    index_t k_begin;    ///< first key of the split, in the tensor
    index_t k_len;      ///< keys of the split
    int batch;
    int first_head; ///< of the packed heads
    int kv_head;
    int split;

    /// Of row tile `row_tile` with `positions` rows, and the keys `part` of its sequence.
    template <class tile>
    __device__ __forceinline__ void set(const forward_arguments& a, const core::sequence& part, index_t positions,
                                        index_t row_tile) {
        const core::schedule plan(part, a.shape.band_of(part), positions, tile::keys);
        run = tile_run::of<tile::keys>(plan, row_tile);
        if (a.scored) run.full_end = run.full_begin; // scores change where masks cut
        mask = plan.mask;
        rows = run.row_span;
        visible = {mask.lo(rows.begin), mask.hi(rows.end - 1)};
        k_begin = part.k_begin;
        k_len = part.k_len;
        kv_head = static_cast<int>(a.shape.kv_head(first_head));
    }
    /// Which of `keys` keys from `first` on some row sees.
    __device__ __forceinline__ core::span visible_of(index_t first, int keys) const {
        return {core::clamp(visible.begin - first, 0, keys), core::clamp(visible.end - first, 0, keys)};
    }
};

/// `scored`: of calls with a score function, all of whose tiles count as partial. One warp's part of a row tile: 16 query rows, and where two warps share them its half of the columns. Holds S, P, O and
/// the rows' state; where K and V lie it is told.
template <class tile, bool scored>
class f64_warp {
  public:
    /// `q`: the block's room for Q; `exchange`: for scores of warps that share rows; `table`: of f64_exp2.
    __device__ __forceinline__ f64_warp(const forward_arguments& a, const f64_constants& constants,
                                        const f64_work& work, const char* q, char* exchange, const double* table)
        : a_(a), constants_(constants), work_(work), at_(f64_places::of()),
          q_(ptx::shared_address(q) + static_cast<std::uint32_t>(warp() * tile::q_bytes_of_warp)), exchange_(exchange),
          table_(ptx::shared_address(table)) {
#pragma unroll
        for (double& x : o_) x = 0.0;
    }

    static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % 32); }
    static __device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x / 32); }
    /// Panel of the head and value dim that is the warp's first.
    static __device__ __forceinline__ int first_panel() { return warp() % tile::sharers * tile::panels; }

    /// The warp holds no row of the tensor.
    __device__ __forceinline__ bool idle() const { return position(packed_row(0)) >= work_.rows.end; }

    /// Begins to bring this warp's part of Q near, zeros where the tensor has none; two warps that share rows need no part of
    /// each other. Await the copies, and __syncwarp. Traffic: each number once, 8 bytes at a time as the layout is not the
    /// tensor's.
    __device__ __forceinline__ void fetch_queries() const {
        constexpr int width = 16 * tile::panels;
        const auto columns = static_cast<int>(a_.shape.head_dim) - 16 * first_panel();
        const auto* q = static_cast<const double*>(a_.q);
#pragma unroll 1
        for (int row = 0; row < 16; ++row) {
            const int packed = packed_row(row);
            const index_t i = position(packed);
            const bool exists = i < work_.rows.end;
            const double* from =
                q + (exists ? a_.q_layout.place(work_.batch, head(packed), i) + 16 * first_panel() : 0);
#pragma unroll
            for (int first = 0; first < width; first += 32) {
                const int column = first + lane();
                const bool valid = exists && column < columns;
                if (width % 32 != 0 && column >= width) continue;
                ptx::copy_async_8(q_ + static_cast<std::uint32_t>(f64_query_offset(row, column)),
                                  valid ? from + column : q, valid);
            }
        }
    }

    /// Q has come, to this warp: its part of the scale joins it. `q` is the block's. Traffic: 16 bytes a number, once a row
    /// tile.
    __device__ __forceinline__ void multiply_queries(char* q) const {
        if (constants_.query == 1.0) return;
        multiply_shared<tile::q_bytes_of_warp, 32>(q + warp() * tile::q_bytes_of_warp, constants_.query);
        __syncwarp();
    }

    /// S = Q·Kᵀ; `k` is the tile in shared memory.
    __device__ __forceinline__ void multiply(std::uint32_t k) { multiply_keys<tile>(s_, q_, k + columns(), at_); }

    /// Scores that the mask hides become minus infinity. `first` is the tile's first key.
    template <class Tag>
    __device__ __forceinline__ void finish_scores(index_t first, Tag) {
        if constexpr (tile::sharers == 2) add_up();
        if constexpr (scored && std::is_same_v<Tag, core::partial_tile>) {
            const auto at = row_places<double>::of(
                a_, first,
                [&](int r) { return position(packed_row(fragment::row_of_lane(lane(), r))) + work_.mask.offset; },
                [&](int r) {
                    return a_.score_f64.slope_of(a_.shape.features, work_.batch,
                                                 head(packed_row(fragment::row_of_lane(lane(), r))));
                });
            apply_score_function(s_, a_.score_f64, at);
        }
        if constexpr (std::is_same_v<Tag, core::partial_tile>) {
            const int g = lane() / 4;
            const column_limits limits[2] = {
                column_limits::of(work_.mask, position(packed_row(g)), first, tile::keys),
                column_limits::of(work_.mask, position(packed_row(g + 8)), first, tile::keys)};
            hide(s_, limits);
        }
    }

    /// P = 2^(exponents of S - reference), O += P·V; `v` is the tile in shared memory.
    __device__ __forceinline__ void fold_and_accumulate(std::uint32_t v) {
        const f64_exponents e = follow_scores(s_, row_, o_, constants_);
        double p[tile::keys / 2];
        exponentials(p, s_, e, constants_.scale, table_);
        add_sums(row_, p);
        multiply_values<tile>(o_, p, v + columns(), at_);
    }

    /// Normalises, or not for a partial result, and stores. Traffic: 128 bytes of a row at a time.
    __device__ __forceinline__ void store() {
        const bool partial = a_.kind == out_kind::partial;
        double factor[2];
        row_state<double> state[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) state[r] = {row_[r].reference, row_[r].sum};
        reduce_rows(state);
        const auto packed = [&](int r) { return packed_row(fragment::row_of_lane(lane(), r)); };
        finish_rows<0>(
            a_, work_.batch, state, factor, [&](int r) { return head(packed(r)); },
            [&](int r) { return !work_.mask.keys(position(packed(r))).empty(); });
        if (lane() % 4 == 0 && first_panel() == 0) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const index_t i = position(packed(r));
                if (i < work_.rows.end) {
                    store_statistics(a_, work_.batch, head(packed(r)), i, work_.split, state[r]);
                }
            }
        }
        auto* out = static_cast<double*>(a_.out) + (partial ? work_.split * a_.split_stride_out : 0);
        const auto columns = static_cast<int>(a_.shape.value_dim);
        const int t = lane() % 4;
#pragma unroll
        for (int x = 0; x < 4; ++x) {
            const double f = __shfl_sync(0xffffffffU, factor[x / 2], (2 * t + x % 2) * 4);
            const int packed = packed_row(2 * t + x % 2 + 8 * (x / 2));
            const index_t i = position(packed);
            if (i >= work_.rows.end) continue;
            double* row = out + a_.out_layout.place(work_.batch, head(packed), i);
#pragma unroll
            for (int n = 0; n < tile::panels; ++n) {
                const int column = 16 * (first_panel() + n) + 2 * (lane() / 4);
                const double* o = o_ + 8 * n + x / 2 * 4 + x % 2;
                if (a_.out_vectors) {
                    if (column < columns) *reinterpret_cast<double2*>(row + column) = make_double2(o[0] * f, o[2] * f);
                } else {
                    if (column < columns) row[column] = o[0] * f;
                    if (column + 1 < columns) row[column + 1] = o[2] * f;
                }
            }
        }
    }

  private:
    /// Byte offset of the warp's first panel in a tile of K or V.
    static __device__ __forceinline__ std::uint32_t columns() {
        return static_cast<std::uint32_t>(first_panel() * tile::panel_bytes);
    }
    /// Row `row` of the warp's 16 as a packed row of the tile: heads_packed heads of one position stand together.
    static __device__ __forceinline__ int packed_row(int row) { return warp() / tile::sharers * 16 + row; }
    __device__ __forceinline__ index_t position(int packed) const {
        return work_.rows.begin + packed / static_cast<int>(a_.heads_packed);
    }
    __device__ __forceinline__ index_t head(int packed) const {
        return work_.first_head + packed % static_cast<int>(a_.heads_packed);
    }

    /// s += the scores of the warp beside this one, which multiplied over the other half of the head dim. Both add the same
    /// two numbers, so both get the same bits.
    __device__ __forceinline__ void add_up() {
        auto* room = reinterpret_cast<double2*>(exchange_);
        const auto at = [](int w, int i) { return (w * (tile::keys / 4) + i) * 32 + lane(); };
        const int both = 1 + warp() / 2;
        ptx::named_sync(both, 64); // both have read what the tile before left here
#pragma unroll
        for (int i = 0; i < tile::keys / 4; ++i) room[at(warp(), i)] = make_double2(s_[2 * i], s_[2 * i + 1]);
        ptx::named_sync(both, 64);
#pragma unroll
        for (int i = 0; i < tile::keys / 4; ++i) {
            const double2 x = room[at(warp() ^ 1, i)];
            s_[2 * i] += x.x;
            s_[2 * i + 1] += x.y;
        }
    }

    const forward_arguments& a_;
    const f64_constants& constants_;
    const f64_work& work_;
    f64_places at_;
    std::uint32_t q_;
    char* exchange_;
    std::uint32_t table_;
    f64_row row_[2];
    double s_[tile::keys / 2];
    double o_[8 * tile::panels];
};

} // namespace pantile::inline v0::cuda
