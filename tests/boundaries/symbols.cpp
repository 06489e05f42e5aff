#include "symbols.hpp"

#include <array>
#include <cstdio>
#include <sstream>
#include <stdexcept>

namespace pantile::boundaries {
namespace {

std::vector<symbol> read_symbols(const std::string& nm, const std::string& options, const std::string& file) {
    const std::string command = nm + " --defined-only --format=posix " + options + " '" + file + "'";
    std::FILE* pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
    std::string output;
    std::array<char, 4096> buffer{};
    while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), got);
    if (::pclose(pipe) != 0) throw std::runtime_error("failed: " + command);

    std::vector<symbol> symbols;
    std::stringstream lines(output);
    for (std::string line; std::getline(lines, line);) {
        std::stringstream words(line);
        symbol s;
        if (words >> s.name >> s.kind) symbols.push_back(s);
    }
    return symbols;
}

} // namespace

std::vector<symbol> symbols_of(const std::string& nm, const std::string& object_file) {
    return read_symbols(nm, "", object_file);
}

std::vector<symbol> exported_symbols(const std::string& nm, const std::string& library) {
    return read_symbols(nm, "--dynamic", library);
}

std::string isa_tag(const std::string& object_file) {
    const std::string file = object_file.substr(object_file.rfind('/') + 1);
    for (const char* tag : {"avx512", "avx2", "amx"}) {
        if (file.find(tag) != std::string::npos) return tag;
    }
    if (file.find("baseline") != std::string::npos) return "";
    throw std::runtime_error(object_file + " does not say its ISA in its name");
}

std::vector<std::string> untagged_weak(const std::vector<symbol>& symbols, const std::string& tag) {
    std::vector<std::string> found;
    for (const symbol& s : symbols) {
        const bool weak = s.kind == 'W' || s.kind == 'V' || s.kind == 'u';
        // The compiler's reference to the exception handler: an address, the same in every object file.
        const bool harmless = s.name.compare(0, 7, "DW.ref.") == 0;
        if (weak && !harmless && s.name.find(tag) == std::string::npos) found.push_back(s.name);
    }
    return found;
}

} // namespace pantile::boundaries
