/// \file
/// tanh of plain numbers, for score functions on any machine.
#pragma once

#include <cmath>

#include <pantile/core/macros.hpp>

namespace pantile::inline v0::core::score {

/// For |x| <= 1, within 1 unit in the last place: x + x·u·q(u), u = x², q of degree 6 (minimax in relative error, 4.7e-9; each
/// coefficient rounded to fp32 and the rest fitted anew). No division and no exponential: 10 operations.
PANTILE_FN float tanh_within_one(float x) {
    const float u = x * x;
    float q = -0x1.77d8d6p-12F;
    q = std::fma(q, u, 0x1.2da41ep-9F);
    q = std::fma(q, u, -0x1.0460f4p-7F);
    q = std::fma(q, u, 0x1.6009dcp-6F);
    q = std::fma(q, u, -0x1.b9623ep-5F);
    q = std::fma(q, u, 0x1.110be4p-3F);
    q = std::fma(q, u, -0x1.55553cp-2F);
    return std::fma(q * u, x, x);
}

PANTILE_FN float tanh(float x) { return std::tanh(x); }
PANTILE_FN double tanh(double x) { return std::tanh(x); }

} // namespace pantile::inline v0::core::score
