#include <iostream>
#include <memory>

#include "call_options.hpp"
#include "files.hpp"
#include "verbs.hpp"

namespace pantile::inline v0::simulator::tool {

namespace {

struct trace_options {
    call_options call;
    int lanes = 4;
    std::size_t most = 200000;
    std::string out;
    bool json = false;
};

} // namespace

void add_trace(CLI::App& app, action& chosen) {
    const auto o = std::make_shared<trace_options>();
    o->call.machine = "h100";
    o->call.n = "1024";
    o->call.tiles = "128x128";
    CLI::App* verb =
        app.add_subcommand("trace", "A timeline that opens in Perfetto: lanes, blocks, transfers, footprint");
    o->call.add_algorithm(*verb);
    o->call.add_sizes(*verb);
    o->call.add_tiles(*verb);
    verb->add_option("--lanes", o->lanes, "processors to show; blocks go to the one that is free first")
        ->capture_default_str();
    verb->add_option("--most", o->most, "slices after which the picture is cut off")->capture_default_str();
    verb->add_option("--out", o->out, "file to write")->required();
    verb->add_flag("--json", o->json, "the summary as JSON");
    verb->footer("Transfers and arithmetic take their turns, each at one processor's share of the machine's rates.\n"
                 "Examples:\n"
                 "  pantile-sim trace -n 2048 --out trace.json        then open it at ui.perfetto.dev\n"
                 "  pantile-sim trace --algorithm fa1 -n 1024 -d 64 --tiles 64x128 --out fa1.json");
    verb->callback([o, &chosen] {
        chosen = [o] {
            const algorithm& a = find_algorithm(o->call.algorithm);
            const timeline t = trace(a, o->call.make(a), find_machine(o->call.machine), o->lanes, o->most);
            write_file(o->out, timeline_json(t));
            if (o->json) {
                std::cout << timeline_summary_json(t, o->out, o->lanes);
                return static_cast<int>(done);
            }
            std::cout << o->out << ": " << t.blocks.size() << " blocks, " << t.slices.size() << " slices"
                      << (t.complete ? "" : " (cut off: --most)") << ", " << t.seconds * 1e6 << " us on " << o->lanes
                      << " processors\n";
            return static_cast<int>(done);
        };
    });
}

} // namespace pantile::inline v0::simulator::tool
