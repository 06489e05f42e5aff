#pragma once

#include <string>

namespace pantile::inline v0::simulator {

/// `text` as the content of an HTML or SVG element.
[[nodiscard]] inline std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '&')
            out += "&amp;";
        else if (c == '<')
            out += "&lt;";
        else
            out += c;
    }
    return out;
}

} // namespace pantile::inline v0::simulator
