#include <memory>
#include <sstream>

#include <pantile/error.hpp>

#include "call_options.hpp"
#include "output.hpp"
#include "verbs.hpp"

namespace pantile::inline v0::simulator::tool {

namespace {

struct l2_options {
    call_options call;
    std::string order = "cyclic,sawtooth";
    std::string cache;
    index_t at_once = 0;
    output out;
};

} // namespace

void add_l2(CLI::App& app, action& chosen) {
    const auto o = std::make_shared<l2_options>();
    o->call.machine = "h100";
    o->call.n = "128K";
    o->call.tiles = "128x128";
    CLI::App* verb = app.add_subcommand("l2", "A cache shared by concurrent blocks: what of K and V comes from memory");
    o->call.add_sizes(*verb);
    verb->add_option("--tiles", o->call.tiles, "ROWSxKEYS")->capture_default_str();
    verb->add_option("--machine", o->call.machine, "whose last cache and processors to take")->capture_default_str();
    verb->add_option("--order", o->order, "cyclic, sawtooth, longest-first; several with commas")
        ->capture_default_str();
    verb->add_option("--cache", o->cache, "bytes of the shared cache, as in 50M  [the machine's]");
    verb->add_option("--at-once", o->at_once, "blocks that run at once  [one a processor]");
    o->out.add(*verb);
    verb->footer("Each order is run with the cache whole and, if the machine's has parts, in halves with copies.\n"
                 "Examples:\n"
                 "  pantile-sim l2 --order cyclic,sawtooth --machine h100 -n 256K\n"
                 "  pantile-sim l2 --order cyclic,longest-first --mask causal -n 64K --heads 8 --cache 16M");
    verb->callback([o, &chosen] {
        chosen = [o] {
            const machine m = find_machine(o->call.machine);
            if (m.last_cache() == nullptr) throw invalid_argument("machine " + m.name + " has no cache");
            l2_request r;
            r.what = o->call.what();
            experiment sizes;
            sizes.what = r.what;
            r.plan = parse_tiles(o->call.tiles, find_algorithm("fa2"), sizes);
            r.blocks_at_once = o->at_once > 0 ? o->at_once : m.processors;
            r.bytes = o->cache.empty() ? m.last_cache()->bytes : parse_size(o->cache, "--cache");
            std::vector<l2_request> requests;
            std::stringstream orders(o->order);
            for (std::string one; std::getline(orders, one, ',');) {
                r.order = parse_order(one);
                r.halves = false;
                requests.push_back(r);
                r.halves = m.last_cache()->parts == 2;
                if (r.halves) requests.push_back(r);
            }
            std::vector<l2_result> results;
            results.reserve(requests.size());
            for (const l2_request& one : requests) results.push_back(simulate_l2(one));
            o->out.print([&] { return l2_text(requests, results); }, [&] { return l2_json(requests, results); },
                         [&] { return l2_csv(requests, results); });
            return static_cast<int>(done);
        };
    });
}

} // namespace pantile::inline v0::simulator::tool
