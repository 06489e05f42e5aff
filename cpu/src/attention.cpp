#include <pantile/attention.hpp>
#include <pantile/core/float_environment.hpp>

#include "run.hpp"

namespace pantile {
namespace {

using namespace cpu;

/// check → plan → run.
template <class In, class Out, class Stat>
void forward(const tensor_view<const In>& q, const tensor_view<const In>& k, const tensor_view<const In>& v,
             const tensor_view<Out>& out, const row_view<Stat>* lse, const options& o) {
    const core::float_environment standard;
    const prepared p = prepare<In>(q, k, v, o);
    const core::argument query = core::describe("q", q);
    const core::argument inputs[] = {query, core::describe("k", k), core::describe("v", v)};
    core::argument outputs[2] = {core::describe("out", out)};
    core::check_query_shape(outputs[0], query, p.call.problem.value_dim, "v.value_dim");
    output to;
    to.out = refer(out);
    if (lse != nullptr) {
        outputs[1] = core::describe("lse", *lse);
        core::check_query_shape(outputs[1], query, 0, "");
        to.lse = refer(*lse);
    }
    core::check_memory(outputs, lse != nullptr ? 2 : 1, inputs, 3, memory_of(o));
    run(p, to, o.workspace);
}

} // namespace

#define PANTILE_FORWARD(in, result, stat)                                                                              \
    void attention(tensor_view<const in> q, tensor_view<const in> k, tensor_view<const in> v, tensor_view<result> out, \
                   const options& o) {                                                                                 \
        forward<in, result, stat>(q, k, v, out, nullptr, o);                                                           \
    }                                                                                                                  \
    void attention(tensor_view<const in> q, tensor_view<const in> k, tensor_view<const in> v, tensor_view<result> out, \
                   row_view<stat> lse, const options& o) {                                                             \
        forward<in, result, stat>(q, k, v, out, &lse, o);                                                              \
    }
PANTILE_FORWARD(float, float, float)
PANTILE_FORWARD(double, double, double)
PANTILE_FORWARD(float16, float16, float)
PANTILE_FORWARD(float16, float, float)
PANTILE_FORWARD(bfloat16, bfloat16, float)
PANTILE_FORWARD(bfloat16, float, float)
#undef PANTILE_FORWARD

} // namespace pantile
