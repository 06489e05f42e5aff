#include <iostream>
#include <memory>
#include <sstream>

#include <pantile/simulator.hpp>

#include "output.hpp"
#include "verbs.hpp"

namespace pantile::inline v0::simulator::tool {

namespace {

struct machines_options {
    std::string name;
    output out;
};

std::string csv_of(const machine& m) {
    std::string csv = "figure,value,source\n";
    for (const machine_figure& f : figures_of(m)) {
        std::ostringstream value;
        value.precision(15);
        value << f.value;
        csv += csv_line({f.name, value.str(), f.source});
    }
    return csv;
}

} // namespace

void add_machines(CLI::App& app, action& chosen) {
    const auto o = std::make_shared<machines_options>();
    CLI::App* verb = app.add_subcommand("machines", "The built-in machines: every figure with its source");
    std::string names;
    for (const std::string& m : machine_names()) names += m + ", ";
    verb->add_option("machine", o->name, names + "here, or a JSON file  [all built-in ones]");
    o->out.add(*verb);
    verb->footer(
        "A JSON file of your own has the fields that are shown; a figure is a number or {\"value\", \"source\"}:\n"
        "  {\"name\": \"toy\", \"processors\": 4, \"clock_ghz\": {\"value\": 2, \"source\": \"its manual\"},\n"
        "   \"scratchpad_bytes\": 65536, \"matrix_tflops\": {\"bf16\": 10}, \"memory_gb_per_s\": 100,\n"
        "   \"caches\": [{\"name\": \"L2\", \"bytes\": 1048576, \"ways\": 16, \"line_bytes\": 64}]}\n"
        "Examples:\n"
        "  pantile-sim machines h100\n"
        "  pantile-sim machines here --json\n"
        "  pantile-sim run -n 8K --machine toy.json");
    verb->callback([o, &chosen] {
        chosen = [o] {
            std::vector<machine> list;
            for (const std::string& name : o->name.empty() ? machine_names() : std::vector<std::string>{o->name}) {
                list.push_back(find_machine(name));
            }
            const auto joined = [&](auto&& one, const char* between) {
                std::string all;
                for (const machine& m : list) all += (all.empty() ? "" : between) + one(m);
                return all;
            };
            o->out.print(
                [&] { return joined(machine_text, "\n"); },
                [&] { return list.size() == 1 ? machine_json(list[0]) : "[" + joined(machine_json, ",") + "]\n"; },
                [&] { return joined(csv_of, ""); });
            return static_cast<int>(done);
        };
    });
}

} // namespace pantile::inline v0::simulator::tool
