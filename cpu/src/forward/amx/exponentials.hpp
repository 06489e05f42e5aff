/// \file
/// The vector half of a panel's work: scores to probabilities, in small steps that are put between the matrix unit's
/// instructions, so that both units of the core are busy.
#pragma once

#include "../../micro/exp2.hpp"
#include "panel.hpp"

namespace pantile::inline v0::cpu::amx {

/// scores -> P = 2^(score·c - reference) for one panel, and the sums of the unrounded P. A step takes two keys of all 32
/// queries and writes their P, rounded to bf16, as pairs: the second operand of P·V.
template <class Unit>
class exponentials {
    using V = typename Unit::vector;
    static constexpr int vectors = panel_rows / lanes<V>;

  public:
    /// `blocks` blocks of keys from `scores` on, their P from `p` on; `slots` calls of advance will follow.
    PANTILE_INLINE exponentials(const float* scores, bfloat16* p, index_t blocks, float exponent_scale,
                                const float* reference, index_t slots)
        : row_(scores), end_(scores + blocks * block_keys * score_stride), p_(p),
          rate_(core::min(blocks * block_keys / 2, slots)), slots_(slots), scale_(exponent_scale) {
        unroll<vectors>([&](auto v) PANTILE_INLINE {
            reference_[v] = V::load_aligned(reference + v * lanes<V>);
            even_[v] = V(0.0F);
            odd_[v] = V(0.0F);
        });
    }

    /// A slot between two matrix instructions: does a step in `pairs` of `slots` calls, evenly.
    PANTILE_INLINE void advance() {
        due_ += rate_;
        if (due_ >= slots_) {
            due_ -= slots_;
            step();
        }
    }

    /// All steps that are left; then the sums, one a query.
    PANTILE_INLINE void finish(float* sums) {
        while (row_ != end_) step();
        unroll<vectors>([&](auto v) PANTILE_INLINE { (even_[v] + odd_[v]).store_aligned(sums + v * lanes<V>); });
    }

  private:
    PANTILE_INLINE void step() {
        unroll<vectors>([&](auto v) PANTILE_INLINE {
            const float* at = row_ + v * lanes<V>;
            constexpr index_t query = v * lanes<V>;
            const V even = cpu::power_of_two(xsimd::fms(V::load_aligned(at), scale_, reference_[v]));
            const V odd = cpu::power_of_two(xsimd::fms(V::load_aligned(at + score_stride), scale_, reference_[v]));
            even_[v] = even_[v] + even;
            odd_[v] = odd_[v] + odd;
            Unit::store_pairs(even, odd, p_ + query / 16 * tile_numbers + query % 16 * 2);
        });
        row_ += 2 * score_stride;
        p_ += 32;
        if (++pair_ % (block_keys / 2) == 0) p_ += tile_numbers; // past the block's second tile
    }

    const float* row_;
    const float* end_;
    bfloat16* p_;
    index_t pair_ = 0;
    index_t rate_;
    index_t slots_;
    index_t due_ = 0;
    V scale_;
    V reference_[vectors];
    V even_[vectors];
    V odd_[vectors];
};

/// No vector work to do.
struct idle {
    PANTILE_INLINE void advance() const {}
};

} // namespace pantile::inline v0::cpu::amx
