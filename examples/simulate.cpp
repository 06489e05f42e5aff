// A study with the simulator: how many bytes attention moves as on-chip memory grows, and where tiling begins to pay.
#include <iostream>

#include <pantile/simulator.hpp>

namespace sim = pantile::simulator;

int main() {
    const auto& tiled = sim::find_algorithm("fa2");
    const auto& plain = sim::find_algorithm("standard");

    sim::experiment e;
    e.what = sim::workload::square(8192, 128); // one head: N = 8192, d = 128
    e.what.type = sim::dtype::fp32;
    const auto unfused = sim::run(plain, e).moved.elements();

    // Near memory of M numbers, in the model of the papers; d² = 16384 is where the theory expects the two to cross.
    std::vector<std::vector<std::string>> table = {{"M", "tiles", "moved by tiles", "by the plain formula", "ratio"}};
    bool crosses = false;
    double before = 0;
    for (pantile::index_t m = 4096; m <= 262144; m *= 2) {
        e.near = sim::near_memory::of_elements(m);
        e.plan = sim::feasible_tiles(tiled, e).at(0).plan; // of the tiles that fit, those that move least
        const auto moved = sim::run(tiled, e).moved.elements();
        const double ratio =
            static_cast<double>(unfused.reads + unfused.writes) / static_cast<double>(moved.reads + moved.writes);
        crosses = crosses || (before < 1 && ratio >= 1 && m >= 16384);
        before = ratio;
        table.push_back({sim::grouped(m), std::to_string(e.plan.row_tile) + " x " + std::to_string(e.plan.key_tile),
                         sim::grouped(moved.reads + moved.writes), sim::grouped(unfused.reads + unfused.writes),
                         std::to_string(ratio).substr(0, 5)});
    }
    std::cout << sim::table(table) << '\n';

    // What does not fit is refused, with the live set: no silent spill.
    try {
        e.near = sim::near_memory::of_elements(4096);
        e.plan = {64, 64};
        (void)sim::run(tiled, e);
        return 1;
    } catch (const sim::does_not_fit& refusal) {
        std::cout << "64 x 64 tiles in 4096 numbers: " << refusal.what() << '\n';
    }
    return crosses ? 0 : 1;
}
