// The papers' laws and figures as numbers.

#include <gtest/gtest.h>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

sweep_request request(std::initializer_list<const char*> names, index_t d, pass which = pass::forward) {
    sweep_request r;
    for (const char* n : names) r.contenders.push_back(parse_contender(n));
    r.which = which;
    r.lengths = {16384, 32768, 65536};
    r.near = parse_range("1K:1M:41", "range");
    r.head_dim = d;
    return r;
}

class laws : public ::testing::TestWithParam<index_t> {};

// Constants: what the tiles' own sizes make of the limits 12, 6 and 4 (printed: every visit moves 3d + 4 numbers a row;
// Br = 1: K, V and a score a key; Bc = 1: Q, O, a score and two statistics a row).
TEST_P(laws, forward_slopes_and_constants) {
    const double d = static_cast<double>(GetParam());
    const sweep_request r = request({"fa1:paper", "fa1-lazy", "fa2"}, GetParam());
    const auto fits = fit(r, sweep(r));
    ASSERT_EQ(fits.size(), 3U);
    const double expected[] = {12 * (1 + 4 / (3 * d)), 6 * (1 + 4 / (3 * d)) * (1 + 1 / (2 * d)),
                               4 * (1 + 3 / (2 * d))};
    for (std::size_t i = 0; i < 3; ++i) {
        SCOPED_TRACE(fits[i].label);
        EXPECT_GE(fits[i].points, 15);
        EXPECT_NEAR(fits[i].slope_in_m.value(), -1, 0.02);
        EXPECT_NEAR(fits[i].slope_in_n.value(), 2, 0.02);
        EXPECT_NEAR(fits[i].constant.value() / expected[i], 1, 0.03);
    }
}

TEST_P(laws, backward_slope_and_constant) {
    const sweep_request r = request({"fa1:paper"}, GetParam(), pass::backward);
    const auto fits = fit(r, sweep(r));
    EXPECT_NEAR(fits[0].slope_in_m.value(), -1, 0.02);
    EXPECT_NEAR(fits[0].slope_in_n.value(), 2, 0.02);
    EXPECT_NEAR(fits[0].constant.value(), 20, 0.6);
}

TEST_P(laws, crossovers) {
    const auto found = crossovers(request({"standard", "fa1:paper", "fa1-lazy", "fa2", "small-cache"}, GetParam()));
    const auto at = [&](const char* first, const char* second) {
        for (const crossover& c : found) {
            if (c.first == first && c.second == second) return c.in_d_squared.value();
        }
        return -1.0;
    };
    EXPECT_NEAR(at("standard", "fa1:paper") / 3.045, 1, 0.05);
    EXPECT_NEAR(at("standard", "fa1-lazy") / 1.6, 1, 0.05);
    EXPECT_NEAR(at("standard", "fa2") / 1.04, 1, 0.05);
    EXPECT_NEAR(at("small-cache", "fa2") / 0.46, 1, 0.05);
}

// The constants themselves are limits: d and M / d large. There the fits meet them without any correction.
TEST(limits, constants_of_wide_heads) {
    sweep_request r = request({"fa1:paper", "fa1-lazy", "fa2"}, 1024);
    r.lengths = {index_t{1} << 19, index_t{1} << 20};
    r.near = parse_range("256K:2M:7", "range");
    const auto forward = fit(r, sweep(r));
    const double expected[] = {12, 6, 4};
    for (std::size_t i = 0; i < 3; ++i) {
        SCOPED_TRACE(forward[i].label);
        EXPECT_EQ(forward[i].points, 7);
        EXPECT_NEAR(forward[i].constant.value() / expected[i], 1, 0.015);
        EXPECT_NEAR(forward[i].slope_in_m.value(), -1, 0.01);
        EXPECT_NEAR(forward[i].slope_in_n.value(), 2, 0.01);
    }
    r.contenders = {parse_contender("fa1:paper")};
    r.which = pass::backward;
    EXPECT_NEAR(fit(r, sweep(r))[0].constant.value() / 20, 1, 0.015);
}

