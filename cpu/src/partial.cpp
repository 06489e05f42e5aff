#include <pantile/attention.hpp>
#include <pantile/core/float_environment.hpp>

#include "merge_rows.hpp"
#include "run.hpp"

namespace pantile {
namespace {

using namespace cpu;

/// The names of a partial result's tensors in messages.
struct part_names {
    const char* out;
    const char* max;
    const char* sum;
};

template <class T>
void describe_part(const partial_view<T>& part, const part_names& names, core::argument (&to)[3]) {
    to[0] = core::describe(names.out, part.out);
    to[1] = core::describe(names.max, part.max);
    to[2] = core::describe(names.sum, part.sum);
}

/// All three tensors of a part must have the shape (batch, heads, length[, value_dim]) of `model`.
void check_part(const core::argument (&part)[3], const core::argument& model) {
    core::check_same_shape(part[0], model);
    core::check_query_shape(part[1], model, 0, "");
    core::check_query_shape(part[2], model, 0, "");
}

template <class In, class T>
void forward_partial(const tensor_view<const In>& q, const tensor_view<const In>& k, const tensor_view<const In>& v,
                     const partial_view<T>& part, const options& o) {
    const core::float_environment standard;
    const prepared p = prepare<In>(q, k, v, o);
    const core::argument query = core::describe("q", q);
    const core::argument inputs[] = {query, core::describe("k", k), core::describe("v", v)};
    core::argument outputs[3];
    describe_part(part, {"part.out", "part.max", "part.sum"}, outputs);
    core::check_query_shape(outputs[0], query, p.call.problem.value_dim, "v.value_dim");
    core::check_query_shape(outputs[1], query, 0, "");
    core::check_query_shape(outputs[2], query, 0, "");
    core::check_memory(outputs, 3, inputs, 3, memory_of(o));
    output to;
    to.out = refer(part.out);
    to.max = refer(part.max);
    to.sum = refer(part.sum);
    run(p, to, o.workspace);
}

/// f(batch, head, row) for every row of a tensor.
template <class T, class F>
void for_rows(const tensor_view<T>& t, F&& f) {
    for (index_t b = 0; b < t.batch(); ++b) {
        for (index_t h = 0; h < t.heads(); ++h) {
            for (index_t i = 0; i < t.length(); ++i) f(b, h, i);
        }
    }
}

/// Address of element 0 of a row, also where the dim is 0.
template <class T>
T* row_of(const tensor_view<T>& t, index_t b, index_t h, index_t i) {
    return t.data + (b * t.stride[0] + h * t.stride[1] + i * t.stride[2]);
}

template <class T>
bool same_memory(const partial_view<const T>& a, const partial_view<T>& b) {
    return a.out.data == b.out.data && a.out.stride == b.out.stride && a.max.data == b.max.data &&
           a.max.stride == b.max.stride && a.sum.data == b.sum.data && a.sum.stride == b.sum.stride;
}

template <class T>
void merge_parts(const partial_view<const T>& a, const partial_view<const T>& b, const partial_view<T>& part) {
    const core::float_environment standard;
    core::argument args_a[3], args_b[3], args_part[3];
    describe_part(a, {"a.out", "a.max", "a.sum"}, args_a);
    describe_part(b, {"b.out", "b.max", "b.sum"}, args_b);
    describe_part(part, {"part.out", "part.max", "part.sum"}, args_part);
    check_part(args_a, args_a[0]);
    check_part(args_b, args_a[0]);
    check_part(args_part, args_a[0]);
    if (!same_memory(a, part)) core::check_memory(args_part, 3, args_a, 3);
    core::check_memory(args_part, 3, args_b, 3);
    for_rows(a.out, [&](index_t n, index_t h, index_t i) {
        const core::softmax_state<T> state = merge_row<T>(
            {a.max(n, h, i), a.sum(n, h, i)}, row_of(a.out, n, h, i), a.out.stride[3], {b.max(n, h, i), b.sum(n, h, i)},
            row_of(b.out, n, h, i), b.out.stride[3], row_of(part.out, n, h, i), part.out.stride[3], a.out.dim());
        part.max(n, h, i) = state.max;
        part.sum(n, h, i) = state.sum;
    });
}

template <class T>
void finish_part(const partial_view<const T>& part, const tensor_view<T>& out, const row_view<T>& lse) {
    const core::float_environment standard;
    core::argument args[3];
    describe_part(part, {"part.out", "part.max", "part.sum"}, args);
    check_part(args, args[0]);
    const core::argument outputs[] = {core::describe("out", out), core::describe("lse", lse)};
    core::check_same_shape(outputs[0], args[0]);
    core::check_query_shape(outputs[1], args[0], 0, "");
    const bool in_place = part.out.data == out.data && part.out.stride == out.stride;
    // In place, out has been read by the time it is written, but the other arrays must still lie apart.
    core::check_memory(outputs, 2, args + 1, 2);
    if (!in_place) core::check_memory(outputs, 2, args, 1);
    for_rows(out, [&](index_t b, index_t h, index_t i) {
        const core::softmax_state<T> state{part.max(b, h, i), part.sum(b, h, i)};
        const T factor = core::finish_factor(state);
        const T* from = row_of(part.out, b, h, i);
        T* to = row_of(out, b, h, i);
        for (index_t x = 0; x < out.dim(); ++x) to[x * out.stride[3]] = from[x * part.out.stride[3]] * factor;
        lse(b, h, i) = core::finish_lse(state);
    });
}

} // namespace

#define PANTILE_PARTIAL(in, result)                                                                                    \
    void attention_partial(tensor_view<const in> q, tensor_view<const in> k, tensor_view<const in> v,                  \
                           partial_view<result> part, const options& o) {                                              \
        forward_partial<in, result>(q, k, v, part, o);                                                                 \
    }
PANTILE_PARTIAL(float, float)
PANTILE_PARTIAL(double, double)
PANTILE_PARTIAL(float16, float)
PANTILE_PARTIAL(bfloat16, float)
#undef PANTILE_PARTIAL

void merge(partial_view<const float> a, partial_view<const float> b, partial_view<float> part) {
    merge_parts<float>(a, b, part);
}
void merge(partial_view<const double> a, partial_view<const double> b, partial_view<double> part) {
    merge_parts<double>(a, b, part);
}
void finish(partial_view<const float> part, tensor_view<float> out, row_view<float> lse) {
    finish_part<float>(part, out, lse);
}
void finish(partial_view<const double> part, tensor_view<double> out, row_view<double> lse) {
    finish_part<double>(part, out, lse);
}

} // namespace pantile
