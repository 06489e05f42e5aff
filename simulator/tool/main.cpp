// pantile-sim: IO complexity that can be run. Every verb is a thin call of pantile/simulator.hpp.

#include <algorithm>
#include <exception>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

#include "verbs.hpp"

namespace tool = pantile::simulator::tool;

namespace {

/// Letters to insert, delete or replace to make one word of the other.
std::size_t distance(const std::string& a, const std::string& b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
        }
    }
    return row.back();
}

/// What is wrong with the first word of the command line, if it is to be a verb; empty if nothing is.
std::string verb_objection(const CLI::App& app, int argc, char** argv) {
    const std::string word = argc > 1 ? argv[1] : "";
    if (!word.empty() && word[0] == '-') return {};
    std::string verbs;
    std::string nearest;
    for (const CLI::App* verb : app.get_subcommands({})) {
        const std::string name = verb->get_name();
        if (name == word) return {};
        verbs += (verbs.empty() ? "" : ", ") + name;
        if (nearest.empty() || distance(word, name) < distance(word, nearest)) nearest = name;
    }
    if (word.empty()) return "what to do? Name one of " + verbs + " (pantile-sim --help)";
    if (distance(word, nearest) <= std::max<std::size_t>(1, nearest.size() / 2)) {
        return "there is no '" + word + "'; did you mean '" + nearest + "'? (pantile-sim --help)";
    }
    return "there is no '" + word + "'; there are " + verbs + " (pantile-sim --help)";
}

/// The library's checks begin with its name, the tool's lines with its own.
std::string without_name(std::string text) {
    constexpr std::string_view name = "pantile: ";
    if (text.rfind(name, 0) == 0) text.erase(0, name.size());
    return text;
}

} // namespace

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
        tool::add_machines(app, chosen);
        tool::add_report(app, chosen);
        if (const std::string objection = verb_objection(app, argc, argv); !objection.empty()) {
            std::cerr << "pantile-sim: " << objection << '\n';
            return tool::usage;
        }
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
        std::cerr << "pantile-sim: " << without_name(e.what()) << '\n';
        return tool::usage;
    }
}
