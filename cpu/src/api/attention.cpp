#include <pantile/attention.hpp>
#include <pantile/core/float_environment.hpp>

#include "run.hpp"

namespace pantile::inline v0 {

using namespace cpu;

/// check → plan → run.
void erased::attention(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v, const results& to,
                       const options& o) {
    const core::float_environment standard;
    const core::argument inputs[] = {core::describe("q", q), core::describe("k", k), core::describe("v", v)};
    const prepared p = prepare(inputs, o);
    core::argument outputs[2] = {core::describe("out", to.out)};
    core::check_given("out", to.out.wanted);
    core::check_out(outputs[0], inputs[0], p.call.problem.value_dim);
    output here;
    here.out = to.out;
    if (to.lse.wanted) {
        outputs[1] = core::describe("lse", to.lse);
        core::check_rows(outputs[1], inputs[0]);
        here.lse = to.lse;
    }
    core::check_memory(outputs, to.lse.wanted ? 2 : 1, inputs, 3, core::memory_of(o, p.call.problem));
    run(p, here, o.workspace);
}

} // namespace pantile::inline v0
