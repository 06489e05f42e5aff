/// \file
/// What an instruction set's object file is handed for a backward pass: plain data, no views and no containers, so that
/// nothing untagged is compiled there.
#pragma once

#include <cstddef>

#include <pantile/core/problem.hpp>
#include <pantile/core/tile_plan.hpp>

#include "../tensor_ref.hpp"

namespace pantile::cpu::backward {

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
    tensor_ref q, k, v, out, dout;
    row_ref lse;
    tensor_ref dq, dk, dv;
    bool accumulate = false;
    /// key_chunks > 1: [chunk][batch][q head] of padded_rows · head_dim numbers of the compute precision, in panels.
    void* dq_partials = nullptr;

    PANTILE_FN index_t work_items() const { return problem.batch * problem.kv_heads * key_chunks; }
};

/// The backward kernels of one compute precision.
struct kernels {
    index_t panel_rows = 1; ///< query rows in a panel: row tiles are multiples of it
    index_t block_keys = 1; ///< keys in a register block
    /// Bytes of scratch that one thread needs; scratch is aligned to 64 bytes.
    index_t (*scratch_bytes)(const call&) = nullptr;
    /// Work item `number`.
    void (*run)(const call&, index_t number, std::byte* scratch) = nullptr;
    /// With several chunks, after all work items: panel `number` of dQ, counted (batch, query head, panel).
    void (*reduce)(const call&, index_t number, std::byte* scratch) = nullptr;
};

/// Keys whose P and dS exist at a time: with 64 rows both fit the L1 cache.
inline constexpr index_t strip_keys = 96;

/// Sizes, in numbers, of the scratch of one thread. W = panel width (rows in SIMD lanes), n = lanes.
///
///     qt, dot, dqt   Qᵀ, dOᵀ, dQᵀ of one query head          [panel][dim][W]
///     q, dout        the same in rows, where they cannot be read in place   [row][dim padded to n]
///     k, v           one key tile in rows, likewise            [key][dim]
///     dk, dv         the chunk's gradients                     [key][dim padded to n]
///     lse2, delta    lse · log2(e) and rowsum(dO ∘ O)          [row]
///     p, ds          score tiles                               [key of a strip][row tile]
///     rows_out       one panel of dQ, summed and in rows       2 x [W][dim]
struct scratch_layout {
    index_t qt = 0, dot = 0, dqt = 0, q = 0, dout = 0, k = 0, v = 0, dk = 0, dv = 0, lse2 = 0, delta = 0, p = 0, ds = 0;
    index_t rows_out = 0;
    index_t size = 0;             ///< numbers altogether
    index_t padded_rows = 0;      ///< q_len rounded up to W
    index_t padded_head_dim = 0;  ///< rounded up to n
    index_t padded_value_dim = 0; ///< rounded up to n

    scratch_layout() = default;
    PANTILE_FN scratch_layout(const core::problem& problem, const tile_plan& plan, index_t chunk_keys, index_t panel,
                              index_t lanes)
        : padded_rows(core::round_up(problem.q_len, panel)), padded_head_dim(core::round_up(problem.head_dim, lanes)),
          padded_value_dim(core::round_up(problem.value_dim, lanes)) {
        const index_t d = problem.head_dim;
        const index_t e = problem.value_dim;
        qt = take(padded_rows * d);
        dot = take(padded_rows * e);
        dqt = take(padded_rows * d);
        q = take(padded_rows * padded_head_dim);
        dout = take(padded_rows * padded_value_dim);
        k = take(plan.key_tile * d);
        v = take(plan.key_tile * e);
        dk = take(chunk_keys * padded_head_dim);
        dv = take(chunk_keys * padded_value_dim);
        lse2 = take(padded_rows);
        delta = take(padded_rows);
        p = take(core::min(plan.key_tile, strip_keys) * plan.row_tile);
        ds = take(core::min(plan.key_tile, strip_keys) * plan.row_tile);
        rows_out = take(2 * panel * d);
    }

  private:
    /// Each part begins at a multiple of 64 numbers: a cache line, whatever the type. A line more keeps equal parts of
    /// different arrays out of the same cache sets.
    PANTILE_FN index_t take(index_t numbers) {
        const index_t begin = size;
        size += core::round_up(numbers, 64) + 64;
        return begin;
    }
};

} // namespace pantile::cpu::backward
