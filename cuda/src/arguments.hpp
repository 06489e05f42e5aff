#pragma once

#include <pantile/core/dtype.hpp>
#include <pantile/core/problem.hpp>
#include <pantile/core/scale.hpp>
#include <pantile/core/tile_plan.hpp>

#include "score_constants.hpp"

// What a kernel of this room receives: the checked problem, raw pointers and strides.

namespace pantile::inline v0::cuda {

/// Strides in elements from one batch, head and row to the next; the last dim is contiguous.
struct layout {
    index_t batch = 0;
    index_t head = 0;
    index_t row = 0;
    PANTILE_FN index_t place(index_t b, index_t h, index_t i) const { return b * batch + h * head + i * row; }
};

enum class out_kind : unsigned char {
    same,    ///< the inputs' type
    wide,    ///< fp32 for 16-bit inputs
    partial, ///< {max, sum, O} of one split, not normalised, fp32 (fp64 for fp64)
};

/// Forward attention of one call. Pointers are device memory, shape.key_lengths too.
struct forward_arguments {
    core::problem shape;
    /// shape.scale, split. fp32 and fp64 kernels multiply Q by its part, once a row tile. 16-bit ones have Q multiplied as
    /// it is, and the part, 1, -1 or 0, belongs to the scores.
    core::scale_split scale{};
    /// Of calls whose shape.features are arithmetic: scores go through `score` (fp64: score_f64), and scale.exponent is the factor of
    /// what comes out.
    bool scored = false;
    score_constants<float> score{};
    score_constants<double> score_f64{};
    tile_plan tiles;          ///< row_tile in packed rows: row_tile / heads_packed query positions of each packed head
    index_t heads_packed = 1; ///< query heads of one kv head that share a row tile (head fastest)
    int tail = 1;             ///< heads whose row tiles run together at the end (see item)
    /// Memory of unknown contents for a kernel that shares it among its blocks, and what the launch is known by there: 48
    /// bits that no other launch has. decode: the parts of its splits (decode_parts). sm90: its counter of row tiles
    /// (item_counter), or null: blocks take row tiles in turns.
    void* workspace = nullptr;
    std::uint64_t ticket = 0;
    const void* q = nullptr;
    const void* k = nullptr;
    const void* v = nullptr;
    void* out = nullptr;
    void* lse = nullptr; ///< may be null; with out_kind::partial the sums
    void* max = nullptr; ///< with out_kind::partial
    layout q_layout, k_layout, v_layout, out_layout, lse_layout, max_layout;
    index_t split_stride_out = 0;  ///< elements of out from one split to the next
    index_t split_stride_rows = 0; ///< elements of lse and max from one split to the next
    out_kind kind = out_kind::same;
    bool vectors = false;     ///< q, k, v: base, strides and dims are multiples of 16 bytes
    bool out_vectors = false; ///< the same of out
    bool out_boxes = false;   ///< and the copy engine can write it: its strides are positive
};

} // namespace pantile::inline v0::cuda
