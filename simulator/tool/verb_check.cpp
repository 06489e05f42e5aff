#include <iostream>
#include <memory>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

#include "progress.hpp"
#include "verbs.hpp"

namespace pantile::simulator::tool {

namespace {

struct check_options {
    std::string algorithm = "all";
    index_t cases = 1000;
    std::uint64_t seed = 1;
    bool json = false;
};

} // namespace

void add_check(CLI::App& app, action& chosen) {
    const auto o = std::make_shared<check_options>();
    CLI::App* verb = app.add_subcommand("check", "Random ragged runs: counted == closed form, in integers");
    verb->add_option("--algorithm", o->algorithm, "a name, or all")->capture_default_str();
    verb->add_option("--random", o->cases, "random cases for each pass of each algorithm")->capture_default_str();
    verb->add_option("--seed", o->seed, "seed of the random cases")->capture_default_str();
    verb->add_flag("--json", o->json, "JSON instead of text");
    verb->footer(
        "Sizes, masks, alignments, GQA, key lengths and block masks are drawn at random; each run's reads and\n"
        "writes of each tensor must equal the closed form. Exit code 4 if any does not.\n"
        "Examples:\n"
        "  pantile-sim check --algorithm all --random 10000\n"
        "  pantile-sim check --algorithm fa2 --random 100000 --seed 7");
    verb->callback([o, &chosen] {
        chosen = [o] {
            if (o->cases <= 0)
                throw invalid_argument("--random is " + std::to_string(o->cases) + ": it must be positive");
            const std::vector<const algorithm*> list =
                o->algorithm == "all" ? algorithms() : std::vector<const algorithm*>{&find_algorithm(o->algorithm)};
            check_result r;
            {
                progress_line line;
                r = check(list, o->cases, o->seed, [&line](index_t at, index_t of) { line(at, of); });
            }
            std::cout << (o->json ? check_json(r, o->seed) : check_text(r, o->seed));
            return static_cast<int>(r.mismatches.empty() ? done : mismatch);
        };
    });
}

} // namespace pantile::simulator::tool
