/// \file
/// Where a verb's result goes: text for people, or JSON, or a table's rows to a CSV file.
#pragma once

#include <functional>
#include <iostream>
#include <string>

#include <CLI/CLI.hpp>

#include "files.hpp"

namespace pantile::inline v0::simulator::tool {

struct output {
    bool json = false;
    std::string csv;

    void add_json(CLI::App& verb) { verb.add_flag("--json", json, "JSON instead of text"); }
    void add(CLI::App& verb) {
        add_json(verb);
        verb.add_option("--csv", csv, "also write the table's rows to a file; - is standard output, without the text");
    }
    using maker = std::function<std::string()>;
    void print(const maker& text, const maker& as_json, const maker& as_csv = {}) const {
        if (csv == "-") {
            std::cout << as_csv();
            return;
        }
        if (!csv.empty()) write_file(csv, as_csv());
        std::cout << (json ? as_json() : text());
    }
};

} // namespace pantile::inline v0::simulator::tool
