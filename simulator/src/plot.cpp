#include <pantile/simulator/plot.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "markup.hpp"

namespace pantile::inline v0::simulator {

namespace {

constexpr double width = 760, height = 460, left = 74, right = 168, top = 40, bottom = 52;
constexpr std::array<const char*, 8> colours{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                             "#e69f00", "#56b4e9", "#555555", "#882255"}; // safe for colour-blind eyes

std::string number(double x) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f", x);
    return text.data();
}

/// 1024 -> "1K", 0.25 -> "0.25".
std::string binary(double x) {
    static constexpr std::array<const char*, 4> units{"", "K", "M", "G"};
    std::size_t unit = 0;
    while (x >= 1024 && unit + 1 < units.size()) {
        x /= 1024;
        ++unit;
    }
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%g%s", x, units[unit]);
    return text.data();
}

std::string decimal(double x) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), x >= 1e5 || x < 1e-3 ? "%.0e" : "%g", x);
    return text.data();
}

struct axis {
    double low = HUGE_VAL;
    double high = 0;
    bool log = true;
    void take(double x) {
        low = std::min(low, x);
        high = std::max(high, x);
    }
    [[nodiscard]] double part(double x) const {
        if (!log) return high > 0 ? x / high : 0.0;
        return high > low ? (std::log(x) - std::log(low)) / (std::log(high) - std::log(low)) : 0.5;
    }
};

class drawing {
  public:
    explicit drawing(const plot& p) : p_(p) {
        y_.log = p.log_y;
        for (const plot_series& s : p.series) {
            for (const auto& [x, y] : s.points) {
                x_.take(x);
                y_.take(y);
            }
        }
        if (p.log_y) {
            y_.low = std::pow(10.0, std::floor(std::log10(y_.low)));
            y_.high = std::pow(10.0, std::ceil(std::log10(y_.high)));
        } else {
            y_.low = 0;
            y_.high *= 1.05;
        }
    }

    std::string run() {
        out_ = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(width) + ' ' + number(height) +
               "\" width=\"" + number(width) +
               "\" font-family=\"sans-serif\" font-size=\"12\">\n"
               "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
        text(left, 22, p_.title, "start", "font-size=\"15\" font-weight=\"bold\"");
        grid();
        marks();
        for (std::size_t i = 0; i < p_.series.size(); ++i) line(i);
        text((left + width - right) / 2, height - 12, p_.x_label, "middle");
        out_ += "<text transform=\"translate(16," + number((top + height - bottom) / 2) +
                ") rotate(-90)\" text-anchor=\"middle\">" + escaped(p_.y_label) + "</text>\n</svg>\n";
        return out_;
    }

  private:
    [[nodiscard]] double px(double x) const { return left + x_.part(x) * (width - left - right); }
    [[nodiscard]] double py(double y) const { return height - bottom - y_.part(y) * (height - top - bottom); }

    void text(double x, double y, const std::string& what, const char* anchor, const char* more = "") {
        out_ += "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\" " + more + '>' +
                escaped(what) + "</text>\n";
    }
    void rule(double x0, double y0, double x1, double y1, const char* style) {
        out_ += "<line x1=\"" + number(x0) + "\" y1=\"" + number(y0) + "\" x2=\"" + number(x1) + "\" y2=\"" +
                number(y1) + "\" " + style + "/>\n";
    }
    void grid() {
        const char* faint = "stroke=\"#e4e4e4\"";
        const double base = p_.binary_x ? 2 : 10;
        const double first = std::ceil(std::log(x_.low) / std::log(base) - 1e-9);
        const double last = std::floor(std::log(x_.high) / std::log(base) + 1e-9);
        const double step = std::max(1.0, std::ceil((last - first + 1) / 12));
        for (double power = first; power <= last; power += step) {
            const double x = std::pow(base, power);
            rule(px(x), top, px(x), height - bottom, faint);
            text(px(x), height - bottom + 16, p_.binary_x ? binary(x) : decimal(x), "middle");
        }
        if (p_.log_y) {
            for (double y = y_.low; y <= y_.high * 1.001; y *= 10) tick(y, decimal(y));
        } else {
            const double rough = y_.high / 6;
            const double power = std::pow(10.0, std::floor(std::log10(rough)));
            const double nice = rough / power < 2 ? 2 * power : rough / power < 5 ? 5 * power : 10 * power;
            for (double y = 0; y <= y_.high; y += nice) tick(y, decimal(y == 0 ? 0.0 : y));
        }
        out_ += "<rect x=\"" + number(left) + "\" y=\"" + number(top) + "\" width=\"" + number(width - left - right) +
                "\" height=\"" + number(height - top - bottom) + "\" fill=\"none\" stroke=\"#888888\"/>\n";
    }
    void tick(double y, const std::string& label) {
        rule(left, py(y), width - right, py(y), "stroke=\"#e4e4e4\"");
        text(left - 6, py(y) + 4, label == "0e+00" ? "0" : label, "end");
    }
    void marks() {
        for (const auto& [x, what] : p_.marks) {
            if (x < x_.low || x > x_.high) continue;
            rule(px(x), top, px(x), height - bottom, "stroke=\"#999999\" stroke-dasharray=\"2 3\"");
            text(px(x) + 3, top + 12, what, "start", "fill=\"#666666\" font-size=\"11\"");
        }
    }
    void line(std::size_t i) {
        const plot_series& s = p_.series[i];
        const std::string colour = colours[i % colours.size()];
        std::string points;
        for (const auto& [x, y] : s.points) points += number(px(x)) + ',' + number(py(y)) + ' ';
        out_ += "<polyline points=\"" + points + "\" fill=\"none\" stroke=\"" + colour + "\" stroke-width=\"2\"" +
                (s.dashed ? " stroke-dasharray=\"6 4\"" : "") + "/>\n";
        const double y = top + 14 + 20 * static_cast<double>(i);
        out_ += "<line x1=\"" + number(width - right + 12) + "\" y1=\"" + number(y - 4) + "\" x2=\"" +
                number(width - right + 36) + "\" y2=\"" + number(y - 4) + "\" stroke=\"" + colour +
                "\" stroke-width=\"2\"" + (s.dashed ? " stroke-dasharray=\"6 4\"" : "") + "/>\n";
        text(width - right + 42, y, s.label, "start");
    }

    const plot& p_;
    axis x_, y_;
    std::string out_;
};

} // namespace

std::string svg(const plot& p) { return drawing(p).run(); }

} // namespace pantile::inline v0::simulator
