/// \file
/// What a shared library shows: the functions and classes that its headers mark with PANTILE_API, and nothing else.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace pantile::boundaries {

/// The names that headers mark with PANTILE_API, in full: "pantile::erased::attention", "pantile::invalid_argument".
struct public_names {
    std::set<std::string> functions;
    std::set<std::string> classes;
};

/// Adds those of a header's text. Names are as a program writes them: without the inline namespace v0.
void add_public_names(const std::string& header, public_names& to);

/// What is wrong with the exported symbols (mangled), one message each; empty if all is well: a symbol must be
///   - a function that is marked;
///   - of a class that is marked: a member, or what its exceptions are recognised by;
///   - of the C interface: pantile_….
std::vector<std::string> export_faults(const std::vector<std::string>& symbols, const public_names& names);

/// The functions that are marked, but that none of the symbols (of all libraries together) is.
std::vector<std::string> missing_exports(const std::vector<std::string>& symbols, const public_names& names);

} // namespace pantile::boundaries
