// pantile-sim: IO complexity that can be run. Every verb is a thin call of pantile/simulator.hpp.

#include <exception>
#include <iostream>
#include <stdexcept>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

#include "verbs.hpp"

namespace tool = pantile::simulator::tool;

int main(int argc, char** argv) {
    try {
        CLI::App app{"Runs attention algorithms on a simulated memory hierarchy and counts what they move."};
        app.name("pantile-sim");
        app.require_subcommand(1);
        app.get_formatter()->column_width(36);
        app.footer("Exit codes: 0 done, 2 usage, 3 does not fit near memory, 4 mismatch.\n"
                   "Each verb has examples: pantile-sim run --help");
        tool::action chosen;
        tool::add_run(app, chosen);
        tool::add_check(app, chosen);
        tool::add_plan(app, chosen);
        tool::add_sweep(app, chosen);
        tool::add_reproduce(app, chosen);
        tool::add_l2(app, chosen);
        tool::add_trace(app, chosen);
        tool::add_compare(app, chosen);
        tool::add_report(app, chosen);
        try {
            app.parse(argc, argv);
        } catch (const CLI::Success& e) { // --help
            return app.exit(e);
        } catch (const CLI::ParseError& e) {
            std::cerr << "pantile-sim: " << e.what() << " (pantile-sim --help)\n";
            return tool::usage;
        }
        return chosen();
    } catch (const pantile::simulator::does_not_fit& e) {
        std::cerr << "pantile-sim: does not fit: " << e.what() << '\n';
        return tool::too_big;
    } catch (const std::exception& e) {
        std::cerr << "pantile-sim: " << e.what() << '\n';
        return tool::usage;
    }
}
