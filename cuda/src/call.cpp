#include "call.hpp"

#include <cstdint>
#include <string>

namespace pantile::cuda {
namespace {

core::call describe(const device_options& o) {
    core::call c;
    c.left = o.mask.left;
    c.right = o.mask.right;
    c.align = o.mask.align;
    c.offset = o.mask.offset;
    c.has_scale = o.scale.has_value();
    c.scale = o.scale.value_or(0.0);
    c.plan = {0, 0, o.key_splits};
    return c;
}

/// May rows be moved in pieces of 16 bytes?
bool in_vectors(const core::argument& a) {
    const auto fits = [&](index_t elements) { return elements * a.element_bytes % 16 == 0; };
    bool all = reinterpret_cast<std::uintptr_t>(a.data) % 16 == 0 && fits(a.extent[3]);
    for (int i = 0; i < 3; ++i) all = all && (a.extent[i] <= 1 || fits(a.stride[i]));
    return all;
}

bool repeats(const core::argument& a) {
    for (int i = 0; i < 3; ++i) {
        if (a.extent[i] > 1 && a.stride[i] <= 0) return true;
    }
    return false;
}

/// Memory that is no tensor, as an argument.
core::argument memory_of(const char* name, const void* data, index_t count, index_t element_bytes) {
    core::argument a;
    a.name = name;
    a.data = data;
    a.rank = 1;
    a.extent[0] = count;
    a.stride[0] = 1;
    a.element_bytes = element_bytes;
    return a;
}

/// Checks the outputs of a call against its inputs: out (batch, q heads, q length, value_dim), and rows. And the memory that
/// the options name against both.
void check_outputs(const core::problem& p, const core::argument (&inputs)[3], std::span<const core::argument> outputs,
                   const device_options& options) {
    core::check_query_shape(outputs[0], inputs[0], p.value_dim, "v.value_dim");
    for (const auto& t : outputs.subspan(1)) core::check_query_shape(t, inputs[0], 0, "");
    const core::argument read[4] = {inputs[0], inputs[1], inputs[2],
                                    memory_of("options.key_lengths", options.key_lengths,
                                              options.key_lengths != nullptr ? p.batch : 0, sizeof(index_t))};
    core::check_memory(outputs.data(), static_cast<int>(outputs.size()), read, 4);
    check_contiguous(outputs[0]);
    const core::argument workspace =
        memory_of("options.workspace", options.workspace.data(), static_cast<index_t>(options.workspace.size()), 1);
    const auto apart_from = [&](const core::argument& other) {
        if (!core::may_overlap(workspace, other)) return;
        throw invalid_argument(std::string("pantile: options.workspace overlaps ") + other.name +
                               ": work memory must hold nothing else");
    };
    for (const core::argument& t : read) apart_from(t);
    for (const core::argument& t : outputs) apart_from(t);
}

void* written(const core::argument& a) {
    return const_cast<void*>(
        a.data); // NOLINT(cppcoreguidelines-pro-type-const-cast): an output's view was of T, not const T
}

} // namespace

layout layout_of(const core::argument& a) { return {a.stride[0], a.stride[1], a.stride[2]}; }

void check_contiguous(const core::argument& a) {
    if (a.extent[3] <= 1 || a.empty() || a.stride[3] == 1) return;
    throw unsupported(std::string("pantile: the stride of ") + a.name + "'s last dim is " +
                      std::to_string(a.stride[3]) + ": the CUDA machine needs 1");
}

forward_arguments checked_arguments(const core::argument (&inputs)[3], element type, const device_options& options,
                                    std::span<const core::argument> outputs) {
    forward_arguments a;
    a.shape = core::check_inputs(inputs[0], inputs[1], inputs[2], describe(options));
    a.shape.key_lengths = options.key_lengths;
    a.scale = bytes_of(type) == 2        ? core::split_scale(a.shape.scale, 0, core::least_power<float>)
              : type == element::float64 ? core::split_scale<double>(a.shape.scale)
                                         : core::split_scale<float>(a.shape.scale);
    for (const auto& t : inputs) check_contiguous(t);
    if (!outputs.empty()) check_outputs(a.shape, inputs, outputs, options);
    a.q = inputs[0].data;
    a.k = inputs[1].data;
    a.v = inputs[2].data;
    a.q_layout = layout_of(inputs[0]);
    a.k_layout = layout_of(inputs[1]);
    a.v_layout = layout_of(inputs[2]);
    a.vectors = in_vectors(inputs[0]) && in_vectors(inputs[1]) && in_vectors(inputs[2]);
    return a;
}

call_facts facts_of(const core::argument (&inputs)[3], element type, const device_options& options,
                    cuda_kernel forced) {
    call_facts facts;
    facts.type = type;
    facts.vectors = in_vectors(inputs[0]) && in_vectors(inputs[1]) && in_vectors(inputs[2]);
    facts.repeats = repeats(inputs[0]) || repeats(inputs[1]) || repeats(inputs[2]);
    facts.key_splits = options.key_splits;
    facts.forced = forced;
    return facts;
}

void set_outputs(forward_arguments& a, out_kind kind, std::span<const core::argument> outputs) {
    const core::argument& out = outputs[0];
    a.kind = kind;
    a.out = written(out);
    a.out_layout = layout_of(out);
    a.out_vectors = in_vectors(out);
    a.out_boxes = kind == out_kind::same && a.out_vectors && !repeats(out);
    const bool partial = kind == out_kind::partial;
    if (partial) {
        a.max = written(outputs[1]);
        a.max_layout = layout_of(outputs[1]);
    }
    const std::size_t sums = partial ? 2 : 1;
    if (outputs.size() <= sums) return;
    a.lse = written(outputs[sums]);
    a.lse_layout = layout_of(outputs[sums]);
}

void set_plan(forward_arguments& a, const forward_plan& plan) {
    a.tiles = plan.tiles;
    a.heads_packed = plan.heads_packed;
    a.tail = plan.tail;
}

} // namespace pantile::cuda
