#include <iostream>
#include <memory>
#include <sstream>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

#include "files.hpp"
#include "verbs.hpp"

namespace pantile::simulator::tool {

namespace {

struct sweep_options {
    std::string algorithms = "standard,fa1:paper,fa1-lazy,fa2,small-cache";
    std::string pass = "forward";
    std::string n = "16K:64K:3";
    std::string near = "1K:1M";
    index_t head_dim = 64;
    std::string mask = "full";
    bool fit = false;
    bool json = false;
    std::string csv;
    std::string svg;
};

sweep_request request_of(const sweep_options& o) {
    sweep_request r;
    std::stringstream list(o.algorithms);
    for (std::string item; std::getline(list, item, ',');) {
        r.contenders.push_back(parse_contender(item));
        if (o.pass == "backward" && !r.contenders.back().who->has(pass::backward)) {
            throw invalid_argument(item + " has no backward pass: name others with --algorithms");
        }
    }
    if (r.contenders.empty()) throw invalid_argument("--algorithms names none");
    if (o.pass != "forward" && o.pass != "backward") {
        throw invalid_argument("--pass is '" + o.pass + "': it must be forward or backward");
    }
    r.which = o.pass == "forward" ? pass::forward : pass::backward;
    r.lengths = parse_range(o.n, "-n");
    r.near = parse_range(o.near, "--sram");
    r.head_dim = o.head_dim;
    r.mask = parse_mask(o.mask);
    return r;
}

} // namespace

void add_sweep(CLI::App& app, action& chosen) {
    const auto o = std::make_shared<sweep_options>();
    CLI::App* verb =
        app.add_subcommand("sweep", "Traffic against near memory and length; fitted slopes and crossovers");
    verb->add_option("--algorithms,--algorithm", o->algorithms, "names, each with :feasible (default) or :paper tiles")
        ->capture_default_str();
    verb->add_option("--pass", o->pass, "forward or backward")->capture_default_str();
    verb->add_option("-n", o->n, "lengths: one, FROM:TO or FROM:TO:POINTS")->capture_default_str();
    verb->add_option("--sram", o->near, "near memory in elements: one, FROM:TO or FROM:TO:POINTS")
        ->capture_default_str();
    verb->add_option("-d,--head-dim", o->head_dim, "head dim")->capture_default_str();
    verb->add_option("--mask", o->mask, "as in run")->capture_default_str();
    verb->add_flag("--fit", o->fit, "fitted slopes, constants and crossovers only, not every point");
    verb->add_flag("--json", o->json, "JSON instead of tables");
    verb->add_option("--csv", o->csv, "write every point to a file");
    verb->add_option("--svg", o->svg, "write a log-log plot to a file");
    verb->footer("The papers' laws: slope -1 in M and +2 in N; fits use M >= 64 d and at least 64 row and key tiles.\n"
                 "Examples:\n"
                 "  pantile-sim sweep --fit\n"
                 "  pantile-sim sweep --algorithms standard,fa2 --sram 1K:1M --csv out.csv --svg out.svg\n"
                 "  pantile-sim sweep --pass backward --algorithms standard,fa1:paper,fa2-printed -d 128 --fit");
    verb->callback([o, &chosen] {
        chosen = [o] {
            const sweep_request r = request_of(*o);
            const std::vector<sweep_point> points = sweep(r);
            const auto fits = fit(r, points);
            const auto crossings = crossovers(r);
            if (!o->csv.empty()) write_file(o->csv, sweep_csv(points));
            if (!o->svg.empty()) write_file(o->svg, sweep_svg(r, points));
            if (o->json) {
                std::cout << sweep_json(points, fits, crossings);
            } else {
                if (!o->fit) std::cout << sweep_text(r, points) << '\n';
                std::cout << fit_text(fits, crossings);
            }
            return static_cast<int>(done);
        };
    });
}

} // namespace pantile::simulator::tool
