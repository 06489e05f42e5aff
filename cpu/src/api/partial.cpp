#include <pantile/attention.hpp>
#include <pantile/core/float_environment.hpp>

#include "../forward/merge_rows.hpp"
#include "run.hpp"

namespace pantile::inline v0 {
namespace {

using namespace cpu;

core::described_part describe(const partial_ref& part, const char* out, const char* max, const char* sum) {
    return {core::describe(out, part.out), core::describe(max, part.max), core::describe(sum, part.sum)};
}

/// The numbers of a tensor of rank 3, and the rows of one of rank 4 (also where the dim is 0).
template <class T>
struct rows_of {
    T* data;
    const tensor_ref& t;

    explicit rows_of(const tensor_ref& from) : data(static_cast<T*>(from.data)), t(from) {}
    T* row(index_t b, index_t h, index_t i) const {
        return data + (b * t.stride[0] + h * t.stride[1] + i * t.stride[2]);
    }
    T& operator()(index_t b, index_t h, index_t i) const { return *row(b, h, i); }
};

/// f(batch, head, row) for every row of a tensor.
template <class F>
void for_rows(const tensor_ref& t, F&& f) {
    for (index_t b = 0; b < t.extent[0]; ++b) {
        for (index_t h = 0; h < t.extent[1]; ++h) {
            for (index_t i = 0; i < t.extent[2]; ++i) f(b, h, i);
        }
    }
}

template <class T>
struct part_rows {
    rows_of<T> out, max, sum;

    explicit part_rows(const partial_ref& p) : out(p.out), max(p.max), sum(p.sum) {}
    core::softmax_state<T> state(index_t b, index_t h, index_t i) const { return {max(b, h, i), sum(b, h, i)}; }
};

template <class T>
void merge_parts(const partial_ref& a, const partial_ref& b, const partial_ref& part) {
    const part_rows<T> from_a(a), from_b(b), to(part);
    for_rows(a.out, [&](index_t n, index_t h, index_t i) {
        const core::softmax_state<T> state = merge_row<T>(
            from_a.state(n, h, i), from_a.out.row(n, h, i), a.out.stride[3], from_b.state(n, h, i),
            from_b.out.row(n, h, i), b.out.stride[3], to.out.row(n, h, i), part.out.stride[3], a.out.extent[3]);
        to.max(n, h, i) = state.max;
        to.sum(n, h, i) = state.sum;
    });
}

template <class T>
void finish_part(const partial_ref& part, const results& to) {
    const part_rows<T> from(part);
    const rows_of<T> out(to.out), lse(to.lse);
    for_rows(part.out, [&](index_t b, index_t h, index_t i) {
        const core::softmax_state<T> state = from.state(b, h, i);
        const T factor = core::finish_factor(state);
        const T* row = from.out.row(b, h, i);
        T* target = out.row(b, h, i);
        for (index_t x = 0; x < part.out.extent[3]; ++x)
            target[x * to.out.stride[3]] = row[x * part.out.stride[3]] * factor;
        lse(b, h, i) = core::finish_lse(state);
    });
}

} // namespace

void erased::attention_partial(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v, const partial_ref& part,
                               const options& o) {
    const core::float_environment standard;
    const core::argument inputs[] = {core::describe("q", q), core::describe("k", k), core::describe("v", v)};
    const prepared p = prepare(inputs, o);
    const core::argument outputs[] = {core::describe("part.out", part.out), core::describe("part.max", part.max),
                                      core::describe("part.sum", part.sum)};
    core::check_computed_type(outputs[0], inputs[0]);
    core::check_out(outputs[0], inputs[0], p.call.problem.value_dim);
    core::check_rows(outputs[1], inputs[0]);
    core::check_rows(outputs[2], inputs[0]);
    core::check_memory(outputs, 3, inputs, 3, core::memory_of(o, p.call.problem));
    output to;
    to.out = part.out;
    to.max = part.max;
    to.sum = part.sum;
    run(p, to, o.workspace);
}

void erased::merge(const partial_ref& a, const partial_ref& b, const partial_ref& part) {
    const core::float_environment standard;
    core::check_merge(describe(a, "a.out", "a.max", "a.sum"), describe(b, "b.out", "b.max", "b.sum"),
                      describe(part, "part.out", "part.max", "part.sum"), memory::host);
    if (a.out.type == dtype::fp64) return merge_parts<double>(a, b, part);
    merge_parts<float>(a, b, part);
}

void erased::finish(const partial_ref& part, const results& to) {
    const core::float_environment standard;
    core::check_given("out", to.out.wanted);
    core::check_given("lse", to.lse.wanted);
    core::check_finish(describe(part, "part.out", "part.max", "part.sum"), core::describe("out", to.out),
                       core::describe("lse", to.lse), memory::host);
    if (part.out.type == dtype::fp64) return finish_part<double>(part, to);
    finish_part<float>(part, to);
}

} // namespace pantile::inline v0
