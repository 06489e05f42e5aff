#include <algorithm>
#include <iostream>
#include <memory>

#include <pantile/simulator.hpp>

#include "verbs.hpp"

namespace pantile::simulator::tool {

namespace {

struct reproduce_options {
    std::string name = "all";
    bool json = false;
};

} // namespace

void add_reproduce(CLI::App& app, action& chosen) {
    const auto o = std::make_shared<reproduce_options>();
    std::string names = "all";
    for (const std::string& n : reproduction_names()) names += ", " + n;
    CLI::App* verb = app.add_subcommand("reproduce", "Published figures beside ours, hit or miss, with the accounting");
    verb->add_option("figure", o->name, names)->capture_default_str();
    verb->add_flag("--json", o->json, "JSON instead of tables");
    verb->footer("Exit code 4 if a value that should be met is missed.\n"
                 "Examples:\n"
                 "  pantile-sim reproduce all\n"
                 "  pantile-sim reproduce fa1-fig2-middle");
    verb->callback([o, &chosen] {
        chosen = [o] {
            const std::vector<reproduction> list = reproduce(o->name);
            std::cout << (o->json ? reproduction_json(list) : reproduction_text(list));
            const bool explained =
                std::all_of(list.begin(), list.end(), [](const reproduction& r) { return r.explained(); });
            return static_cast<int>(explained ? done : mismatch);
        };
    });
}

} // namespace pantile::simulator::tool
