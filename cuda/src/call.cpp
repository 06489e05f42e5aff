#include "call.hpp"

#include <cstdint>
#include <string>

namespace pantile::inline v0::cuda {
namespace {

/// The parts of the keys that the options ask for; 0: to be chosen. Throws unsupported for other tiles than the compiled ones.
index_t requested_splits(const options& o) {
    const tile_plan plan = core::requested_plan(o);
    if (plan.row_tile > 0 || plan.key_tile > 0) {
        throw unsupported("pantile: options.plan is {" + std::to_string(plan.row_tile) + ", " +
                          std::to_string(plan.key_tile) + ", " + std::to_string(plan.key_splits) +
                          "}: the CUDA machine's row and key tiles are compiled in; only key_splits may be named");
    }
    return plan.key_splits;
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

/// Checks the outputs of a call against its inputs: out (batch, q heads, q length, value_dim), and rows. And the memory that
/// the options name against both.
void check_outputs(const core::problem& p, const core::argument (&inputs)[3], std::span<const core::argument> outputs,
                   const options& o) {
    core::check_out(outputs[0], inputs[0], p.value_dim);
    for (const auto& t : outputs.subspan(1)) core::check_rows(t, inputs[0]);
    core::check_memory(outputs.data(), static_cast<int>(outputs.size()), inputs, 3, core::memory_of(o, p));
    check_contiguous(outputs[0]);
}

} // namespace

layout layout_of(const core::argument& a) { return {a.stride[0], a.stride[1], a.stride[2]}; }

void check_contiguous(const core::argument& a) {
    if (a.extent[3] <= 1 || a.empty() || a.stride[3] == 1) return;
    throw unsupported(std::string("pantile: the stride of ") + a.name + "'s last dim is " +
                      std::to_string(a.stride[3]) + ": the CUDA machine needs 1");
}

forward_arguments checked_arguments(const core::argument (&inputs)[3], const options& o,
                                    std::span<const core::argument> outputs) {
    forward_arguments a;
    a.shape = core::check_inputs(inputs[0], inputs[1], inputs[2], core::describe(o), memory::device);
    const dtype type = inputs[0].type;
    a.scale = bytes_of(type) == 2   ? core::split_scale(a.shape.scale, 0, core::least_power<float>)
              : type == dtype::fp64 ? core::split_scale<double>(a.shape.scale)
                                    : core::split_scale<float>(a.shape.scale);
    const core::features& features = a.shape.features;
    if (features.arithmetic()) {
        a.scored = true;
        if (type == dtype::fp64) {
            a.score_f64 = score_constants<double>::of(features, a.scale.exponent);
        } else {
            a.score = score_constants<float>::of(features, a.scale.exponent);
        }
    }
    for (const auto& t : inputs) check_contiguous(t);
    if (!outputs.empty()) check_outputs(a.shape, inputs, outputs, o);
    a.q = inputs[0].data;
    a.k = inputs[1].data;
    a.v = inputs[2].data;
    a.q_layout = layout_of(inputs[0]);
    a.k_layout = layout_of(inputs[1]);
    a.v_layout = layout_of(inputs[2]);
    a.vectors = in_vectors(inputs[0]) && in_vectors(inputs[1]) && in_vectors(inputs[2]);
    return a;
}

call_facts facts_of(const core::argument (&inputs)[3], const options& o, cuda_kernel forced) {
    call_facts facts;
    facts.type = inputs[0].type;
    facts.vectors = in_vectors(inputs[0]) && in_vectors(inputs[1]) && in_vectors(inputs[2]);
    facts.repeats = repeats(inputs[0]) || repeats(inputs[1]) || repeats(inputs[2]);
    facts.key_splits = requested_splits(o);
    facts.forced = forced;
    return facts;
}

void set_outputs(forward_arguments& a, out_kind kind, std::span<const core::argument> outputs) {
    const core::argument& out = outputs[0];
    a.kind = kind;
    a.out = out.data;
    a.out_layout = layout_of(out);
    a.out_vectors = in_vectors(out);
    a.out_boxes = kind == out_kind::same && a.out_vectors && !repeats(out);
    const bool partial = kind == out_kind::partial;
    if (partial) {
        a.max = outputs[1].data;
        a.max_layout = layout_of(outputs[1]);
    }
    const std::size_t sums = partial ? 2 : 1;
    if (outputs.size() <= sums) return;
    a.lse = outputs[sums].data;
    a.lse_layout = layout_of(outputs[sums]);
}

void set_plan(forward_arguments& a, const forward_plan& plan) {
    a.tiles = plan.tiles;
    a.heads_packed = plan.heads_packed;
    a.tail = plan.tail;
}

} // namespace pantile::inline v0::cuda
