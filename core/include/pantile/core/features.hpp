/// \file
/// What a call asks for beyond scaled products and a band: soft caps, ALiBi, sinks.
#pragma once

#include <pantile/core/macros.hpp>

namespace pantile::inline v0::core {

/// One number a query head, of fp32 or fp64; or one a (batch, query head). None by default.
struct head_numbers_ref {
    const float* narrow = nullptr;
    const double* wide = nullptr;
    index_t batch_stride = 0; ///< numbers from one batch to the next; 0: all batches share them

    [[nodiscard]] PANTILE_FN bool given() const { return narrow != nullptr || wide != nullptr; }
    [[nodiscard]] PANTILE_FN double operator()(index_t b, index_t h) const {
        const index_t at = b * batch_stride + h;
        return wide != nullptr ? wide[at] : static_cast<double>(narrow[at]);
    }
    [[nodiscard]] PANTILE_FN const void* data() const {
        return wide != nullptr ? static_cast<const void*>(wide) : narrow;
    }
    [[nodiscard]] PANTILE_FN index_t element_bytes() const { return wide != nullptr ? 8 : 4; }
    constexpr bool operator==(const head_numbers_ref&) const = default;
};

/// Order on a logit: scale → softcap → ALiBi → mask → softmax with its sink (core/score.hpp has the formulas).
struct features {
    double softcap = 0.0;    ///< 0: none
    head_numbers_ref slopes; ///< of ALiBi
    head_numbers_ref sinks;  ///< natural logits of keys without a value

    /// Is a logit more than a product times a scale? Sinks stand outside the loop over keys, and do not count.
    [[nodiscard]] PANTILE_FN bool arithmetic() const { return softcap > 0.0 || slopes.given(); }
};

} // namespace pantile::inline v0::core
