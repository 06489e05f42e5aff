#include <iostream>
#include <memory>

#include "call_options.hpp"
#include "verbs.hpp"

namespace pantile::simulator::tool {

namespace {

struct run_options {
    call_options call;
    bool caches = false;
    bool classify = false;
    bool json = false;
};

} // namespace

void add_run(CLI::App& app, action& chosen) {
    const auto o = std::make_shared<run_options>();
    CLI::App* verb = app.add_subcommand("run", "Run one algorithm once; count what it moves, tensor by tensor");
    o->call.add_algorithm(*verb);
    o->call.add_sizes(*verb);
    o->call.add_tiles(*verb);
    verb->add_flag("--caches", o->caches,
                   "send every line through the caches of --machine (default: here), in program order");
    verb->add_flag("--classify", o->classify, "with --caches: split misses into compulsory, capacity and conflict");
    verb->add_flag("--json", o->json, "JSON instead of tables");
    verb->footer("Examples:\n"
                 "  pantile-sim run -n 16K -d 128 --heads 32 --kv-heads 8 --mask causal --tiles 128x128\n"
                 "  pantile-sim run -n 8K --heads 16 --batch 2 --machine h100 --tiles 128x128\n"
                 "  pantile-sim run -n 4096 -d 64 --dtype fp32 --tiles 64x64 --caches --classify\n"
                 "  pantile-sim run --algorithm fa1 -n 4096 -d 64 --sram 64K --tiles paper\n"
                 "  pantile-sim run --pass backward -n 4096 --sram 227KB --json\n"
                 "  pantile-sim run --algorithm split-keys --q-len 1 --k-len 64K --heads 32 --kv-heads 8 --packed \\\n"
                 "                  --splits 16");
    verb->callback([o, &chosen] {
        chosen = [o] {
            const algorithm& a = find_algorithm(o->call.algorithm);
            const experiment e = o->call.make(a);
            if (o->caches) {
                const machine m = find_machine(o->call.machine.empty() ? "here" : o->call.machine);
                const cached_run c = run_cached(a, e, m.caches, o->classify);
                std::cout << (o->json ? cached_json(m.caches, c)
                                      : run_text(a, e, c.result) + '\n' + cached_text(m.caches, c));
                return static_cast<int>(done);
            }
            const run_result r = run(a, e);
            std::cout << (o->json ? run_json(a, e, r) : run_text(a, e, r));
            if (o->call.machine.empty() || o->json) return static_cast<int>(done);
            const machine m = find_machine(o->call.machine);
            if (m.clock_ghz <= 0) return static_cast<int>(done);
            std::cout << '\n' << estimate_text(m, e, r, estimate(m, e, r, compulsory_bytes(e.what, e.which)));
            return static_cast<int>(done);
        };
    });
}

} // namespace pantile::simulator::tool
