#include "call.hpp"
#include "kernels.hpp"

#include <string>

// merge and finish: partial results in device memory.

namespace pantile::inline v0 {
namespace cuda {
namespace {

/// A partial result, described, and as the kernels take it.
struct part {
    core::described_part described;
    part_arguments arguments;
};

part part_of(const partial_ref& p, const char* out, const char* max, const char* sum) {
    part made{{core::describe(out, p.out), core::describe(max, p.max), core::describe(sum, p.sum)}, {}};
    const core::described_part& d = made.described;
    made.arguments = {p.out.data, p.max.data, p.sum.data, layout_of(d.out), layout_of(d.max), layout_of(d.sum)};
    return made;
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

} // namespace
} // namespace cuda

void erased::merge(const partial_ref& a, const partial_ref& b, const partial_ref& part, cudaStream_t stream) {
    const cuda::part from_a = cuda::part_of(a, "a.out", "a.max", "a.sum");
    const cuda::part from_b = cuda::part_of(b, "b.out", "b.max", "b.sum");
    const cuda::part to = cuda::part_of(part, "part.out", "part.max", "part.sum");
    core::check_merge(from_a.described, from_b.described, to.described, memory::device);
    for (const cuda::part* p : {&from_a, &from_b, &to}) cuda::check_contiguous(p->described.out);
    const core::argument& model = from_a.described.out;
    if (cuda::rows_of(model) == 0) return;
    cuda::launch_merge(from_a.arguments, from_b.arguments, to.arguments, model.extent[0], model.extent[1],
                       model.extent[2], model.extent[3], model.type, stream);
}

void erased::finish(const partial_ref& part, const results& to, cudaStream_t stream) {
    core::check_given("out", to.out.wanted);
    core::check_given("lse", to.lse.wanted);
    const cuda::part from = cuda::part_of(part, "part.out", "part.max", "part.sum");
    const core::argument out = core::describe("out", to.out), lse = core::describe("lse", to.lse);
    core::check_finish(from.described, out, lse, memory::device);
    cuda::check_contiguous(from.described.out);
    cuda::check_contiguous(out);
    if (cuda::rows_of(out) == 0) return;
    cuda::part_arguments target;
    target.out = to.out.data;
    target.sum = to.lse.data;
    target.out_layout = cuda::layout_of(out);
    target.sum_layout = cuda::layout_of(lse);
    cuda::launch_finish(from.arguments, target, out.extent[0], out.extent[1], out.extent[2], out.extent[3], out.type,
                        stream);
}

} // namespace pantile::inline v0
