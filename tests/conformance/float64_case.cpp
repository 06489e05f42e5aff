#include <support/vector_case.hpp>

#include "checks.hpp"

namespace pantile::conformance {

expectation read_float64_case(const std::filesystem::path& folder) {
    test::vector_case v = test::read_vector_case(folder);
    require_served(v.problem);
    expectation e;
    e.problem = std::move(v.problem);
    e.inputs = std::move(v.inputs);
    e.type = dtype::f64;
    e.backward = v.has_backward;
    e.stored = {std::move(v.out), std::move(v.lse), std::move(v.dq), std::move(v.dk), std::move(v.dv)};
    return e;
}

} // namespace pantile::conformance
