/// \file
/// Checks of a call's arguments, shared by every machine. All of them throw pantile::invalid_argument, before any work,
/// with a text that names the argument, its value and the limit.
#pragma once

#include <cstddef>

#include <pantile/core/features.hpp>
#include <pantile/core/macros.hpp>
#include <pantile/core/problem.hpp>
#include <pantile/core/tensor_ref.hpp>
#include <pantile/core/tile_plan.hpp>

namespace pantile::inline v0::core {

/// One argument in memory, by the name that messages give it. Rank 1: no tensor, but an array.
struct argument : tensor_ref {
    const char* name = "";
    index_t element_bytes = 0;
};

[[nodiscard]] inline argument describe(const char* name, const tensor_ref& tensor) {
    argument a;
    static_cast<tensor_ref&>(a) = tensor;
    a.name = name;
    a.element_bytes = bytes_of(tensor.type);
    return a;
}

/// Numbers of a call, one a query head.
struct described_heads {
    head_numbers_ref numbers{};
    index_t count = 0; ///< 0: none given; -1: one a query head
    memory where = memory::host;
};

/// The options that describe the problem, in plain form.
struct call {
    pantile::mask mask{};
    bool has_scale = false;
    double scale = 0;
    double softcap = 0;
    described_heads slopes{};
    described_heads sinks{};
    lengths_ref key_lengths{};
    index_t key_lengths_count = 0; ///< 0: none given; -1: one a batch
    memory key_lengths_in = memory::host;
    int threads = 0;
    tile_plan plan{}; ///< 0 in a field: to be chosen
    index_t key_splits = 0;
};

/// Reads the options of the public page, which this header does not know.
template <class Options>
[[nodiscard]] call describe(const Options& o) {
    call c;
    c.mask = o.mask;
    c.has_scale = o.scale.has_value();
    c.scale = o.scale.value_or(0.0);
    c.softcap = o.softcap;
    c.slopes = {o.slopes.ref(), o.slopes.size(), o.slopes.where()};
    c.sinks = {o.sinks.ref(), o.sinks.size(), o.sinks.where()};
    c.key_lengths = o.key_lengths.ref();
    c.key_lengths_count = o.key_lengths.size();
    c.key_lengths_in = o.key_lengths.where();
    c.threads = o.threads;
    c.plan = o.plan.value_or(tile_plan{0, 0, 0});
    c.key_splits = o.key_splits;
    return c;
}

/// The tile sizes that the options ask for, 0 in a field: to be chosen.
template <class Options>
[[nodiscard]] tile_plan requested_plan(const Options& o) {
    tile_plan plan = o.plan.value_or(tile_plan{0, 0, 0});
    if (o.key_splits != 0) plan.key_splits = o.key_splits;
    return plan;
}

/// Types, memory and shapes of q, k, v, and the options; returns the problem they describe. `here`: the memory of the room's
/// calls. Key lengths in device memory are not looked at.
[[nodiscard]] problem check_inputs(const argument& q, const argument& k, const argument& v, const call& options,
                                   memory here = memory::host);

/// `t`, a result of a call on q, must be of q's type, or else of the one computed in.
void check_result_type(const argument& t, const argument& q);
/// `t` must be of the type that a call on q's type computes in: lse, sums, partial results.
void check_computed_type(const argument& t, const argument& q);
/// `t` must be of the type of `model`.
void check_same_type(const argument& t, const argument& model);

/// Gradients of numbers that the call has, one a query head, in q's memory: fp32, or fp64; `numbers` is theirs. Returns them as an
/// array for check_memory; empty if they are not wanted.
[[nodiscard]] argument check_head_gradients(const char* name, const char* option, void* data, dtype type, memory where,
                                            index_t count, bool wanted, const head_numbers_ref& numbers,
                                            const problem& p, memory here);

/// A result by this name that a call cannot do without must be given.
void check_given(const char* name, bool given);

/// `t`, a result of a call: of q's type or the one computed in, with q's batch, heads and length, and v's dim.
void check_out(const argument& t, const argument& q, index_t value_dim);
/// `t`, one number a row of q: of the type that a call on q computes in, with q's batch, heads and length.
void check_rows(const argument& t, const argument& q);

/// `t` must have the shape of `model`.
void check_same_shape(const argument& t, const argument& model);

/// What a call's options name in memory; empty where they name nothing.
struct option_memory {
    lengths_ref key_lengths{}; ///< read while outputs are written, as slopes and sinks
    index_t key_lengths_count = 0;
    const std::byte* workspace = nullptr; ///< written while inputs are read
    index_t workspace_bytes = 0;
    head_numbers_ref slopes{};
    index_t slopes_count = 0;
    head_numbers_ref sinks{};
    index_t sinks_count = 0;
};

/// Of options that have been checked for the problem.
template <class Options>
[[nodiscard]] option_memory memory_of(const Options& o, const problem& p) {
    const features& f = p.features;
    option_memory m;
    m.key_lengths = p.key_lengths;
    m.key_lengths_count = p.key_lengths.given() ? p.batch : 0;
    m.workspace = o.workspace.data();
    m.workspace_bytes = static_cast<index_t>(o.workspace.size());
    m.slopes = f.slopes;
    if (f.slopes.given()) m.slopes_count = f.slopes.batch_stride != 0 ? p.batch * p.q_heads : p.q_heads;
    m.sinks = f.sinks;
    if (f.sinks.given()) m.sinks_count = p.q_heads;
    return m;
}

/// Each output must have strides under which its elements are distinct, and share no memory with another output or an
/// input. Tensors interleaved in one buffer (packed q, k, v) are told apart if their strides share a period. Key lengths,
/// slopes and sinks are inputs; work memory must share nothing with any argument.
void check_memory(const argument* outputs, int output_count, const argument* inputs, int input_count,
                  const option_memory& options = {});

/// A partial result, by the names that messages give its tensors.
struct described_part {
    argument out, max, sum;
};

/// The arguments of merge, which lie `here`: fp32 or fp64, of one shape; `part` may be the memory of `a`, laid out alike.
void check_merge(const described_part& a, const described_part& b, const described_part& part, memory here);
/// The arguments of finish, which lie `here`; `out` may be the memory of part.out, laid out alike.
void check_finish(const described_part& part, const argument& out, const argument& lse, memory here);

/// Could two tensors share a byte? False only where it is proven that they do not.
[[nodiscard]] bool may_overlap(const argument& a, const argument& b);

} // namespace pantile::inline v0::core
