// Sweeps: ranges, points, fits on points whose law is known, crossovers where they cross, and what is printed of them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

#include "refusal.hpp"

namespace pantile::inline v0::simulator {
namespace {

using ::testing::ElementsAre;

TEST(ranges, are_geometric) {
    EXPECT_THAT(parse_range("3K", "x"), ElementsAre(3072));
    // Four points an octave: 1024 · 2^(i/4).
    EXPECT_THAT(parse_range("1K:4K", "x"), ElementsAre(1024, 1218, 1448, 1722, 2048, 2435, 2896, 3444, 4096));
    EXPECT_THAT(parse_range("16:256:3", "x"), ElementsAre(16, 64, 256));
    EXPECT_THAT(parse_range("1:4:9", "x"), ElementsAre(1, 2, 3, 4)); // rounded, each once
    EXPECT_THAT(parse_range("5:9:1", "x"), ElementsAre(5));
    EXPECT_THAT(parse_range("8:8", "x"), ElementsAre(8));
    EXPECT_THAT(parse_range("1:2:10000", "x"), ElementsAre(1, 2));
    const auto refused = [](const char* text) {
        return refusal([&] { static_cast<void>(parse_range(text, "--sram")); });
    };
    for (const char* wrong : {"0:4", "9:3"}) {
        EXPECT_EQ(refused(wrong),
                  "--sram is '" + std::string(wrong) + "': it must be FROM:TO or FROM:TO:POINTS, 0 < FROM <= TO");
    }
    EXPECT_EQ(refused("1:4:0"), "--sram: between 1 and 10000 points");
    EXPECT_EQ(refused("1:4:10001"), "--sram: between 1 and 10000 points");
    EXPECT_EQ(refused("1:x"), "--sram is 'x': it must be a number, with K, M or G for 2^10, 2^20, 2^30");
}

TEST(contenders, are_an_algorithm_and_a_rule) {
    const contender a = parse_contender("fa1:paper");
    EXPECT_EQ(a.label, "fa1:paper");
    EXPECT_EQ(a.who->name(), "fa1");
    EXPECT_EQ(a.tiles, "paper");
    EXPECT_EQ(parse_contender("fa2").tiles, "feasible");
    EXPECT_EQ(parse_contender("fa2:feasible").tiles, "feasible");
    EXPECT_EQ(refusal([] { static_cast<void>(parse_contender("fa2:")); }), "tiles of 'fa2:' must be feasible or paper");
}

sweep_request request(std::initializer_list<const char*> names, index_t d) {
    sweep_request r;
    for (const char* n : names) r.contenders.push_back(parse_contender(n));
    r.lengths = {1000};
    r.near = {4096};
    r.head_dim = d;
    return r;
}

TEST(sweeps, a_point_is_a_closed_form_with_its_tiles) {
    const sweep_request r = request({"standard", "fa1:paper", "fa2"}, 16);
    const sweep_point standard = measure(r.contenders[0], r, 1000, 4096);
    EXPECT_EQ(standard.label, "standard");
    EXPECT_EQ(standard.n, 1000);
    EXPECT_EQ(standard.m, 4096);
    EXPECT_EQ(standard.plan.row_tile, 0);
    EXPECT_EQ(standard.live, 0);
    EXPECT_EQ(standard.moved, (core::transfers{3 * 16000 + 2'000'000, 2'000'000 + 16000})); // 3Nd + 2N², 2N² + Nd
    EXPECT_EQ(standard.total(), 4'064'000);
    // Bc = ceil(4096 / 64) = 64, Br = min(64, 16): Tc = 16. Reads k(d + e) + Tc·q(d + e + 2), writes (Tc + 1)·q(e + 2).
    const sweep_point printed = measure(r.contenders[1], r, 1000, 4096);
    EXPECT_EQ(printed.plan, (tile_plan{16, 64, 1}));
    EXPECT_EQ(printed.moved, (core::transfers{1000 * 32 + 16 * 1000 * 34, 17 * 1000 * 18}));
    // Q 16·16, K and V 64·16 each, O 16·16, S 16·64 and six statistics a row.
    EXPECT_EQ(printed.live, 256 + 2 * 1024 + 256 + 1024 + 6 * 16);
    const sweep_point best = measure(r.contenders[2], r, 1000, 4096);
    EXPECT_TRUE(best.feasible);
    EXPECT_LE(best.live, 4096);
    EXPECT_EQ(best.moved,
              find_algorithm("fa2").formula(workload::square(1000, 16), pass::forward, best.plan).elements());
    const sweep_point none = measure(r.contenders[2], r, 1000, 40);
    EXPECT_FALSE(none.feasible);
    EXPECT_EQ(none.total(), 0);
    EXPECT_EQ(none.live, 0);
}

TEST(sweeps, masks_blocks_and_passes_reach_the_closed_form) {
    sweep_request r = request({"fa1:paper"}, 16);
    const index_t plain = measure(r.contenders[0], r, 1024, 4096).total();
    sweep_request masked = r;
    masked.mask = causal();
    // Rows of tile j: 1024 - 64j, 16 tiles: 8704 instead of 16 · 1024.
    EXPECT_EQ(measure(r.contenders[0], masked, 1024, 4096).moved,
              (core::transfers{1024 * 32 + 8704 * 34, (8704 + 1024) * 18}));
    sweep_request blocked = r;
    blocked.blocks = "64x64:local:0"; // the diagonal: 1024 rows in all
    EXPECT_EQ(measure(r.contenders[0], blocked, 1024, 4096).moved,
              (core::transfers{1024 * 32 + 1024 * 34, (1024 + 1024) * 18}));
    sweep_request backward = r;
    backward.which = pass::backward; // reads k(d + e) + Tc·q(2d + 2e + 2), writes (Tc + 1)qd + 2k(d + e)
    EXPECT_EQ(measure(r.contenders[0], backward, 1024, 4096).moved,
              (core::transfers{1024 * 32 + 16 * 1024 * 66, 17 * 1024 * 16 + 2 * 1024 * 32}));
    EXPECT_EQ(plain, 1024 * 32 + 16 * 1024 * 34 + 17 * 1024 * 18);
}

TEST(sweeps, go_through_contenders_lengths_and_memories) {
    sweep_request r = request({"standard", "fa2"}, 16);
    r.lengths = {100, 200};
    r.near = {1000, 2000, 3000};
    std::vector<std::pair<index_t, index_t>> heard;
    const auto points = sweep(r, [&](index_t done, index_t of) { heard.emplace_back(done, of); });
    ASSERT_EQ(points.size(), 12U);
    ASSERT_EQ(heard.size(), 12U);
    for (std::size_t i = 0; i < 12; ++i) {
        EXPECT_EQ(heard[i], std::make_pair(static_cast<index_t>(i + 1), index_t{12}));
        EXPECT_EQ(points[i].label, i < 6 ? "standard" : "fa2");
        EXPECT_EQ(points[i].n, i % 6 < 3 ? 100 : 200);
        EXPECT_EQ(points[i].m, static_cast<index_t>(1000 * (i % 3 + 1)));
    }
}

/// A point that moves `total` with tiles so small that every law holds of it.
sweep_point made(const char* label, index_t n, index_t m, index_t total, tile_plan plan = {1, 1, 1}) {
    return {label, n, m, plan, 0, {total - 1, 1}, true};
}

// d = 16: 3·N²d²/M with N = 1024 is 3·2^28 / M.
TEST(fits, a_law_comes_back_from_its_own_points) {
    sweep_request r = request({"fa2"}, 16);
    r.lengths = {512, 1024};
    r.near = {1024, 2048, 4096};
    const auto law = [](index_t n, index_t m) { return 3 * n * n * 256 / m; };
    std::vector<sweep_point> points;
    for (const index_t n : r.lengths) {
        for (const index_t m : r.near) points.push_back(made("fa2", n, m, law(n, m)));
    }
    points.push_back(made("another", 1024, 1024, 5)); // not of this contender
    const auto fits = fit(r, points);
    ASSERT_EQ(fits.size(), 1U);
    EXPECT_EQ(fits[0].label, "fa2");
    EXPECT_EQ(fits[0].law, io_law::tiles);
    EXPECT_EQ(fits[0].points, 3); // the longest length's
    EXPECT_NEAR(fits[0].slope_in_m.value(), -1, 1e-12);
    EXPECT_NEAR(fits[0].slope_in_n.value(), 2, 1e-12);
    EXPECT_NEAR(fits[0].constant.value(), 3, 1e-12);
}

// The geometric mean of 2 and 8 is 4; the least-squares line through (1, 0), (2, 1), (4, 1) in octaves has slope 1/2.
TEST(fits, are_least_squares_of_logarithms) {
    sweep_request r = request({"fa2"}, 16);
    r.near = {1024, 2048, 4096};
    r.lengths = {1024};
    const index_t one = 1 << 18; // N²d²/M at M = 1024
    const auto two = fit(r, {made("fa2", 1024, 1024, 2 * one), made("fa2", 1024, 2048, 8 * one / 2)})[0];
    EXPECT_NEAR(two.constant.value(), 4, 1e-12);
    EXPECT_NEAR(two.slope_in_m.value(), 1, 1e-12);
    EXPECT_FALSE(two.slope_in_n.has_value()); // one length
    const auto three =
        fit(r, {made("fa2", 1024, 1024, one), made("fa2", 1024, 2048, 2 * one), made("fa2", 1024, 4096, 2 * one)})[0];
    EXPECT_NEAR(three.slope_in_m.value(), 0.5, 1e-12);
    EXPECT_EQ(three.points, 3);
}

TEST(fits, take_lawful_points_only) {
    sweep_request r = request({"fa2"}, 16);
    r.near = {1023, 1024, 2048};
    r.lengths = {1024};
    const auto fitted = [&](std::vector<sweep_point> points) { return fit(r, points)[0]; };
    EXPECT_EQ(fitted({made("fa2", 1024, 1024, 100)}).points, 1); // M = 64 d
    EXPECT_EQ(fitted({made("fa2", 1024, 1023, 100)}).points, 0);
    EXPECT_EQ(fitted({made("fa2", 1024, 1024, 100, {16, 16, 1})}).points, 1); // 64 tiles each way
    EXPECT_EQ(fitted({made("fa2", 1024, 1024, 100, {17, 16, 1})}).points, 0); // ceil(1024 / 17) = 61
    EXPECT_EQ(fitted({made("fa2", 1024, 1024, 100, {16, 17, 1})}).points, 0);
    sweep_point none = made("fa2", 1024, 1024, 100);
    none.feasible = false;
    EXPECT_EQ(fitted({none}).points, 0);
    EXPECT_FALSE(fitted({}).constant.has_value());
    EXPECT_FALSE(fitted({}).slope_in_m.has_value());
    // One abscissa makes no slope, however many points.
    const sweep_fit one = fitted({made("fa2", 1024, 1024, 100), made("fa2", 1024, 1024, 200)});
    EXPECT_EQ(one.points, 2);
    EXPECT_FALSE(one.slope_in_m.has_value());
    EXPECT_TRUE(one.constant.has_value());
    EXPECT_FALSE(fitted({made("fa2", 1024, 1024, 100)}).slope_in_m.has_value());
    EXPECT_TRUE(fitted({made("fa2", 1024, 1024, 100), made("fa2", 1024, 1025, 200)}).slope_in_m.has_value());
}

TEST(fits, the_slope_in_n_is_taken_where_most_lengths_are_lawful) {
    sweep_request r = request({"fa2"}, 16);
    r.near = {1024, 2048};
    r.lengths = {512, 1024, 2048};
    // Three lengths at M = 2048 that grow with N³; two at M = 1024 that do not grow.
    const auto f = fit(r, {made("fa2", 1024, 1024, 64), made("fa2", 2048, 1024, 64), made("fa2", 512, 2048, 64),
                           made("fa2", 1024, 2048, 512), made("fa2", 2048, 2048, 4096)})[0];
    EXPECT_NEAR(f.slope_in_n.value(), 3, 1e-12);
}

// Square tiles: 5·N²d/√M, for 4096 <= M <= d²/1024.
TEST(fits, square_tiles_have_a_law_of_their_own) {
    sweep_request r = request({"small-cache", "standard"}, 4096);
    r.near = {4095, 4096, 16384, 16385};
    r.lengths = {1024};
    const auto law = [](index_t root) { return 5 * (index_t{1} << 32) / root; };
    const auto fits = fit(r, {made("small-cache", 1024, 4095, 7), made("small-cache", 1024, 4096, law(64)),
                              made("small-cache", 1024, 16384, law(128)), made("small-cache", 1024, 16385, 7)});
    ASSERT_EQ(fits.size(), 1U) << "standard has no tiles and no fit";
    EXPECT_EQ(fits[0].law, io_law::squares);
    EXPECT_EQ(fits[0].points, 2);
    EXPECT_NEAR(fits[0].slope_in_m.value(), -0.5, 1e-12);
    EXPECT_NEAR(fits[0].constant.value(), 5, 1e-12);
    EXPECT_EQ(formula_of(io_law::tiles), "N^2 d^2 / M");
    EXPECT_EQ(formula_of(io_law::squares), "N^2 d / sqrt(M)");
}

TEST(crossovers, are_where_the_second_stops_moving_more) {
    sweep_request r = request({"standard", "fa1:paper", "fa2"}, 32);
    r.lengths = {512, 4096};
    r.near = {8192, 256, 1024}; // in any order
    const auto found = crossovers(r);
    std::vector<std::string> pairs;
    for (const crossover& c : found) {
        pairs.push_back(c.first + " " + c.second);
        const auto m = static_cast<index_t>(std::llround(c.in_d_squared.value() * 32 * 32));
        const auto total = [&](const std::string& who, index_t at) {
            return measure(parse_contender(who), r, 4096, at).total();
        };
        EXPECT_LE(total(c.second, m), total(c.first, m)) << c.first << ' ' << c.second;
        EXPECT_GT(m, 256);
        EXPECT_LT(m, 8192);
        const index_t below = m - 2 - m / 1000; // the search ends within 1 + M / 2000
        EXPECT_GT(total(c.second, below), total(c.first, below)) << c.first << ' ' << c.second;
    }
    EXPECT_THAT(pairs, ElementsAre("standard fa1:paper", "standard fa2"));
    r.near = {256, 512}; // too small a range
    EXPECT_TRUE(crossovers(r).empty());
}

std::vector<sweep_point> four_points() {
    std::vector<sweep_point> p{{"fa2", 4096, 2048, {128, 64, 1}, 2000, {30000, 2000}, true},
                               {"fa2", 4096, 10, {}, 0, {}, false},
                               {"standard", 4096, 2048, {}, 0, {1'000'000, 500'000}, true}};
    return p;
}

// 32,000 · 2,048 / (4096² · 16²) = 0.0153; 1.5e6 · 2,048 / 2^32 = 0.715.
TEST(sweeps, text_csv_and_json) {
    const sweep_request r = request({"fa2", "standard"}, 16);
    EXPECT_EQ(sweep_text(r, four_points()),
              "algorithm      N      M  rows x keys  live / M      moved  x M / N^2 d^2\n"
              "fa2        4,096  2,048     128 x 64      0.98     32,000           0.02\n"
              "fa2        4,096     10    none fits\n"
              "standard   4,096  2,048            -         -  1,500,000           0.72\n");
    EXPECT_EQ(sweep_csv(four_points()), "algorithm,n,m,row_tile,key_tile,live,reads,writes,total\n"
                                        "fa2,4096,2048,128,64,2000,30000,2000,32000\n"
                                        "standard,4096,2048,0,0,0,1000000,500000,1500000\n");
    const std::vector<sweep_fit> fits{{"fa2", io_law::tiles, -1.0125, 1.9876, 4.126, 12},
                                      {"small-cache", io_law::squares, {}, {}, {}, 0}};
    const std::vector<crossover> crossings{{"standard", "fa2", 1.0375}};
    EXPECT_EQ(fit_text(fits, crossings), "fit          points  slope in M  slope in N  constant               of\n"
                                         "fa2              12      -1.012       1.988      4.13      N^2 d^2 / M\n"
                                         "small-cache       0           -           -         -  N^2 d / sqrt(M)\n"
                                         "fa2 moves no more than standard from M = 1.038 d^2\n");
    const std::vector<sweep_point> one_none{four_points()[0], four_points()[1]};
    EXPECT_EQ(sweep_json(one_none, fits, crossings), R"json({
  "points": [
    {
      "algorithm": "fa2",
      "n": 4096,
      "m": 2048,
      "row_tile": 128,
      "key_tile": 64,
      "live": 2000,
      "reads": 30000,
      "writes": 2000
    }
  ],
  "fits": [
    {
      "algorithm": "fa2",
      "law": "N^2 d^2 / M",
      "points": 12,
      "slope_in_m": -1.0125,
      "slope_in_n": 1.9876,
      "constant": 4.126
    },
    {
      "algorithm": "small-cache",
      "law": "N^2 d / sqrt(M)",
      "points": 0,
      "slope_in_m": null,
      "slope_in_n": null,
      "constant": null
    }
  ],
  "crossovers": [
    {
      "first": "standard",
      "second": "fa2",
      "m_in_d_squared": 1.0375
    }
  ]
}
)json");
    ;
    EXPECT_EQ((sweep_json({}, {}, {})), "{\n  \"points\": [],\n  \"fits\": [],\n  \"crossovers\": []\n}\n");
}

TEST(sweeps, the_picture_is_of_the_longest_length) {
    sweep_request r = request({"fa2", "standard", "fa1"}, 16);
    r.lengths = {4096, 1024};
    r.which = pass::backward;
    std::vector<sweep_point> points = four_points();
    points.push_back({"fa2", 1024, 512, {}, 0, {9, 9}, true});             // another length
    points.push_back({"fa2", 4096, 4096, {64, 64, 1}, 1, {10, 20}, true}); // total 30
    points.push_back({"standard", 4096, 4096, {}, 0, {1000, 1}, true});
    plot p;
    p.title = "Elements moved, N = 4,096, d = 16, backward";
    p.x_label = "near memory M, elements";
    p.y_label = "elements moved";
    p.marks = {{256, "M = d²"}};
    p.series = {{"fa2", {{2048, 32000}, {4096, 30}}, false}, {"standard", {{2048, 1.5e6}, {4096, 1001}}, true}};
    EXPECT_EQ(sweep_svg(r, points), svg(p)); // fa1 has no points and no line
}

} // namespace
} // namespace pantile::inline v0::simulator
