/// \file
/// The checked form of a call, as every machine receives it.
#pragma once

#include <pantile/core/band.hpp>
#include <pantile/core/features.hpp>
#include <pantile/core/macros.hpp>
#include <pantile/core/mask.hpp>
#include <pantile/core/tensor_ref.hpp>

namespace pantile::inline v0::core {

/// One run of query rows against one run of keys. Whole tensors, packed (variable-length) batches, splits of the keys,
/// ring steps and caches are all sequences; a walk never sees (batch, q_len, k_len).
/// q_begin and k_begin place the run in its tensor; rows and keys are counted from 0 inside it.
struct sequence {
    index_t q_begin = 0;
    index_t q_len = 0;
    index_t k_begin = 0;
    index_t k_len = 0;
    index_t offset = 0; ///< row i stands at key i + offset (see band)

    /// The same rows against the keys [k.begin, k.end) only: a split, a ring step, a page.
    PANTILE_FN sequence part(span k) const { return {q_begin, q_len, k_begin + k.begin, k.size(), offset - k.begin}; }
};

/// Sizes and mask of one call: q is (batch, q_heads, q_len, head_dim), k (batch, kv_heads, k_len, head_dim),
/// v (batch, kv_heads, k_len, value_dim).
struct problem {
    index_t batch = 0;
    index_t q_heads = 0;
    index_t kv_heads = 0;
    index_t q_len = 0;
    index_t k_len = 0;
    index_t head_dim = 0;
    index_t value_dim = 0;
    pantile::mask mask{};
    lengths_ref key_lengths{}; ///< batch entries, or none: every batch has k_len keys
    double scale = 1.0;        ///< logit = scale · q·k
    core::features features{}; ///< what becomes of a logit before its softmax

    /// Query heads that share one key/value head (GQA).
    PANTILE_FN index_t group() const { return kv_heads > 0 ? q_heads / kv_heads : 0; }
    PANTILE_FN index_t kv_head(index_t q_head) const { return q_head / group(); }

    /// Lengths in a GPU's memory are not checked before a launch: one that is out of range means the nearest that is not.
    PANTILE_FN index_t keys_of(index_t b) const {
        return key_lengths.given() ? clamp(key_lengths[b], 0, k_len) : k_len;
    }
    PANTILE_FN sequence sequence_of(index_t b) const {
        const index_t keys = keys_of(b);
        const index_t off = mask.align == alignment::top_left       ? 0
                            : mask.align == alignment::bottom_right ? keys - q_len
                                                                    : mask.offset;
        return {0, q_len, 0, keys, off};
    }
    PANTILE_FN band band_of(const sequence& s) const { return {mask.left, mask.right, s.offset, s.k_len}; }
};

} // namespace pantile::inline v0::core
