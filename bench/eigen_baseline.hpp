/// \file
/// The formula written out with Eigen, three passes over a score matrix: what a numerical programmer would write without
/// a fused kernel.
#pragma once

#include <cstdint>

namespace bench {

/// out = softmax(q·kᵀ / sqrt(dim)) · v for dense (heads, length, dim) tensors in fp32, one head a thread at a time.
/// Compiled for this very processor (-march=native).
void eigen_attention(const float* q, const float* k, const float* v, float* out, std::int64_t heads,
                     std::int64_t length, std::int64_t dim, int threads);

} // namespace bench
