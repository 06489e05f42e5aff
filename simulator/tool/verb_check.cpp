#include <algorithm>
#include <memory>
#include <optional>

#include <pantile/error.hpp>

#include "call_options.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "verbs.hpp"

namespace pantile::inline v0::simulator::tool {

namespace {

struct check_options {
    std::string algorithm = "all";
    index_t cases = 1000;
    std::uint64_t seed = 1;
    call_options call;
    output out;
};

/// The one case that the options describe, on each algorithm that can take it.
check_result check_case(const check_options& o, const std::vector<const algorithm*>& list) {
    check_result r;
    for (const algorithm* a : list) {
        const workload w = o.call.what();
        const bool takes =
            a->has(o.call.which()) && (a->block_sparse() || w.blocks.empty()) && (a->distributed() || w.devices == 1);
        if (!takes && list.size() > 1) continue;
        ++r.cases;
        for (std::string& m : check_one(*a, o.call.make(*a))) r.mismatches.push_back(std::move(m));
    }
    return r;
}

bool describes_a_case(const CLI::App& verb) {
    const auto options = verb.get_options();
    return std::any_of(options.begin(), options.end(), [](const CLI::Option* option) {
        static const std::vector<std::string> others{"--algorithm", "--random", "--seed", "--json", "--help"};
        return option->count() > 0 && std::find(others.begin(), others.end(), option->get_name()) == others.end();
    });
}

} // namespace

void add_check(CLI::App& app, action& chosen) {
    const auto o = std::make_shared<check_options>();
    CLI::App* verb = app.add_subcommand("check", "Random ragged runs: counted == closed form, in integers");
    verb->add_option("--algorithm", o->algorithm, "a name, or all")->capture_default_str();
    verb->add_option("--random", o->cases, "random cases for each pass of each algorithm")->capture_default_str();
    verb->add_option("--seed", o->seed, "seed of the random cases")->capture_default_str();
    o->out.add_json(*verb);
    verb->add_option("--pass", o->call.pass, "of a case of your own: forward or backward")->capture_default_str();
    o->call.add_sizes(*verb);
    o->call.add_tiles(*verb);
    verb->footer(
        "Sizes, masks, alignments, GQA, key lengths, block masks and devices are drawn at random; each run's reads "
        "and\n"
        "writes of each tensor, and what it sends over links, must equal the closed form. Exit code 4 if any does "
        "not.\n"
        "With sizes, a mask, blocks or tiles, that one case is checked instead, on every algorithm that takes it.\n"
        "Examples:\n"
        "  pantile-sim check --algorithm all --random 10000\n"
        "  pantile-sim check --algorithm fa2 --random 100000 --seed 7\n"
        "  pantile-sim check -n 3000 -d 64 --mask causal --blocks 64x64:butterfly --tiles 128x64\n"
        "  pantile-sim check --algorithm ring --devices 8 -n 10000 --heads 8 --kv-heads 2");
    verb->callback([o, verb, &chosen] {
        const bool one_case = describes_a_case(*verb);
        chosen = [o, one_case] {
            if (o->cases <= 0)
                throw invalid_argument("--random is " + std::to_string(o->cases) + ": it must be positive");
            const std::vector<const algorithm*> list =
                o->algorithm == "all" ? algorithms() : std::vector<const algorithm*>{&find_algorithm(o->algorithm)};
            check_result r;
            if (one_case) {
                r = check_case(*o, list);
            } else {
                progress_line line;
                r = check(list, o->cases, o->seed, [&line](index_t at, index_t of) { line(at, of); });
            }
            const std::optional<std::uint64_t> seed = one_case ? std::nullopt : std::optional(o->seed);
            o->out.print([&] { return check_text(r, seed); }, [&] { return check_json(r, seed); });
            return static_cast<int>(r.mismatches.empty() ? done : mismatch);
        };
    });
}

} // namespace pantile::inline v0::simulator::tool
