#include <iostream>
#include <memory>

#include <pantile/simulator.hpp>

#include "files.hpp"
#include "verbs.hpp"

namespace pantile::simulator::tool {

void add_report(CLI::App& app, action& chosen) {
    const auto out = std::make_shared<std::string>("pantile-report.html");
    CLI::App* verb =
        app.add_subcommand("report", "One self-contained HTML page: laws, figures, caches, walks in motion");
    verb->add_option("--out", *out, "file to write")->capture_default_str();
    verb->footer("Takes a few seconds. Example:\n  pantile-sim report --out report.html");
    verb->callback([out, &chosen] {
        chosen = [out] {
            write_file(*out, report_html());
            std::cout << *out << '\n';
            return static_cast<int>(done);
        };
    });
}

} // namespace pantile::simulator::tool
