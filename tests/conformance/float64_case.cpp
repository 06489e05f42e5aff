#include <fstream>

#include <nlohmann/json.hpp>

#include <support/vector_case.hpp>

#include "case_type.hpp"
#include "checks.hpp"

namespace pantile::conformance {

expectation read_float64_case(const std::filesystem::path& folder) {
    test::vector_case v = test::read_vector_case(folder);
    require_served(v.problem);
    expectation e;
    e.problem = std::move(v.problem);
    e.inputs = std::move(v.inputs);
    std::ifstream file(folder / "case.json");
    const auto description = nlohmann::json::parse(file);
    const auto q = description.value("inputs", nlohmann::json::object()).value("Q", std::string("Q.npy"));
    e.type = type_of_case(folder, description, npy::read(folder / q).type);
    if (e.type != dtype::fp64) e.tolerance = tolerance_of(e.type); // its answers are rounded too
    e.backward = v.has_backward;
    e.stored.out = std::move(v.out);
    e.stored.lse = std::move(v.lse);
    e.stored.dq = std::move(v.dq);
    e.stored.dk = std::move(v.dk);
    e.stored.dv = std::move(v.dv);
    e.stored.dslopes = std::move(v.dslopes);
    e.stored.dsinks = std::move(v.dsinks);
    return e;
}

} // namespace pantile::conformance
