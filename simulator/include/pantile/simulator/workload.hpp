/// \file
/// What to compute: sizes, mask, element type. A simulated call takes the same numbers as a real one.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/core/problem.hpp>
#include <pantile/core/schedule.hpp>
#include <pantile/options.hpp>
#include <pantile/simulator/counts.hpp>

namespace pantile::inline v0::simulator {

enum class pass : unsigned char { forward, backward };
[[nodiscard]] PANTILE_API std::string_view name(pass p);

/// Sizes as in attention.hpp: q is (batch, q_heads, q_len, head_dim), k (batch, kv_heads, k_len, head_dim), v
/// (batch, kv_heads, k_len, value_dim).
struct PANTILE_API workload {
    index_t batch = 1;
    index_t q_heads = 1;
    index_t kv_heads = 1;
    index_t q_len = 0;
    index_t k_len = 0;
    index_t head_dim = 64;
    index_t value_dim = 64;
    pantile::mask mask{};
    dtype type = dtype::bf16;
    /// GQA: the query heads that share a key/value head are one long sequence of rows, (position, head in group) with the
    /// head fastest, so that K and V come in once for all of them.
    bool packed_heads = false;
    /// Devices that share the work, each with a far memory of its own and a link to the others.
    index_t devices = 1;
    std::vector<index_t> key_lengths{};  ///< keys that count in each batch; empty: k_len
    std::vector<unsigned char> blocks{}; ///< block mask, row-major, 0 hides; empty: none
    index_t block_rows = 0;              ///< rows and keys that one block covers
    index_t block_cols = 0;
    // What changes logits, and not what is moved: it shows in runs that compute.
    double softcap = 0;           ///< logit = softcap · tanh(logit / softcap); 0: off
    std::vector<double> slopes{}; ///< of ALiBi, one a query head or one a (batch, query head); empty: off
    std::vector<double> sinks{};  ///< logits of keys without a value, one a query head; empty: off

    /// q_len = k_len = n, head_dim = value_dim = d.
    [[nodiscard]] static workload square(index_t n, index_t d, index_t heads = 1, index_t batch = 1);

    [[nodiscard]] index_t group() const { return kv_heads > 0 ? q_heads / kv_heads : 0; }
    /// "softcap 50, ALiBi, sinks": what is on of these; empty if nothing is.
    [[nodiscard]] std::string features_text() const;
    [[nodiscard]] bool banded() const { return mask.left < unbounded || mask.right < unbounded || !blocks.empty(); }
    /// The form that core's walks take. It points into this workload.
    [[nodiscard]] core::problem problem() const;
    [[nodiscard]] core::tile_map tile_map() const;
    /// Throws invalid_argument, naming the field, its value and the limit: what a call of the library with these sizes would throw,
    /// and of what only simulated calls have (devices, blocks) the same kind of thing.
    void check() const;
};

/// (head places, rows, columns) of a tensor in far memory. A head place is batch · heads + head; of a partial result, it
/// is (split · batch + batch index) · heads + head.
[[nodiscard]] PANTILE_API std::array<index_t, 3> shape_of(tensor t, const workload& w, index_t key_splits = 1);

/// One head's worth of work, as an algorithm receives it.
struct head_task {
    index_t batch = 0;
    index_t q_place = 0;  ///< head place in q, out, lse …; with packed heads: that of the key/value head
    index_t kv_place = 0; ///< head place in k and v
    core::schedule plan;
    index_t row_scale = 1; ///< rows of q that one row of the schedule stands for (packed heads under a mask: the group)
    index_t group = 1;     ///< rows of q at one position (packed heads: the group)
    index_t first_head = 0; ///< query head of the first row; packed heads follow one another

    /// Rows of q, out, … for rows of the schedule.
    [[nodiscard]] core::span rows(core::span scheduled) const {
        return {scheduled.begin * row_scale, scheduled.end * row_scale};
    }
    /// Rows of k and v for keys of the schedule.
    [[nodiscard]] core::span keys(core::span scheduled) const {
        return {plan.seq.k_begin + scheduled.begin, plan.seq.k_begin + scheduled.end};
    }
    [[nodiscard]] index_t q_rows() const { return plan.seq.q_len * row_scale; }
    /// Query head of a row of q, and its position.
    [[nodiscard]] index_t head(index_t row) const { return first_head + row % group; }
    [[nodiscard]] index_t position(index_t row) const { return row / group; }
    /// Is key `key` of the schedule visible to row `row` of q?
    [[nodiscard]] bool visible(index_t row, index_t key) const { return plan.visible(row / row_scale, key); }
};

/// Calls `body` for each (batch, query head) of the workload, or each (batch, key/value head) when heads are packed.
/// Throws invalid_argument if packed heads are masked and the row tile is not a multiple of the group.
PANTILE_API void for_each_head(const workload& w, const tile_plan& plan,
                               const std::function<void(const head_task&)>& body);

} // namespace pantile::inline v0::simulator