// Below M = d², square tiles: 4N²d/√M forward (Q and K for S, P and V for O), 8N²d/√M backward (four products), and the
// N² of S, P and dS beside them. A head dim that no model has lets the law stand alone.
TEST(limits, square_tiles_follow_the_square_root) {
    sweep_request r = request({"small-cache"}, 65536);
    r.lengths = {65536, 131072};
    r.near = parse_range("64K:1M:9", "range");
    const sweep_fit forward = fit(r, sweep(r)).front();
    EXPECT_EQ(forward.law, io_law::squares);
    EXPECT_NEAR(forward.slope_in_m.value(), -0.5, 0.02);
    EXPECT_NEAR(forward.slope_in_n.value(), 2, 0.02);
    EXPECT_NEAR(forward.constant.value() / 4, 1, 0.03);
    r.which = pass::backward;
    const sweep_fit backward = fit(r, sweep(r)).front();
    EXPECT_NEAR(backward.slope_in_m.value(), -0.5, 0.02);
    EXPECT_NEAR(backward.slope_in_n.value(), 2, 0.02);
    EXPECT_NEAR(backward.constant.value() / 8, 1, 0.03);
}

TEST(limits, backward_passes_cross_near_two_d_squared) {
    const auto found = crossovers(request({"small-cache", "fa2"}, 128, pass::backward));
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].first, "small-cache");
    // Square tiles wider than d, M = x·d²: dP moves 2N²/√x, each gradient one such product, P and dS cross five times.
    // 16/x = 5/√x + 5 at x = 1.843.
    EXPECT_NEAR(found[0].in_d_squared.value() / 1.843, 1, 0.05);
}

INSTANTIATE_TEST_SUITE_P(head_dims, laws, ::testing::Values(64, 128));

TEST(sweeps, a_million_keys_is_a_formula) {
    sweep_request r = request({"fa2"}, 128);
    r.mask = causal();
    const sweep_point p = measure(r.contenders[0], r, index_t{1} << 20, 114688);
    EXPECT_GT(p.total(), index_t{1} << 30);
    EXPECT_THROW(static_cast<void>(parse_range("9:3", "range")), invalid_argument);
    EXPECT_THROW(static_cast<void>(parse_contender("fa2:printed")), invalid_argument);
}

TEST(sweeps, csv_and_svg_hold_every_point) {
    sweep_request r = request({"standard", "fa2"}, 64);
    r.near = {1000, 4000};
    const auto points = sweep(r);
    const std::string csv = sweep_csv(points);
    EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 2 * 3 * 2);
    const std::string picture = sweep_svg(r, points);
    EXPECT_EQ(picture.find("nan"), std::string::npos);
    EXPECT_NE(picture.find("<polyline"), std::string::npos);
    EXPECT_NE(picture.find("small-cache"), 0U);
}

TEST(reproduce, every_figure_is_met_or_explained) {
    for (const reproduction& r : reproduce("all")) {
        EXPECT_TRUE(r.explained()) << reproduction_text({r});
        EXPECT_FALSE(r.values.empty());
    }
    EXPECT_THROW(static_cast<void>(reproduce("fig9")), invalid_argument);
}

TEST(reproduce, figure_2_middle_to_the_last_digit) {
    const reproduction r = reproduce("fa1-fig2-middle").front();
    const double expected[] = {49, 25, 13, 7}; // (3 Tc + 1), Tc = 16, 8, 4, 2
    for (std::size_t i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(r.values[i].ours, expected[i] * 1024 * 1024 * 64 * 2 * 1e-9);
}

TEST(reproduce, a_wrong_value_would_be_a_miss) {
    reproduction r = reproduce("fa1-table21").front();
    for (const reproduced_value& v : r.values) EXPECT_EQ(v.is, verdict::hit) << v.label;
    EXPECT_EQ(r.values.size(), 16U);
    r.values[3].is = verdict::miss;
    EXPECT_FALSE(r.explained());
}

} // namespace
} // namespace pantile::inline v0::simulator
