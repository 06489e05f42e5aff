#include <memory>

#include "call_options.hpp"
#include "output.hpp"
#include "verbs.hpp"

namespace pantile::inline v0::simulator::tool {

namespace {

struct run_options {
    call_options call;
    bool caches = false;
    bool classify = false;
    output out;
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
    o->out.add(*verb);
    verb->footer("Examples:\n"
                 "  pantile-sim run -n 16K -d 128 --heads 32 --kv-heads 8 --mask causal --tiles 128x128\n"
                 "  pantile-sim run -n 8K --heads 16 --batch 2 --machine h100 --tiles 128x128\n"
                 "  pantile-sim run -n 4096 -d 64 --dtype fp32 --tiles 64x64 --caches --classify\n"
                 "  pantile-sim run --algorithm fa1 -n 4096 -d 64 --sram 64K --tiles paper\n"
                 "  pantile-sim run --pass backward -n 4096 --sram 227KB --json\n"
                 "  pantile-sim run --algorithm fa1 -n 4096 -d 64 --tiles 64x64 --blocks 64x64:butterfly\n"
                 "  pantile-sim run --algorithm fa2 -n 4096 --mask causal --tiles 128x64 --blocks 128x64:random:25:7\n"
                 "  pantile-sim run --algorithm ring --devices 8 -n 256K --heads 8 --machine h100 --tiles 128x128\n"
                 "  pantile-sim run --algorithm split-keys --q-len 1 --k-len 64K --heads 32 --kv-heads 8 --packed \\\n"
                 "                  --splits 16");
    verb->callback([o, &chosen] {
        chosen = [o] {
            const algorithm& a = find_algorithm(o->call.algorithm);
            const experiment e = o->call.make(a);
            if (o->caches) {
                const machine m = find_machine(o->call.machine.empty() ? "here" : o->call.machine);
                const cached_run c = run_cached(a, e, m.caches, o->classify);
                o->out.print([&] { return run_text(a, e, c.result) + '\n' + cached_text(m.caches, c); },
                             [&] { return cached_json(a, e, m.caches, c); }, [&] { return cached_csv(m.caches, c); });
                return static_cast<int>(done);
            }
            const run_result r = run(a, e);
            const auto csv = [&] { return run_csv(e, r); };
            const machine m = o->call.machine.empty() ? machine{} : find_machine(o->call.machine);
            if (m.clock_ghz <= 0) {
                o->out.print([&] { return run_text(a, e, r); }, [&] { return run_json(a, e, r); }, csv);
                return static_cast<int>(done);
            }
            const time_estimate t = estimate(m, e, r, compulsory_bytes(e.what, e.which));
            o->out.print([&] { return run_text(a, e, r) + '\n' + estimate_text(m, e, r, t); },
                         [&] { return run_json(a, e, r, m, t); }, csv);
            return static_cast<int>(done);
        };
    });
}

} // namespace pantile::inline v0::simulator::tool
