#include <memory>

#include "call_options.hpp"
#include "output.hpp"
#include "verbs.hpp"

namespace pantile::inline v0::simulator::tool {

namespace {

struct plan_options {
    call_options call;
    std::size_t limit = 10;
    output out;
};

} // namespace

void add_plan(CLI::App& app, action& chosen) {
    const auto o = std::make_shared<plan_options>();
    CLI::App* verb = app.add_subcommand("plan", "Tile sizes that fit near memory, least traffic first");
    o->call.machine = "h100";
    o->call.add_algorithm(*verb);
    o->call.add_sizes(*verb);
    o->call.add_tiles(*verb);
    verb->remove_option(verb->get_option("--tiles"));
    verb->add_option("--limit", o->limit, "rows of the table")->capture_default_str();
    o->out.add(*verb);
    verb->footer("Examples:\n"
                 "  pantile-sim plan --machine h100 -d 128 --pass backward\n"
                 "  pantile-sim plan --machine a100 -d 64 --stages 2 --separate-p\n"
                 "  pantile-sim plan --algorithm fa1 --sram 64K -d 128");
    verb->callback([o, verb, &chosen] {
        if (verb->count("--sram") > 0 && verb->count("--machine") == 0) o->call.machine.clear();
        chosen = [o] {
            const algorithm& a = find_algorithm(o->call.algorithm);
            experiment e = o->call.without_tiles();
            const auto choices = feasible_tiles(a, e, o->call.quantum(), o->limit);
            if (choices.empty())
                e.plan = parse_tiles("feasible", a, e, o->call.quantum()); // throws, naming the live set
            o->out.print([&] { return plan_text(a, e, choices); }, [&] { return plan_json(a, e, choices); },
                         [&] { return plan_csv(choices); });
            return static_cast<int>(done);
        };
    });
}

} // namespace pantile::inline v0::simulator::tool
