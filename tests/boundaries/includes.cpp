#include "includes.hpp"

#include <algorithm>
#include <regex>
#include <set>
#include <sstream>

namespace pantile::boundaries {
namespace {

// What a kernel may use on any machine, also in device code.
const std::set<std::string> freestanding = {"bit",     "cmath",  "compare",     "concepts", "cstddef",
                                            "cstdint", "limits", "type_traits", "utility",  "version"};

// The third-party headers that each room stands on, as patterns of the whole name.
const std::map<std::string, std::string> third_party = {
    {"cpu", R"(xsimd/.*|omp\.h|immintrin\.h|x86intrin\.h|cpuid\.h|pthread\.h|sys/.*|unistd\.h|asm/.*)"},
    {"cuda", R"(cuda.*|cooperative_groups.*|mma\.h|cub/.*)"},
    {"simulator", R"(nlohmann/.*|CLI/.*|unistd\.h|sys/.*)"},
};

// What a header for C may use.
const std::set<std::string> freestanding_c = {"stddef.h", "stdint.h"};

bool is_standard(const std::string& name) { return name.find_first_of("/.") == std::string::npos; }

bool starts_with(const std::string& text, const std::string& prefix) {
    return text.compare(0, prefix.size(), prefix) == 0;
}

std::string room_of(const std::string& path) { return path.substr(0, path.find('/')); }

/// "cpu/src/isa/../machine.hpp" -> "cpu/src/machine.hpp"; leading ".." stay.
std::string normalised(const std::string& path) {
    std::vector<std::string> parts;
    std::stringstream stream(path);
    for (std::string part; std::getline(stream, part, '/');) {
        if (part == ".." && !parts.empty() && parts.back() != "..") {
            parts.pop_back();
        } else if (part != ".") {
            parts.push_back(part);
        }
    }
    std::string result;
    for (const std::string& part : parts) result += (result.empty() ? "" : "/") + part;
    return result;
}

} // namespace

std::vector<include_line> parse_includes(const std::string& text) {
    static const std::regex block_comment(R"(/\*[^]*?\*/)");
    static const std::regex include(R"re(^\s*#\s*include\s*([<"])([^>"]+)[>"])re");
    // A block comment keeps its line ends, so that the line numbers stay right.
    std::string code;
    auto from = text.cbegin();
    for (std::sregex_iterator it(text.begin(), text.end(), block_comment), end; it != end; ++it) {
        code.append(from, (*it)[0].first);
        code.append(static_cast<std::size_t>(std::count((*it)[0].first, (*it)[0].second, '\n')), '\n');
        from = (*it)[0].second;
    }
    code.append(from, text.cend());

    std::vector<include_line> found;
    std::stringstream stream(code);
    int number = 0;
    for (std::string line; std::getline(stream, line);) {
        ++number;
        std::smatch match;
        if (std::regex_search(line, match, include)) found.push_back({match[2], match[1] == "\"", number});
    }
    return found;
}

std::vector<std::string> violations(const source_file& file, const header_rooms& rooms) {
    const std::string room = room_of(file.path);
    const bool is_core_header = starts_with(file.path, "core/include/pantile/core/");
    const bool is_public = file.path.find("/include/") != std::string::npos;
    const bool is_c_header = is_public && file.path.substr(file.path.rfind('.') + 1) == "h";
    std::vector<std::string> found;

    for (const include_line& include : parse_includes(file.text)) {
        const auto object = [&](const std::string& why) {
            found.push_back(file.path + ":" + std::to_string(include.line) + ": includes " + include.name + ": " + why);
        };
        if (include.quoted && include.name.find("..") != std::string::npos) {
            const std::string folder = file.path.substr(0, file.path.rfind('/') + 1);
            if (room_of(normalised(folder + include.name)) != room) object("a path that leaves the room");
        } else if (const auto owner = rooms.find(include.name); owner != rooms.end()) {
            if (is_core_header && !starts_with(include.name, "pantile/core/")) {
                object("pantile/core/ must not know the public page");
            } else if (owner->second != "core" && owner->second != room) {
                object(room + " must not know " + owner->second);
            }
        } else if (starts_with(include.name, "pantile/")) {
            object("no room has such a header");
        } else if (is_core_header) {
            if (freestanding.count(include.name) == 0) object("core headers are freestanding");
        } else if (is_c_header && freestanding_c.count(include.name) != 0) {
            continue;
        } else if (include.quoted || is_standard(include.name)) {
            if (is_c_header) object("C has no such header");
            if (include.quoted && is_public) object("a public header includes by <pantile/...>");
        } else if (is_public) {
            const bool eigen_adaptor =
                file.path == "cpu/include/pantile/eigen.hpp" && starts_with(include.name, "Eigen/");
            if (!eigen_adaptor) object("third-party code in a public header");
        } else if (const auto allowed = third_party.find(room);
                   allowed == third_party.end() || !std::regex_match(include.name, std::regex(allowed->second))) {
            object(room + " does not stand on this");
        }
    }
    return found;
}

std::vector<std::string> core_headers_without_a_machine(const std::vector<source_file>& files) {
    std::map<std::string, const source_file*> headers; // by the name that they are included by
    std::vector<const source_file*> to_read;
    for (const source_file& file : files) {
        const std::string include = "/include/";
        const auto at = file.path.find(include);
        if (at != std::string::npos) headers[file.path.substr(at + include.size())] = &file;
        if (room_of(file.path) == "cpu" || room_of(file.path) == "cuda") to_read.push_back(&file);
    }
    std::set<std::string> read;
    while (!to_read.empty()) {
        const source_file* file = to_read.back();
        to_read.pop_back();
        for (const include_line& include : parse_includes(file->text)) {
            const auto header = headers.find(include.name);
            if (header != headers.end() && read.insert(include.name).second) to_read.push_back(header->second);
        }
    }
    std::vector<std::string> unread;
    for (const auto& [name, file] : headers) {
        if (starts_with(name, "pantile/core/") && read.count(name) == 0) unread.push_back(name);
    }
    return unread;
}

} // namespace pantile::boundaries
