/// \file
/// The backward pass of FlashAttention-2 (arXiv 2307.08691, Algorithm 2) on a processor.
#pragma once

#include <pantile/simulator/processor.hpp>

namespace pantile::inline v0::simulator {

/// Where dQ is summed over key tiles.
enum class dq_way : unsigned char {
    printed,    ///< in dq itself; O comes in with every row tile, as Algorithm 2 prints it
    accumulate, ///< in a separate fp32 dq_sum, converted to dq at the end
    recompute,  ///< near: a second pass with row tiles outside computes it
};

/// delta = rowsum(dO ∘ O), then the passes that `way` asks for.
void fa2_backward(processor& p, const workload& w, const tile_plan& plan, dq_way way);

} // namespace pantile::inline v0::simulator
