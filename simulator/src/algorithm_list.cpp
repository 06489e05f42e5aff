#include <string>

#include <pantile/error.hpp>
#include <pantile/simulator/algorithm.hpp>

#include "algorithms/all.hpp"

namespace pantile::inline v0::simulator {

std::optional<tile_plan> algorithm::published_tiles(const workload& /*w*/, pass /*which*/, index_t /*m*/) const {
    return std::nullopt;
}

counts algorithm::sent_formula(const workload& /*w*/, pass /*which*/, const tile_plan& /*plan*/) const { return {}; }

const std::vector<const algorithm*>& algorithms() {
    static const std::vector<const algorithm*> all{
        standard(), fa1(), fa1_lazy(), fa2(), fa2_printed(), fa2_recompute(), split_keys(), ring(), small_cache()};
    return all;
}

const algorithm& find_algorithm(std::string_view name) {
    std::string names;
    for (const algorithm* a : algorithms()) {
        if (a->name() == name) return *a;
        names += (names.empty() ? "" : ", ") + std::string(a->name());
    }
    throw invalid_argument("there is no algorithm '" + std::string(name) + "'; there are " + names);
}

} // namespace pantile::inline v0::simulator
