/// \file
/// What an instruction set's object file is handed for a backward pass: plain data, no views and no containers, so that
/// nothing untagged is compiled there.
#pragma once

#include <cstddef>

#include <pantile/core/problem.hpp>
#include <pantile/core/tile_plan.hpp>

#include "../micro/elements.hpp"

namespace pantile::inline v0::cpu::backward {

/// One backward pass, checked.
///
/// The keys are cut into `key_chunks` runs of `chunk_keys` keys, by shape alone. A work item is (batch, kv head, chunk): it
/// owns dK and dV of its keys, summed over the query heads of the group, and adds its share of dQ to a partial of its
/// own; with one chunk that partial is dQ.
struct call {
    core::problem problem;
    tile_plan plan; ///< row_tile: a multiple of the panel; key_tile
    index_t key_chunks = 1;
    index_t chunk_keys = 0;
    tensor_ref q, k, v, out, dout, lse;
    tensor_ref dq, dk, dv;
    bool accumulate = false;
    /// key_chunks > 1: what the chunks share, see shared_layout.
    void* shared = nullptr;
    /// Σ dS·|distance| of each work item and head of its group, [item][head]; null: dslopes is not wanted.
    double* slope_sums = nullptr;

    PANTILE_FN index_t work_items() const { return problem.batch * problem.kv_heads * key_chunks; }
};

/// The backward kernels of one compute precision.
struct kernels {
    index_t panel_rows = 1; ///< query rows in a panel: row tiles are multiples of it
    index_t block_keys = 1; ///< keys in a register block
    /// Bytes of scratch that one thread needs; scratch is aligned to 64 bytes.
    index_t (*scratch_bytes)(const call&) = nullptr;
    /// Bytes that all threads share: 0 with one chunk.
    index_t (*shared_bytes)(const call&) = nullptr;
    /// With several chunks, before all work items: panel `number` of Q and dO, counted (batch, query head, panel).
    void (*prepare)(const call&, index_t number, std::byte* scratch) = nullptr;
    /// Work item `number`.
    void (*run)(const call&, index_t number, std::byte* scratch) = nullptr;
    /// With several chunks, after all work items: panel `number` of dQ, counted alike.
    void (*reduce)(const call&, index_t number, std::byte* scratch) = nullptr;
};

/// Keys whose P and dS exist at a time: with 64 rows both fit the L1 cache.
inline constexpr index_t strip_keys = 96;

/// Numbers handed out one part after the other. Each part begins at a multiple of 64 numbers: a cache line, whatever the
/// type. A line more keeps equal parts of different arrays out of the same cache sets.
struct parts {
    index_t size = 0;
    PANTILE_FN index_t take(index_t numbers) {
        const index_t begin = size;
        size += core::round_up(numbers, 64) + 64;
        return begin;
    }
};

/// Can rows of `dims` numbers of `number_bytes` be read where they lie? With whole vectors of `lanes` numbers, if `lanes`
/// is not 1.
PANTILE_FN bool rows_in_place(const tensor_ref& t, index_t dims, index_t lanes, index_t number_bytes) {
    const dtype own = number_bytes == 8 ? dtype::fp64 : dtype::fp32;
    return t.type == own && t.stride[3] == 1 && dims % lanes == 0 && !rows_far_apart(t.stride[2], number_bytes);
}

/// One query head's rows as the products want them, in numbers. W = panel width (rows in SIMD lanes), n = lanes.
///
///     qt, dot        Qᵀ, dOᵀ                                        [panel][dim][W]
///     q, dout        in rows, used where they cannot be read in place   [row][dim padded to n]
///     reference, log_sum, delta   see head_data                     [row]
struct head_layout {
    index_t qt = 0, dot = 0, q = 0, dout = 0, reference = 0, log_sum = 0, delta = 0;
    index_t size = 0;
    index_t padded_rows = 0;      ///< q_len rounded up to W
    index_t padded_head_dim = 0;  ///< rounded up to n
    index_t padded_value_dim = 0; ///< rounded up to n

