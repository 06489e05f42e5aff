#include <memory>
#include <sstream>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

#include "call_options.hpp"
#include "files.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "verbs.hpp"

namespace pantile::inline v0::simulator::tool {

namespace {

struct sweep_options {
    std::string algorithms = "standard,fa1:paper,fa1-lazy,fa2,small-cache";
    std::string pass = "forward";
    std::string n = "16K:64K:3";
    std::string near = "1K:1M";
    std::string head_dim = "64";
    std::string mask = "full";
    std::string blocks;
    bool fit = false;
    output out;
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
    r.head_dim = parse_size(o.head_dim, "--head-dim");
    r.mask = parse_mask(o.mask);
    r.blocks = o.blocks;
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
    verb->add_option("--blocks", o->blocks, blocks_help);
    verb->add_flag("--fit", o->fit, "fitted slopes, constants and crossovers only, not every point");
    o->out.add(*verb);
    verb->add_option("--svg", o->svg, "write a log-log plot to a file");
    verb->footer("The papers' laws: slope -1 in M and +2 in N; fits use M >= 64 d and at least 64 row and key tiles.\n"
                 "Below M = d^2 square tiles (small-cache) follow N^2 d / sqrt(M): fits use 4096 <= M <= d^2 / 1024.\n"
                 "Examples:\n"
                 "  pantile-sim sweep --fit\n"
                 "  pantile-sim sweep --algorithms standard,fa2 --sram 1K:1M --csv out.csv --svg out.svg\n"
                 "  pantile-sim sweep --algorithms small-cache -d 64K -n 128K --sram 64K:1M --fit\n"
                 "  pantile-sim sweep --algorithms fa1:paper,fa2 -n 8K --blocks 512x512:butterfly\n"
                 "  pantile-sim sweep --pass backward --algorithms standard,fa1:paper,fa2-printed -d 128 --fit");
    verb->callback([o, &chosen] {
        chosen = [o] {
            const sweep_request r = request_of(*o);
            std::vector<sweep_point> points;
            {
                progress_line line;
                points = sweep(r, [&line](index_t at, index_t of) { line(at, of); });
            }
            const auto fits = fit(r, points);
            const auto crossings = crossovers(r);
            if (!o->svg.empty()) write_file(o->svg, sweep_svg(r, points));
            o->out.print([&] { return (o->fit ? "" : sweep_text(r, points) + '\n') + fit_text(fits, crossings); },
                         [&] { return sweep_json(points, fits, crossings); }, [&] { return sweep_csv(points); });
            return static_cast<int>(done);
        };
    });
}

} // namespace pantile::inline v0::simulator::tool
