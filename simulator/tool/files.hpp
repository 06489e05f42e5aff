/// \file
/// Writing result files.
#pragma once

#include <fstream>
#include <string>

#include <pantile/error.hpp>

namespace pantile::inline v0::simulator::tool {

inline void write_file(const std::string& path, const std::string& text) {
    std::ofstream out(path, std::ios::binary);
    out << text;
    out.close();
    if (!out) throw invalid_argument("cannot write '" + path + "'");
}

} // namespace pantile::inline v0::simulator::tool
