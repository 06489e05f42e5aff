/// \file
/// One call of the public page on tensors in any layout, and what it gave back. Outputs are poisoned before the call and
/// the memory around them is held untouched after it.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include <pantile/attention.hpp>

#include <support/generators.hpp>

namespace pantile::test {

/// How a call is made; the problem itself is an attention_case.
struct call_style {
    dtype type = dtype::fp32;
    bool wide_out = false; ///< fp32 out (and gradients) of 16-bit inputs
    layout q = layout::bhsd;
    layout k = layout::bhsd;
    layout v = layout::bhsd;
    layout out = layout::bhsd; ///< of out and dq
    layout lse = layout::bhsd;
    layout dout = layout::bhsd;
    layout dk = layout::bhsd; ///< of dk and dv
    isa set = isa::automatic;
    int threads = 0;
    bool narrow_heads = false; ///< slopes and sinks in fp32, else in fp64
    std::optional<tile_plan> plan;
    /// The caller's work memory: what explain asks for and no byte more, so far from an aligned address. -1: the library's.
    int workspace = -1;

    [[nodiscard]] dtype out_type() const { return wide_out ? compute_dtype(type) : type; }
};

struct call_results {
    attention_inputs inputs; ///< what the tensors really hold: broadcast layouts repeat values
    tensor<double> out, lse;
    tensor<double> dq, dk, dv;              ///< empty without backward
    tensor<double> dslopes, dsinks;         ///< (1, H, 1, 1), where the case has slopes, one a head, or sinks
    p_rounding rounding = p_rounding::none; ///< how the forward kernel rounds P
};

/// Refers to the numbers of `c`: slopes and sinks in fp64.
[[nodiscard]] options options_of(const attention_case& c, const call_style& s);

/// attention, and attention_backward if asked. Throws std::logic_error if memory around an output was written.
[[nodiscard]] call_results call_attention(const attention_case& c, const attention_inputs& in, const call_style& s,
                                          bool backward);

/// What attention_partial gives: its numbers, in the precision computed in. Throws like call_attention.
struct partial_results {
    tensor<double> out, max, sum;
};
[[nodiscard]] partial_results call_partial(const attention_case& c, const attention_inputs& in, const call_style& s);

/// The sets that this machine has.
[[nodiscard]] const std::vector<isa>& available_isas();
[[nodiscard]] const char* name(isa s);

[[nodiscard]] rc::Gen<call_style> any_style();
void showValue(const call_style& s, std::ostream& os); // NOLINT: the name that rapidcheck looks for

} // namespace pantile::test
