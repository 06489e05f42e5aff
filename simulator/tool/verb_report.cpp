#include <iomanip>
#include <iostream>
#include <memory>

#include <pantile/simulator.hpp>

#include "files.hpp"
#include "verbs.hpp"

namespace pantile::inline v0::simulator::tool {

namespace {

struct report_options {
    std::string out = "pantile-report.html";
    bool json = false;
};

} // namespace

void add_report(CLI::App& app, action& chosen) {
    const auto o = std::make_shared<report_options>();
    CLI::App* verb =
        app.add_subcommand("report", "One self-contained HTML page: laws, figures, caches, walks in motion");
    verb->add_option("--out", o->out, "file to write")->capture_default_str();
    verb->add_flag("--json", o->json, "the name and size of the file as JSON");
    verb->footer("Takes a few seconds. Example:\n  pantile-sim report --out report.html");
    verb->callback([o, &chosen] {
        chosen = [o] {
            const std::string page = report_html();
            write_file(o->out, page);
            if (o->json) {
                std::cout << "{\"file\": " << std::quoted(o->out) << ", \"bytes\": " << page.size() << "}\n";
                return static_cast<int>(done);
            }
            std::cout << o->out << '\n';
            return static_cast<int>(done);
        };
    });
}

} // namespace pantile::inline v0::simulator::tool
