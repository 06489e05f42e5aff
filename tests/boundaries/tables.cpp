#include "tables.hpp"

#include <regex>
#include <sstream>

namespace pantile::boundaries {
namespace {

/// Cells of a line that begins with '|'; the closing '|' may be missing.
std::size_t cells_of(std::string line) {
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.pop_back();
    std::size_t bars = 0;
    for (std::size_t n = 0; n < line.size(); ++n) bars += line[n] == '|' && (n == 0 || line[n - 1] != '\\') ? 1 : 0;
    const bool closed = line.size() > 1 && line.back() == '|' && line[line.size() - 2] != '\\';
    return closed ? bars - 1 : bars;
}

} // namespace

std::vector<std::string> table_faults(const std::string& text) {
    static const std::regex fence(R"(^ {0,3}(```|~~~).*)");
    static const std::regex row(R"(^ {0,3}\|.*)");
    static const std::regex delimiters(R"(^ {0,3}\|( *:?-+:? *\|)* *(:?-+:?)? *\r?$)");
    std::vector<std::string> faults;
    std::stringstream stream(text);
    bool in_code = false;
    std::size_t rows = 0;    // of the table so far
    std::size_t columns = 0; // of its header
    int number = 0;
    const auto fault = [&](int line, const std::string& what) {
        faults.push_back("line " + std::to_string(line) + ": " + what);
    };
    const auto end_table = [&](int line) {
        if (rows == 1) fault(line - 1, "no table: it has no delimiter row (| --- |)");
        rows = 0;
    };
    for (std::string line; std::getline(stream, line);) {
        ++number;
        if (std::regex_match(line, fence)) in_code = !in_code;
        if (in_code || !std::regex_match(line, row)) {
            end_table(number);
            continue;
        }
        ++rows;
        const std::size_t cells = cells_of(line);
        if (rows == 1) {
            columns = cells;
        } else if (rows == 2 && !std::regex_match(line, delimiters)) {
            fault(number - 1, "no table: the next line is no delimiter row (| --- |)");
        } else if (cells != columns) {
            fault(number, std::to_string(cells) + " cells under a header of " + std::to_string(columns));
        }
    }
    end_table(number + 1);
    return faults;
}

} // namespace pantile::boundaries
