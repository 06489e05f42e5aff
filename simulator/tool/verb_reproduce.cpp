#include <algorithm>
#include <memory>

#include <pantile/simulator.hpp>

#include "output.hpp"
#include "verbs.hpp"

namespace pantile::inline v0::simulator::tool {

namespace {

struct reproduce_options {
    std::string name = "all";
    output out;
};

} // namespace

void add_reproduce(CLI::App& app, action& chosen) {
    const auto o = std::make_shared<reproduce_options>();
    std::string names = "all";
    for (const std::string& n : reproduction_names()) names += ", " + n;
    CLI::App* verb = app.add_subcommand("reproduce", "Published figures beside ours, hit or miss, with the accounting");
    verb->add_option("figure", o->name, names)->capture_default_str();
    o->out.add(*verb);
    verb->footer("Exit code 4 if a value that should be met is missed.\n"
                 "Examples:\n"
                 "  pantile-sim reproduce all\n"
                 "  pantile-sim reproduce fa1-fig2-middle");
    verb->callback([o, &chosen] {
        chosen = [o] {
            const std::vector<reproduction> list = reproduce(o->name);
            o->out.print([&] { return reproduction_text(list); }, [&] { return reproduction_json(list); },
                         [&] { return reproduction_csv(list); });
            const bool explained =
                std::all_of(list.begin(), list.end(), [](const reproduction& r) { return r.explained(); });
            return static_cast<int>(explained ? done : mismatch);
        };
    });
}

} // namespace pantile::inline v0::simulator::tool
