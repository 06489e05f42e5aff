#include "call.hpp"
#include "kernels.hpp"

#include <algorithm>
#include <string>

// merge and finish: partial results in device memory.

namespace pantile {
namespace cuda {
namespace {

/// The three tensors of a partial result, described and checked against the shape of `model`.
struct described_part {
    core::argument tensors[3];
    part_arguments arguments;
};

template <class T>
described_part describe_part(const char* out, const char* max, const char* sum, const device_partial_view<T>& part) {
    described_part d{{core::describe(out, part.out), core::describe(max, part.max), core::describe(sum, part.sum)}, {}};
    d.arguments.out = const_cast<std::remove_const_t<T>*>(part.out.data);
    d.arguments.max = const_cast<std::remove_const_t<T>*>(part.max.data);
    d.arguments.sum = const_cast<std::remove_const_t<T>*>(part.sum.data);
    d.arguments.out_layout = layout_of(d.tensors[0]);
    d.arguments.max_layout = layout_of(d.tensors[1]);
    d.arguments.sum_layout = layout_of(d.tensors[2]);
    return d;
}

void check_part(const described_part& part, const core::argument& model) {
    core::check_same_shape(part.tensors[0], model);
    core::check_query_shape(part.tensors[1], model, 0, "");
    core::check_query_shape(part.tensors[2], model, 0, "");
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

template <class T>
void merge_parts(const device_partial_view<const T>& a, const device_partial_view<const T>& b,
                 const device_partial_view<T>& part, cudaStream_t stream) {
    const described_part from_a = describe_part("a.out", "a.max", "a.sum", a);
    const described_part from_b = describe_part("b.out", "b.max", "b.sum", b);
    const described_part to = describe_part("part.out", "part.max", "part.sum", part);
    const core::argument& model = from_a.tensors[0];
    for (const described_part* p : {&from_a, &from_b, &to}) check_part(*p, model);
    bool in_place = true;
    for (int i = 0; i < 3; ++i) {
        in_place = in_place && from_a.tensors[i].data == to.tensors[i].data &&
                   std::equal(from_a.tensors[i].stride, from_a.tensors[i].stride + 4, to.tensors[i].stride);
    }
    if (!in_place) core::check_memory(to.tensors, 3, from_a.tensors, 3);
    core::check_memory(to.tensors, 3, from_b.tensors, 3);
    if (rows_of(model) == 0) return;
    launch_merge(from_a.arguments, from_b.arguments, to.arguments, model.extent[0], model.extent[1], model.extent[2],
                 model.extent[3], element_of<T>, stream);
}

template <class T>
void finish_part(const device_partial_view<const T>& part, const device_view<T>& out, const device_row_view<T>& lse,
                 cudaStream_t stream) {
    const described_part from = describe_part("part.out", "part.max", "part.sum", part);
    const core::argument& model = from.tensors[0];
    check_part(from, model);
    const core::argument outputs[2] = {core::describe("out", out), core::describe("lse", lse)};
    core::check_same_shape(outputs[0], model);
    core::check_query_shape(outputs[1], model, 0, "");
    check_contiguous(outputs[0]);
    const bool in_place =
        model.data == outputs[0].data && std::equal(model.stride, model.stride + 4, outputs[0].stride);
    core::check_memory(outputs, 2, from.tensors + 1, 2);
    if (!in_place) core::check_memory(outputs, 2, from.tensors, 1);
    if (rows_of(model) == 0) return;
    part_arguments to;
    to.out = out.data;
    to.sum = lse.data;
    to.out_layout = layout_of(outputs[0]);
    to.sum_layout = layout_of(outputs[1]);
    launch_finish(from.arguments, to, model.extent[0], model.extent[1], model.extent[2], model.extent[3], element_of<T>,
                  stream);
}

} // namespace
} // namespace cuda

// clang-format off
#define PANTILE_OF_PARTS(T)                                                                                            \
    void merge(device_partial_view<const T> a, device_partial_view<const T> b, device_partial_view<T> part,            \
               cudaStream_t stream) {                                                                                  \
        cuda::merge_parts<T>(a, b, part, stream);                                                                      \
    }                                                                                                                  \
    void finish(device_partial_view<const T> part, device_view<T> out, device_row_view<T> lse, cudaStream_t stream) {  \
        cuda::finish_part<T>(part, out, lse, stream);                                                                  \
    }
PANTILE_OF_PARTS(float)
PANTILE_OF_PARTS(double)
#undef PANTILE_OF_PARTS
// clang-format on

} // namespace pantile