    PANTILE_FN head_layout(const core::problem& problem, index_t panel, index_t lanes)
        : padded_rows(core::round_up(problem.q_len, panel)), padded_head_dim(core::round_up(problem.head_dim, lanes)),
          padded_value_dim(core::round_up(problem.value_dim, lanes)) {
        parts all;
        qt = all.take(padded_rows * problem.head_dim);
        dot = all.take(padded_rows * problem.value_dim);
        q = all.take(padded_rows * padded_head_dim);
        dout = all.take(padded_rows * padded_value_dim);
        reference = all.take(padded_rows);
        log_sum = all.take(padded_rows);
        delta = all.take(padded_rows);
        size = all.size;
    }
};

/// The scratch of one thread, in numbers.
///
///     head, dqt      with one chunk: the query head at work, and its dQᵀ   [panel][dim][W]
///     k, v           one key tile in rows, where it cannot be read in place   [key][dim]
///     dk, dv         the chunk's gradients                     [key][dim padded to n]
///     p, ds          score tiles                               [key of a strip][row tile]
///     derivative     with a soft cap: of each exponent by its score   [key of a strip][row tile]
///     rows_out       one panel of dQ, summed and in rows       2 x [W][dim]
///     exact          dK and dV of one key in double             [dim]
struct scratch_layout {
    head_layout rows;
    index_t head = 0, dqt = 0, k = 0, v = 0, dk = 0, dv = 0, p = 0, ds = 0, derivative = 0, rows_out = 0, exact = 0;
    index_t size = 0;

    PANTILE_FN scratch_layout(const call& c, index_t panel, index_t lanes) : rows(c.problem, panel, lanes) {
        const index_t d = c.problem.head_dim;
        const index_t e = c.problem.value_dim;
        parts all;
        if (c.key_chunks == 1) {
            head = all.take(rows.size);
            dqt = all.take(rows.padded_rows * d);
        }
        k = all.take(c.plan.key_tile * d);
        v = all.take(c.plan.key_tile * e);
        dk = all.take(c.chunk_keys * rows.padded_head_dim);
        dv = all.take(c.chunk_keys * rows.padded_value_dim);
        p = all.take(core::min(c.plan.key_tile, strip_keys) * c.plan.row_tile);
        ds = all.take(core::min(c.plan.key_tile, strip_keys) * c.plan.row_tile);
        if (c.problem.features.softcap > 0.0) {
            derivative = all.take(core::min(c.plan.key_tile, strip_keys) * c.plan.row_tile);
        }
        rows_out = all.take(2 * panel * d);
        exact = all.take(2 * (d + e)); // a double is at most two numbers
        size = all.size;
    }
};

/// What the chunks share, in numbers: each head's prepared rows, which all of its chunks read, and for each chunk a dQᵀ of
/// its own.
struct shared_layout {
    head_layout rows;
    index_t heads; ///< batch · query heads
    index_t dqt;   ///< numbers of one chunk's dQᵀ of one head, in panels
    index_t size = 0;

    PANTILE_FN shared_layout(const call& c, index_t panel, index_t lanes)
        : rows(c.problem, panel, lanes), heads(c.problem.batch * c.problem.q_heads),
          dqt(core::round_up(rows.padded_rows * c.problem.head_dim, 64)) {
        if (c.key_chunks > 1) size = heads * (rows.size + c.key_chunks * dqt);
    }
    /// Where head `h`, counted over the batches, begins.
    [[nodiscard]] PANTILE_FN index_t head(index_t h) const { return h * rows.size; }
    [[nodiscard]] PANTILE_FN index_t partial(index_t chunk, index_t h) const {
        return heads * rows.size + (chunk * heads + h) * dqt;
    }
};

} // namespace pantile::inline v0::cpu::backward
