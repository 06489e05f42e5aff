#include <algorithm>
#include <array>
#include <cstdio>

#include <nlohmann/json.hpp>

#include <pantile/simulator/format.hpp>
#include <pantile/simulator/plot.hpp>
#include <pantile/simulator/sweep.hpp>

namespace pantile::inline v0::simulator {

namespace {

std::string fixed(std::optional<double> x, int digits) {
    if (!x) return "-";
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.*f", digits, *x);
    return text.data();
}

nlohmann::ordered_json optional_json(const std::optional<double>& x) {
    return x ? nlohmann::ordered_json(*x) : nlohmann::ordered_json();
}

std::string plan_text_of(const sweep_point& p) {
    if (!p.feasible) return "none fits";
    if (p.plan.row_tile == 0) return "-";
    return std::to_string(p.plan.row_tile) + " x " + std::to_string(p.plan.key_tile);
}

} // namespace

std::string sweep_csv(const std::vector<sweep_point>& points) {
    std::string csv = "algorithm,n,m,row_tile,key_tile,live,reads,writes,total\n";
    for (const sweep_point& p : points) {
        if (!p.feasible) continue;
        csv += p.label;
        for (const index_t x :
             {p.n, p.m, p.plan.row_tile, p.plan.key_tile, p.live, p.moved.reads, p.moved.writes, p.total()}) {
            csv += ',' + std::to_string(x);
        }
        csv += '\n';
    }
    return csv;
}

std::string sweep_text(const sweep_request& request, const std::vector<sweep_point>& points) {
    std::vector<std::vector<std::string>> rows{
        {"algorithm", "N", "M", "rows x keys", "live / M", "moved", "x M / N^2 d^2"}};
    const double d = static_cast<double>(request.head_dim);
    for (const sweep_point& p : points) {
        rows.push_back({p.label, grouped(p.n), grouped(p.m), plan_text_of(p)});
        if (!p.feasible) continue;
        const double n = static_cast<double>(p.n);
        const double m = static_cast<double>(p.m);
        rows.back().push_back(p.live > 0 ? fixed(static_cast<double>(p.live) / m, 2) : "-");
        rows.back().push_back(grouped(p.total()));
        rows.back().push_back(fixed(static_cast<double>(p.total()) * m / (n * n * d * d), 2));
    }
    return table(rows);
}

std::string fit_text(const std::vector<sweep_fit>& fits, const std::vector<crossover>& crossings) {
    std::vector<std::vector<std::string>> rows{{"fit", "points", "slope in M", "slope in N", "constant", "of"}};
    for (const sweep_fit& f : fits) {
        rows.push_back({f.label, std::to_string(f.points), fixed(f.slope_in_m, 3), fixed(f.slope_in_n, 3),
                        fixed(f.constant, 2), std::string(formula_of(f.law))});
    }
    std::string text = table(rows);
    for (const crossover& c : crossings) {
        text += c.second + " moves no more than " + c.first + " from M = " + fixed(c.in_d_squared, 3) + " d^2\n";
    }
    return text;
}

std::string sweep_json(const std::vector<sweep_point>& points, const std::vector<sweep_fit>& fits,
                       const std::vector<crossover>& crossings) {
    nlohmann::ordered_json j;
    j["points"] = nlohmann::ordered_json::array();
    for (const sweep_point& p : points) {
        if (!p.feasible) continue;
        j["points"].push_back({{"algorithm", p.label},
                               {"n", p.n},
                               {"m", p.m},
                               {"row_tile", p.plan.row_tile},
                               {"key_tile", p.plan.key_tile},
                               {"live", p.live},
                               {"reads", p.moved.reads},
                               {"writes", p.moved.writes}});
    }
    j["fits"] = nlohmann::ordered_json::array();
    for (const sweep_fit& f : fits) {
        j["fits"].push_back({{"algorithm", f.label},
                             {"law", formula_of(f.law)},
                             {"points", f.points},
                             {"slope_in_m", optional_json(f.slope_in_m)},
                             {"slope_in_n", optional_json(f.slope_in_n)},
                             {"constant", optional_json(f.constant)}});
    }
    j["crossovers"] = nlohmann::ordered_json::array();
    for (const crossover& c : crossings) {
        j["crossovers"].push_back(
            {{"first", c.first}, {"second", c.second}, {"m_in_d_squared", optional_json(c.in_d_squared)}});
    }
    return j.dump(2) + '\n';
}

std::string sweep_svg(const sweep_request& request, const std::vector<sweep_point>& points) {
    const index_t n = *std::max_element(request.lengths.begin(), request.lengths.end());
    plot p;
    p.title = "Elements moved, N = " + grouped(n) + ", d = " + std::to_string(request.head_dim) + ", " +
              std::string(name(request.which));
    p.x_label = "near memory M, elements";
    p.y_label = "elements moved";
    const double d = static_cast<double>(request.head_dim);
    p.marks = {{d * d, "M = d²"}};
    for (const contender& c : request.contenders) {
        plot_series s;
        s.label = c.label;
        s.dashed = !c.who->tiled();
        for (const sweep_point& x : points) {
            if (x.label == c.label && x.n == n && x.feasible) {
                s.points.emplace_back(static_cast<double>(x.m), static_cast<double>(x.total()));
            }
        }
        if (!s.points.empty()) p.series.push_back(s);
    }
    return svg(p);
}

} // namespace pantile::inline v0::simulator
