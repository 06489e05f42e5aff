/// \file
/// The verbs of pantile-sim: each parses its options and calls the library. A verb returns the exit code of its run.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

namespace pantile::inline v0::simulator::tool {

/// Exit codes.
enum exit_code : int { done = 0, usage = 2, too_big = 3, mismatch = 4 };

/// What the chosen verb will do once all options are read.
using action = std::function<int()>;

void add_run(CLI::App& app, action& chosen);
void add_check(CLI::App& app, action& chosen);
void add_plan(CLI::App& app, action& chosen);
void add_sweep(CLI::App& app, action& chosen);
void add_reproduce(CLI::App& app, action& chosen);
void add_l2(CLI::App& app, action& chosen);
void add_trace(CLI::App& app, action& chosen);
void add_compare(CLI::App& app, action& chosen);
void add_machines(CLI::App& app, action& chosen);
void add_report(CLI::App& app, action& chosen);

} // namespace pantile::inline v0::simulator::tool
