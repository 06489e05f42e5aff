#include "call.hpp"
#include "kernels.hpp"

#include <algorithm>
#include <string>

// merge and finish: partial results in device memory.

namespace pantile::inline v0 {
namespace cuda {
namespace {

/// The three tensors of a partial result, described and checked against the shape of `model`.
struct described_part {
    core::argument tensors[3];
    part_arguments arguments;
};

described_part describe_part(const char* out, const char* max, const char* sum, const partial_ref& part) {
    described_part d{{core::describe(out, part.out), core::describe(max, part.max), core::describe(sum, part.sum)}, {}};
    d.arguments.out = part.out.data;
    d.arguments.max = part.max.data;
    d.arguments.sum = part.sum.data;
    d.arguments.out_layout = layout_of(d.tensors[0]);
    d.arguments.max_layout = layout_of(d.tensors[1]);
    d.arguments.sum_layout = layout_of(d.tensors[2]);
    return d;
}

/// Device memory, fp32 or fp64, of the type and the shape of `model`.
void check_part(const described_part& part, const core::argument& model) {
    core::check_computed_number(part.tensors[0]);
    core::check_same_type(part.tensors[0], model);
    core::check_same_shape(part.tensors[0], model);
    core::check_rows(part.tensors[1], model);
    core::check_rows(part.tensors[2], model);
    check_contiguous(part.tensors[0]);
}

/// Rows of a tensor, which must be few enough for one block each.
index_t rows_of(const core::argument& t) {
    const index_t rows = t.extent[0] * t.extent[1] * t.extent[2];
    if (rows > 0x7fffffff) {
        throw unsupported("pantile: the call has " + std::to_string(rows) +
                          " rows; the CUDA machine merges up to 2^31 - 1");
    }
    return rows;
}

/// Are all three tensors the same memory, laid out alike?
bool same_memory(const described_part& a, const described_part& b) {
    for (int i = 0; i < 3; ++i) {
        const core::argument& x = a.tensors[i];
        const core::argument& y = b.tensors[i];
        if (x.data != y.data || !std::equal(x.stride, x.stride + x.rank, y.stride)) return false;
    }
    return true;
}

} // namespace
} // namespace cuda

void erased::merge(const partial_ref& a, const partial_ref& b, const partial_ref& part, cudaStream_t stream) {
    const cuda::described_part from_a = cuda::describe_part("a.out", "a.max", "a.sum", a);
    const cuda::described_part from_b = cuda::describe_part("b.out", "b.max", "b.sum", b);
    const cuda::described_part to = cuda::describe_part("part.out", "part.max", "part.sum", part);
    const core::argument& model = from_a.tensors[0];
    core::check_memory_is(model, memory::device);
    for (const cuda::described_part* p : {&from_a, &from_b, &to}) cuda::check_part(*p, model);
    if (!cuda::same_memory(from_a, to)) core::check_memory(to.tensors, 3, from_a.tensors, 3);
    core::check_memory(to.tensors, 3, from_b.tensors, 3);
    if (cuda::rows_of(model) == 0) return;
    cuda::launch_merge(from_a.arguments, from_b.arguments, to.arguments, model.extent[0], model.extent[1],
                       model.extent[2], model.extent[3], model.type, stream);
}

void erased::finish(const partial_ref& part, const results& to, cudaStream_t stream) {
    const cuda::described_part from = cuda::describe_part("part.out", "part.max", "part.sum", part);
    const core::argument& model = from.tensors[0];
    core::check_memory_is(model, memory::device);
    cuda::check_part(from, model);
    const core::argument outputs[2] = {core::describe("out", to.out), core::describe("lse", to.lse)};
    core::check_given("out", to.out.wanted);
    core::check_given("lse", to.lse.wanted);
    core::check_same_type(outputs[0], model);
    core::check_same_shape(outputs[0], model);
    core::check_rows(outputs[1], model);
    cuda::check_contiguous(outputs[0]);
    const bool in_place =
        model.data == outputs[0].data && std::equal(model.stride, model.stride + 4, outputs[0].stride);
    core::check_memory(outputs, 2, from.tensors + 1, 2);
    if (!in_place) core::check_memory(outputs, 2, from.tensors, 1);
    if (cuda::rows_of(model) == 0) return;
    cuda::part_arguments target;
    target.out = to.out.data;
    target.sum = to.lse.data;
    target.out_layout = cuda::layout_of(outputs[0]);
    target.sum_layout = cuda::layout_of(outputs[1]);
    cuda::launch_finish(from.arguments, target, model.extent[0], model.extent[1], model.extent[2], model.extent[3],
                        model.type, stream);
}

} // namespace pantile::inline v0
