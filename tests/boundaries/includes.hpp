/// \file
/// The include rules of the library, as data and one function, so that the rules themselves can be tested.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace pantile::boundaries {

/// One #include line.
struct include_line {
    std::string name;    ///< what stands between the brackets or quotes
    bool quoted = false; ///< "name" rather than <name>
    int line = 0;        ///< 1-based
};

/// The #include lines of a C++ or CUDA source, comments left out.
std::vector<include_line> parse_includes(const std::string& text);

/// A source file as the rules see it.
struct source_file {
    std::string path; ///< from the repository's root, with '/': "cpu/src/attention.cpp"
    std::string text;
};

/// Which room offers a header: "pantile/simulator.hpp" -> "simulator".
using header_rooms = std::map<std::string, std::string>;

/// What the file includes and must not, one message each; empty if it keeps the rules:
///   - pantile/core/*.hpp include only one another and the freestanding part of the standard library;
///   - a public header includes the standard library and pantile; eigen.hpp alone may include Eigen as well;
///   - a room includes itself and core, never another room, and no file outside it by a relative path;
///   - the sources of a room use only the third-party headers that the room stands on.
std::vector<std::string> violations(const source_file& file, const header_rooms& rooms);

/// The headers pantile/core/*.hpp that no file of the CPU's or CUDA's room reads, itself or through another header: what waits
/// for a machine that uses it. `files` are those of all rooms.
std::vector<std::string> core_headers_without_a_machine(const std::vector<source_file>& files);

} // namespace pantile::boundaries
