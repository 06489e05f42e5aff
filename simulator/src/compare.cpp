#include <pantile/simulator/compare.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>

#include <nlohmann/json.hpp>

#include <pantile/error.hpp>
#include <pantile/simulator/estimate.hpp>
#include <pantile/simulator/format.hpp>

namespace pantile::inline v0::simulator {

namespace {

/// Cells of one CSV line; cells may be quoted, a quote inside is doubled.
std::vector<std::string> cells_of(const std::string& line) {
    std::vector<std::string> cells(1);
    bool quoted = false;
    for (std::size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        if (c == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
            cells.back() += '"';
            ++i;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (c == ',' && !quoted) {
            cells.emplace_back();
        } else if (c != '\r') {
            cells.back() += c;
        }
    }
    return cells;
}

std::size_t column(const std::vector<std::string>& heading, std::string_view name) {
    return static_cast<std::size_t>(std::find(heading.begin(), heading.end(), name) - heading.begin());
}

double scale_of(std::string_view unit) {
    if (unit == "Kbyte") return 1e3;
    if (unit == "Mbyte") return 1e6;
    if (unit == "Gbyte") return 1e9;
    return 1;
}

/// callgrind writes a function as "(12) name" the first time and as "(12)" from then on.
class function_names {
  public:
    std::string learn(const std::string& text) {
        const std::size_t close = text.find(')');
        if (close == std::string::npos) return text;
        std::string& name = names_[text.substr(0, close)];
        if (close + 2 < text.size()) name = text.substr(close + 2);
        return name;
    }

  private:
    std::map<std::string, std::string> names_;
};

/// Does `name` contain one of the parts of "this|that"? Every name does if there are no parts.
bool is_wanted(const std::string& name, std::string_view parts) {
    if (parts.empty()) return true;
    std::stringstream list{std::string(parts)};
    for (std::string part; std::getline(list, part, '|');) {
        if (name.find(part) != std::string::npos) return true;
    }
    return false;
}

std::string percent(double x) {
    std::array<char, 24> text{};
    std::snprintf(text.data(), text.size(), "%+.3f %%", 100 * x);
    return text.data();
}

} // namespace

std::optional<double> ncu_kernel::metric(std::string_view wanted) const {
    for (const auto& [name, value] : metrics) {
        if (name == wanted) return value;
    }
    return std::nullopt;
}

std::vector<ncu_kernel> parse_ncu(std::string_view csv) {
    std::stringstream in{std::string(csv)};
    std::vector<std::string> heading;
    std::vector<ncu_kernel> kernels;
    std::size_t id = 0;
    std::size_t kernel = 0;
    std::size_t metric = 0;
    std::size_t unit = 0;
    std::size_t value = 0;
    for (std::string line; std::getline(in, line);) {
        const std::vector<std::string> cells = cells_of(line);
        if (heading.empty()) {
            id = column(cells, "ID");
            kernel = column(cells, "Kernel Name");
            metric = column(cells, "Metric Name");
            unit = column(cells, "Metric Unit");
            value = column(cells, "Metric Value");
            if (std::max({id, kernel, metric, unit, value}) < cells.size()) heading = cells;
            continue;
        }
        if (cells.size() != heading.size()) continue;
        if (kernels.empty() || kernels.back().id != cells[id]) kernels.push_back({cells[id], cells[kernel], {}});
        std::string digits = cells[value];
        digits.erase(std::remove(digits.begin(), digits.end(), ','), digits.end());
        kernels.back().metrics.emplace_back(cells[metric],
                                            std::strtod(digits.c_str(), nullptr) * scale_of(cells[unit]));
    }
    if (heading.empty()) {
        throw invalid_argument("ncu: no table with ID, Kernel Name, Metric Name, Metric Unit and Metric Value: "
                               "run ncu with --csv --metrics …");
    }
    return kernels;
}

std::vector<compared_value> compare_ncu(const std::vector<ncu_kernel>& kernels, std::string_view kernel,
                                        const algorithm& a, const experiment& e) {
    const index_t reads = a.formula(e.what, e.which, e.plan).bytes(e.what.type).reads;
    index_t inputs = 0;
    for (const tensor t : {tensor::q, tensor::k, tensor::v}) {
        const auto [places, rows, columns] = shape_of(t, e.what);
        inputs += places * rows * columns * bytes_of(t, e.what.type);
    }
    std::vector<compared_value> values;
    for (const ncu_kernel& k : kernels) {
        if (!is_wanted(k.name, kernel)) continue;
        const std::string label = "launch " + k.id + ' ' + k.name.substr(0, 40);
        if (const auto bytes = k.metric("l1tex__m_xbar2l1tex_read_bytes.sum")) {
            values.push_back(
                {label + ": L2 to SM, bytes", *bytes, static_cast<double>(reads), e.what.banded() ? 0.025 : 0.01});
        }
        if (const auto bytes = k.metric("dram__bytes_read.sum")) {
            values.push_back({label + ": DRAM reads, bytes", *bytes, static_cast<double>(inputs), 0.05});
        }
    }
    if (values.empty()) {
        throw invalid_argument("ncu: no kernel named '" + std::string(kernel) +
                               "' with l1tex__m_xbar2l1tex_read_bytes.sum or dram__bytes_read.sum");
    }
    return values;
}

callgrind_counts parse_callgrind(std::string_view text, std::string_view function) {
    callgrind_counts c;
    std::stringstream in{std::string(text)};
    std::vector<std::string> events;
    std::vector<index_t> sums;
    function_names names;
    bool wanted = function.empty();
    for (std::string line; std::getline(in, line);) {
        std::stringstream words(line);
        std::string first;
        words >> first;
        if (first == "events:") {
            for (std::string w; words >> w;) events.push_back(w);
            sums.resize(events.size());
        } else if (first == "desc:") { // desc: D1 cache: 49152 B, 64 B, 12-way associative
            std::string which;
            std::string word;
            cache_level l;
            words >> which >> word;
            if (which != "D1" && which != "LL") continue;
            l.name = which;
            words >> l.bytes >> word >> l.line_bytes >> word >> l.ways;
            c.caches.push_back(l);
        } else if (line.compare(0, 3, "fn=") == 0) {
            wanted = is_wanted(names.learn(line.substr(3)), function);
        } else if (line.compare(0, 4, "cfn=") == 0) {
            names.learn(line.substr(4)); // a callee may be named here first
        } else if (line.compare(0, 6, "calls=") == 0) {
            std::getline(in, line); // what the callee cost
        } else if (wanted && !line.empty() &&
                   (std::isdigit(static_cast<unsigned char>(line[0])) != 0 || line[0] == '+' || line[0] == '-' ||
                    line[0] == '*')) {
            std::size_t i = 0; // position, then one number an event; trailing zeros are left out
            for (index_t n = 0; words >> n && i < sums.size(); ++i) sums[i] = checked_add(sums[i], n);
        }
    }
    const auto event = [&](std::string_view name) {
        const auto at = static_cast<std::size_t>(std::find(events.begin(), events.end(), name) - events.begin());
        if (at >= sums.size())
            throw invalid_argument("callgrind: no " + std::string(name) + ": run it with --cache-sim=yes");
        return sums[at];
    };
    c.first_read_misses = event("D1mr");
    c.last_read_misses = event("DLmr");
    if (c.caches.size() != 2) throw invalid_argument("callgrind: the file does not describe its D1 and LL caches");
    return c;
}

std::vector<compared_value> compare_callgrind(const callgrind_counts& c, const algorithm& a, const experiment& e,
                                              double tolerance) {
    const cached_run r = run_cached(a, e, c.caches);
    return {{"last-level read misses", static_cast<double>(c.last_read_misses),
             static_cast<double>(r.levels.back().read_misses - r.levels.back().allocating_misses), tolerance}};
}

std::vector<compared_value> compare_callgrind(const callgrind_counts& c, const experiment& e,
                                              const panel_kernel& kernel, double tolerance) {
    const kernel_lines r = run_panel_kernel(e, kernel, c.caches);
    return {{"last-level read misses", static_cast<double>(c.last_read_misses),
             static_cast<double>(r.levels.back().read_misses), tolerance}};
}

std::string compare_text(const std::vector<compared_value>& values) {
    std::vector<std::vector<std::string>> rows{{"", "measured", "predicted", "difference", ""}};
    for (const compared_value& v : values) {
        rows.push_back({v.label, grouped(static_cast<index_t>(v.measured)), grouped(static_cast<index_t>(v.predicted)),
                        percent(v.error()), v.within() ? "within" : "OUTSIDE"});
        rows.back().back() += " " + percent(v.tolerance).substr(1);
    }
    return table(rows);
}

std::string compare_csv(const std::vector<compared_value>& values) {
    std::string csv = "label,measured,predicted,relative_error,tolerance,within\n";
    for (const compared_value& v : values) {
        csv += csv_line({v.label, std::to_string(v.measured), std::to_string(v.predicted), std::to_string(v.error()),
                         std::to_string(v.tolerance), v.within() ? "1" : "0"});
    }
    return csv;
}

std::string compare_json(const std::vector<compared_value>& values) {
    nlohmann::ordered_json j = nlohmann::ordered_json::array();
    for (const compared_value& v : values) {
        j.push_back({{"label", v.label},
                     {"measured", v.measured},
                     {"predicted", v.predicted},
                     {"relative_error", v.error()},
                     {"tolerance", v.tolerance},
                     {"within", v.within()}});
    }
    return j.dump(2) + '\n';
}

} // namespace pantile::inline v0::simulator
