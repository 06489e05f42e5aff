/// \file
/// Traffic against near memory and length: the laws of IO-aware attention as fitted numbers.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/tiles.hpp>

namespace pantile::inline v0::simulator {

/// An algorithm with a rule for its tiles: "fa1:paper", "fa2" (feasible), "standard".
struct contender {
    std::string label;
    const algorithm* who = nullptr;
    std::string tiles; ///< "feasible" or "paper"
};
/// Throws invalid_argument.
[[nodiscard]] PANTILE_API contender parse_contender(std::string_view text);

struct sweep_request {
    std::vector<contender> contenders;
    pass which = pass::forward;
    std::vector<index_t> lengths{65536};
    std::vector<index_t> near; ///< elements
    index_t head_dim = 64;
    pantile::mask mask{};
    std::string blocks; ///< block mask of every length, as set_blocks takes it; empty: none
};

struct sweep_point {
    std::string label;
    index_t n = 0;
    index_t m = 0; ///< near memory, elements
    tile_plan plan;
    index_t live = 0; ///< elements held by one block; more than m where published tiles overflow
    core::transfers moved;
    bool feasible = true; ///< false: no tiles fit, nothing was counted
    [[nodiscard]] index_t total() const { return checked_add(moved.reads, moved.writes); }
};

/// Every contender at every (length, near memory), by closed forms (held equal to the walks by check): N = 1M is instant.
/// `progress` (if any) hears the points done so far.
[[nodiscard]] PANTILE_API std::vector<sweep_point>
sweep(const sweep_request& request, const std::function<void(index_t done, index_t of)>& progress = {});
/// One point of it.
[[nodiscard]] PANTILE_API sweep_point measure(const contender& c, const sweep_request& request, index_t n, index_t m);

/// A law is one of long sequences: fits take points with at least 64 row tiles and 64 key tiles, and near memory where the
/// law's term is the large one: M >= 64·d for N²d²/M, 4096 <= M <= d²/1024 for N²d/√M (head dims of 2048 and more).
struct sweep_fit {
    std::string label;
    io_law law = io_law::tiles;
    std::optional<double> slope_in_m; ///< of log(traffic) against log(M)
    std::optional<double> slope_in_n;
    std::optional<double> constant; ///< traffic / (N²d²/M) or / (N²d/√M), geometric mean over the same points
    int points = 0;
};
/// "N^2 d^2 / M" or "N^2 d / sqrt(M)".
[[nodiscard]] PANTILE_API std::string_view formula_of(io_law law);
[[nodiscard]] PANTILE_API std::vector<sweep_fit> fit(const sweep_request& request,
                                                     const std::vector<sweep_point>& points);

/// The smallest near memory from which `second` moves no more than `first`, in units of d²; none within [low, high].
struct crossover {
    std::string first, second;
    std::optional<double> in_d_squared;
};
/// Between each pair of contenders, at the longest length, within the range of request.near.
[[nodiscard]] PANTILE_API std::vector<crossover> crossovers(const sweep_request& request);

/// Geometric range: "1K:1M" with four points an octave … "1K:1M:9" with nine points in all; or one size.
[[nodiscard]] PANTILE_API std::vector<index_t> parse_range(std::string_view text, std::string_view what);

[[nodiscard]] PANTILE_API std::string sweep_csv(const std::vector<sweep_point>& points);
[[nodiscard]] PANTILE_API std::string sweep_text(const sweep_request& request, const std::vector<sweep_point>& points);
[[nodiscard]] PANTILE_API std::string fit_text(const std::vector<sweep_fit>& fits,
                                               const std::vector<crossover>& crossings);
[[nodiscard]] PANTILE_API std::string sweep_json(const std::vector<sweep_point>& points,
                                                 const std::vector<sweep_fit>& fits,
                                                 const std::vector<crossover>& crossings);
/// Traffic against near memory at the longest length, log-log, as a self-contained SVG.
[[nodiscard]] PANTILE_API std::string sweep_svg(const sweep_request& request, const std::vector<sweep_point>& points);

} // namespace pantile::inline v0::simulator
