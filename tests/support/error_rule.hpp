/// \file
/// The error rule, as one check: how far a result may lie from the exact one. docs/numerics.md derives it.
///
/// With u the unit roundoff of the precision computed in and u_out that of the output, a row of out may be off by
///     2 · (largest error of the plain formula in that row) + 4·u_out·max|v| + u·(noise + drift),
/// and a row of a gradient by 3 · (the plain formula's error) + u·(noise + drift), where drift holds what the forward
/// call's own error and abs(lse)·u do to it. noise is four standard deviations of the rounding of scores, exponentials
/// and sums; drift is what an error common to a row or to all logits does.
///
/// A result that is computed in fp32 and stored in 16 bits is held to more: each element to the same bound with u_out = u and
/// the plain formula as computed, plus half a unit in the element's last place for the one rounding at the store.
#pragma once

#include <string>

#include <pantile/core/dtype.hpp>
#include <support/formula.hpp>

namespace pantile::test {

/// The types judged are those that machines take: fp8 is none.
using pantile::dtype;
[[nodiscard]] const char* name(dtype t);
[[nodiscard]] double unit_roundoff(dtype t);       ///< half the distance from 1 to the next number
[[nodiscard]] double smallest(dtype t);            ///< smallest subnormal
[[nodiscard]] double smallest_normal(dtype t);     ///< below it probabilities may become 0
[[nodiscard]] double half_step(double x, dtype t); ///< half a unit in the last place of `x`, a number of type t
[[nodiscard]] dtype compute_dtype(dtype t);        ///< f64 for f64, else f32
[[nodiscard]] double rounded(double x, dtype t);
[[nodiscard]] tensor<double> rounded(const tensor<double>& x, dtype t);

/// What a tensor should be, and how far each of its rows may be off. Where numbers are computed in one type and stored in a
/// shorter one, `computed` is what a row may be off by before it is stored: an element lies within that and half a unit in
/// its own last place, so that a store which cuts off instead of rounding is seen.
struct row_bounds {
    tensor<double> expected;
    tensor<double> allowed;        ///< (…, 1): one number a row
    tensor<double> computed{};     ///< the same, or empty: stored as computed, or P was rounded as well
    dtype stored_as = dtype::fp64; ///< with `computed`: the type of the elements
};

struct forward_bounds {
    row_bounds out, lse;
};
struct backward_bounds {
    row_bounds dq, dk, dv;
    row_bounds dslopes{}, dsinks{}; ///< (1 or B, H, 1, 1), in the precision computed in; empty where the case has none
};

/// How a machine adds up the products of a score: every sum rounded to nearest; or 16 products at a time and the sum cut off
/// towards zero, as the 16-bit matrix units of NVIDIA's GPUs do (docs/numerics.md, "Sums that are cut off"); or rounded to
/// nearest, but each product made of three tf32 products (docs/numerics.md, "Products of three"), those of P and V as well.
enum class score_sums : unsigned char { rounded, cut_off, three_tf32 };
inline constexpr double three_tf32_error = 5.0; ///< four standard deviations of a product, in units of its roundoff
inline constexpr index_t cut_off_step = 16;     ///< products from one cut to the next

/// Bounds for a call whose inputs (exact in `in`) have type `t` and whose output has type `out`.
[[nodiscard]] forward_bounds bound_forward(const attention_case& c, const attention_inputs& in, dtype t, dtype out,
                                           p_rounding p = p_rounding::none, score_sums sums = score_sums::rounded);
/// Bounds for gradients of type `gradient` computed in compute_dtype(t), from a forward call's lse in that
/// type and out in type t, each as far off as its own bound allows (`p`: how that call rounded P).
[[nodiscard]] backward_bounds bound_backward(const attention_case& c, const attention_inputs& in, dtype t,
                                             dtype gradient, p_rounding p = p_rounding::none);

struct verdict {
    bool ok = true;
    double worst = 0.0; ///< largest error / allowed
    std::string text;   ///< the worst element, its error and what is allowed
    explicit operator bool() const { return ok; }
};

/// Holds every element against its row's bound. Infinities and NaN must be where they are expected.
[[nodiscard]] verdict within(const tensor<double>& actual, const row_bounds& bounds, const std::string& what);
/// Both results of a forward call.
[[nodiscard]] verdict within(const tensor<double>& out, const tensor<double>& lse, const forward_bounds& bounds);

} // namespace pantile::test
