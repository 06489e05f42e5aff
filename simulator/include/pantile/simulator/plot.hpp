/// \file
/// Log-log line plots as self-contained SVG.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <pantile/core/macros.hpp>

namespace pantile::inline v0::simulator {

struct plot_series {
    std::string label;
    std::vector<std::pair<double, double>> points; ///< both coordinates positive
    bool dashed = false;
};

struct plot {
    std::string title;
    std::string x_label;
    std::string y_label;
    std::vector<plot_series> series;
    std::vector<std::pair<double, std::string>> marks; ///< vertical lines: position, text
    bool binary_x = true; ///< ticks at powers of two, written 1K, 2K, …; else at powers of ten
    bool log_y = true;    ///< false: linear, from 0
};

[[nodiscard]] PANTILE_API std::string svg(const plot& p);

} // namespace pantile::inline v0::simulator
