#include <pantile/simulator/sweep.hpp>

#include <algorithm>
#include <cmath>

#include <pantile/error.hpp>
#include <pantile/simulator/blocks.hpp>
#include <pantile/simulator/format.hpp>

namespace pantile::inline v0::simulator {

namespace {

/// Least-squares slope of log y against log x; none with fewer than two abscissae.
std::optional<double> log_slope(const std::vector<std::pair<double, double>>& points) {
    double mean_x = 0;
    double mean_y = 0;
    for (const auto& [x, y] : points) {
        mean_x += std::log(x) / static_cast<double>(points.size());
        mean_y += std::log(y) / static_cast<double>(points.size());
    }
    double xx = 0;
    double xy = 0;
    for (const auto& [x, y] : points) {
        xx += (std::log(x) - mean_x) * (std::log(x) - mean_x);
        xy += (std::log(x) - mean_x) * (std::log(y) - mean_y);
    }
    if (points.size() < 2 || xx < 1e-12) return std::nullopt;
    return xy / xx;
}

/// With few passes over the tiles the first one, which every algorithm makes, weighs too much; in little memory the tiles'
/// fixed parts and rounding do; and each law has a range of near memory.
bool lawful(io_law law, const sweep_point& p, index_t head_dim) {
    if (!p.feasible) return false;
    if (law == io_law::tiles && p.m < 64 * head_dim) return false;
    if (law == io_law::squares && (p.m < 4096 || checked_mul(p.m, 1024) > checked_mul(head_dim, head_dim)))
        return false;
    return std::min(core::ceil_div(p.n, p.plan.row_tile), core::ceil_div(p.n, p.plan.key_tile)) >= 64;
}

} // namespace

std::string_view formula_of(io_law law) { return law == io_law::tiles ? "N^2 d^2 / M" : "N^2 d / sqrt(M)"; }

contender parse_contender(std::string_view text) {
    const std::size_t colon = text.find(':');
    const algorithm& a = find_algorithm(text.substr(0, colon));
    const std::string tiles(colon == std::string_view::npos ? "feasible" : text.substr(colon + 1));
    if (tiles != "feasible" && tiles != "paper") {
        throw invalid_argument("tiles of '" + std::string(text) + "' must be feasible or paper");
    }
    return {std::string(text), &a, tiles};
}

sweep_point measure(const contender& c, const sweep_request& request, index_t n, index_t m) {
    experiment e;
    e.what = workload::square(n, request.head_dim);
    e.what.mask = request.mask;
    if (!request.blocks.empty()) set_blocks(e.what, request.blocks);
    e.which = request.which;
    e.near = near_memory::of_elements(m);
    sweep_point p{c.label, n, m, {}, 0, {}, true};
    if (c.who->tiled()) {
        if (c.tiles == "paper") {
            e.plan = parse_tiles("paper", *c.who, e);
        } else {
            const auto choices = feasible_tiles(*c.who, e);
            p.feasible = !choices.empty();
            if (!p.feasible) return p;
            e.plan = choices.front().plan;
        }
        p.live = footprint_of(*c.who, e).bytes;
    }
    p.plan = e.plan;
    p.moved = c.who->formula(e.what, e.which, e.plan).elements();
    return p;
}

std::vector<sweep_point> sweep(const sweep_request& request,
                               const std::function<void(index_t done, index_t of)>& progress) {
    std::vector<sweep_point> points;
    const std::size_t all = request.contenders.size() * request.lengths.size() * request.near.size();
    points.reserve(all);
    for (const contender& c : request.contenders) {
        for (const index_t n : request.lengths) {
            for (const index_t m : request.near) {
                points.push_back(measure(c, request, n, m));
                if (progress) progress(static_cast<index_t>(points.size()), static_cast<index_t>(all));
            }
        }
    }
    return points;
}

std::vector<sweep_fit> fit(const sweep_request& request, const std::vector<sweep_point>& points) {
    std::vector<sweep_fit> fits;
    const double d = static_cast<double>(request.head_dim);
    const index_t longest = *std::max_element(request.lengths.begin(), request.lengths.end());
    for (const contender& c : request.contenders) {
        if (!c.who->tiled()) continue;
        sweep_fit f;
        f.label = c.label;
        f.law = c.who->law();
        std::vector<std::pair<double, double>> against_m;
        double log_constant = 0;
        for (const sweep_point& p : points) {
            if (p.label != c.label || p.n != longest || !lawful(f.law, p, request.head_dim)) continue;
            const double total = static_cast<double>(p.total());
            against_m.emplace_back(static_cast<double>(p.m), total);
            const double n = static_cast<double>(p.n);
            const double m = static_cast<double>(p.m);
            log_constant +=
                std::log(total / (n * n * d)) + (f.law == io_law::tiles ? std::log(m / d) : std::log(m) / 2);
        }
        f.points = static_cast<int>(against_m.size());
        f.slope_in_m = log_slope(against_m);
        if (f.points > 0) f.constant = std::exp(log_constant / f.points);
        // Against N at the near memory that leaves most lengths lawful.
        std::vector<std::pair<double, double>> against_n;
        for (const index_t m : request.near) {
            std::vector<std::pair<double, double>> here;
            for (const sweep_point& p : points) {
                if (p.label != c.label || p.m != m || !lawful(f.law, p, request.head_dim)) continue;
                here.emplace_back(static_cast<double>(p.n), static_cast<double>(p.total()));
            }
            if (here.size() > against_n.size()) against_n = here;
        }
        f.slope_in_n = log_slope(against_n);
        fits.push_back(f);
    }
    return fits;
}

std::vector<crossover> crossovers(const sweep_request& request) {
    const index_t n = *std::max_element(request.lengths.begin(), request.lengths.end());
    const auto [low, high] = std::minmax_element(request.near.begin(), request.near.end());
    std::vector<crossover> found;
    for (const contender& first : request.contenders) {
        for (const contender& second : request.contenders) {
            // Traffic falls with near memory and is what it is without tiles; look for the one sign change.
            const auto no_more = [&](index_t m) {
                const sweep_point a = measure(first, request, n, m);
                const sweep_point b = measure(second, request, n, m);
                return b.feasible && (!a.feasible || b.total() <= a.total());
            };
            if (first.label == second.label || no_more(*low) || !no_more(*high)) continue;
            index_t below = *low;
            index_t above = *high;
            while (above - below > 1 + below / 2000) {
                const index_t middle = below + (above - below) / 2;
                (no_more(middle) ? above : below) = middle;
            }
            const double d2 = static_cast<double>(request.head_dim) * static_cast<double>(request.head_dim);
            found.push_back({first.label, second.label, static_cast<double>(above) / d2});
        }
    }
    return found;
}

std::vector<index_t> parse_range(std::string_view text, std::string_view what) {
    const std::size_t first = text.find(':');
    if (first == std::string_view::npos) return {parse_size(text, what)};
    const std::size_t second = text.find(':', first + 1);
    const index_t low = parse_size(text.substr(0, first), what);
    const index_t high =
        parse_size(text.substr(first + 1, second == std::string_view::npos ? second : second - first - 1), what);
    if (low <= 0 || high < low) {
        throw invalid_argument(std::string(what) + " is '" + std::string(text) +
                               "': it must be FROM:TO or FROM:TO:POINTS, 0 < FROM <= TO");
    }
    const double octaves = std::log2(static_cast<double>(high) / static_cast<double>(low));
    const index_t points = second == std::string_view::npos ? static_cast<index_t>(std::lround(4 * octaves)) + 1
                                                            : parse_size(text.substr(second + 1), what);
    if (points < 1 || points > 10000) throw invalid_argument(std::string(what) + ": between 1 and 10000 points");
    std::vector<index_t> range;
    for (index_t i = 0; i < points; ++i) {
        const double at = points > 1 ? octaves * static_cast<double>(i) / static_cast<double>(points - 1) : 0.0;
        range.push_back(std::llround(static_cast<double>(low) * std::exp2(at)));
    }
    range.erase(std::unique(range.begin(), range.end()), range.end());
    return range;
}

} // namespace pantile::inline v0::simulator
