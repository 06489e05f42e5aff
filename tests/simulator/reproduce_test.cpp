// Every published figure, and ours in closed form; how a figure is judged and shown.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(reproduce, a_figure_is_met_if_it_rounds_to_what_is_printed) {
    EXPECT_TRUE(rounds_to(3.355, 3.3554, 0.001));
    EXPECT_TRUE(rounds_to(3.355, 3.3546, 0.001));
    EXPECT_TRUE(rounds_to(3.355, 3.3555, 0.001)); // half a digit: either way
    EXPECT_FALSE(rounds_to(3.355, 3.3556, 0.001));
    EXPECT_FALSE(rounds_to(3.355, 3.3544, 0.001));
    EXPECT_FALSE(rounds_to(40.3, 40.2, 0.1));
    EXPECT_TRUE(rounds_to(22, 21.5, 1));
    EXPECT_FALSE(rounds_to(22, 22.51, 1));
}

struct figure {
    std::string label;
    double published, ours;
    const char* unit;
    bool hit, expected_miss;
    double last_digit;
};

void expect_figures(const reproduction& r, const std::vector<figure>& wanted) {
    SCOPED_TRACE(r.name);
    ASSERT_EQ(r.values.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        SCOPED_TRACE(wanted[i].label);
        const reproduced_value& v = r.values[i];
        EXPECT_EQ(v.label, wanted[i].label);
        EXPECT_EQ(v.published, wanted[i].published);
        EXPECT_NEAR(v.ours / wanted[i].ours, 1, 1e-12);
        EXPECT_EQ(v.unit, wanted[i].unit);
        EXPECT_EQ(v.is == verdict::hit, wanted[i].hit);
        EXPECT_EQ(v.expected_miss, wanted[i].expected_miss);
        EXPECT_DOUBLE_EQ(v.last_digit, wanted[i].last_digit);
    }
    EXPECT_TRUE(r.explained());
}

// B·H = 1024 heads of N = 1024 rows, d = 64, two bytes a number: Nd and N² of all of them in GB.
constexpr double nd = 1024.0 * 1024 * 64 * 2 * 1e-9;
constexpr double nn = 1024.0 * 1024 * 1024 * 2 * 1e-9;

TEST(reproduce, figure_2_left_and_middle) {
    expect_figures(reproduce("fa1-fig2-middle").front(), {{"block 64", 6.577, 49 * nd, "GB", true, false, 0.001},
                                                          {"block 128", 3.355, 25 * nd, "GB", true, false, 0.001},
                                                          {"block 256", 1.745, 13 * nd, "GB", true, false, 0.001},
                                                          {"block 512", 0.940, 7 * nd, "GB", true, false, 0.001}});
    expect_figures(
        reproduce("fa1-fig2-left").front(),
        {{"standard: Algorithms 0 and 3 alone, 11N² + 12Nd", 40.3, 11 * nn + 12 * nd, "GB", false, true, 0.1},
         {"standard with additive mask and dropout, 18N² + 12Nd", 40.3, 18 * nn + 12 * nd, "GB", true, false, 0.1},
         {"fa1-lazy forward 13Nd + fa1 backward as printed 27Nd, Tc = 4", 4.4, 40 * nd, "GB", false, true, 0.1},
         {"fa1-lazy forward 13Nd + row tensors of the backward loop 20Nd, Tc = 4", 4.4, 33 * nd, "GB", true, false,
          0.1}});
}

// 128 heads, d = 64, fp16, in MiB.
TEST(reproduce, table_21) {
    std::vector<figure> wanted;
    const double pytorch[] = {36, 104, 336, 1184, 4416, 17024};
    double n = 128;
    for (const double x : pytorch) {
        wanted.push_back({"PyTorch N " + std::to_string(static_cast<int>(n)), x,
                          (4 * n * n + 10 * n * 64) * 2 * 128 / 1048576, "MiB", true, false, 1});
        n *= 2;
    }
    const double tiled[] = {22, 44, 104, 209, 418, 836, 1672, 3344, 6688, 13376};
    n = 128;
    for (const double x : tiled) {
        const double tensors = n <= 256 ? 11 : 13;
        wanted.push_back({"tiled N " + std::to_string(static_cast<int>(n)), x,
                          (tensors * n * 64 * 2 + 2 * n * 4) * 128 / 1048576, "MiB", true, false, 1});
        n *= 2;
    }
    expect_figures(reproduce("fa1-table21").front(), wanted);
}

// The traffic that fa1 counts is affine in the share of visible blocks, so the fit is the least-squares line of the times
// against the share.
TEST(reproduce, figure_2_right) {
    const double ms[] = {27.2, 43.4, 60.3, 81.1, 99.4, 117.0, 135.6, 155.6, 175.6};
    double mean = 0;
    double xy = 0;
    for (int i = 0; i < 9; ++i) mean += ms[i] / 9;
    for (int i = 0; i < 9; ++i) xy += (i - 4) * (ms[i] - mean);
    std::vector<figure> wanted;
    for (int i = 0; i < 9; ++i) {
        wanted.push_back(
            {std::to_string(10 * (i + 1)) + " %", ms[i], mean + xy / 60 * (i - 4), "ms", true, false, 0.04 * 175.6});
    }
    expect_figures(reproduce("fa1-fig2-right").front(), wanted);
}

TEST(reproduce, by_name_or_all) {
    EXPECT_THAT(reproduction_names(), ElementsAre("fa1-fig2-middle", "fa1-fig2-left", "fa1-table21", "fa1-fig2-right"));
    const auto all = reproduce("all");
    ASSERT_EQ(all.size(), 4U);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(all[i].name, reproduction_names()[i]);
    EXPECT_EQ(reproduce("fa1-table21").size(), 1U);
    try {
        static_cast<void>(reproduce("fig9"));
        FAIL();
    } catch (const invalid_argument& e) {
        EXPECT_STREQ(e.what(), "there is no figure 'fig9'; there are all, fa1-fig2-middle, fa1-fig2-left, fa1-table21, "
                               "fa1-fig2-right");
    }
}

reproduction made_up(bool expected) {
    return {"fig",
            "A figure",
            "how it is counted",
            {{"first", 3.355, 3.3554, "GB", verdict::hit, false, 0.001},
             {"second", 40.3, 25.23, "GB", verdict::miss, expected, 0.1},
             {"third, in all", 175.6, 174.25, "ms", verdict::hit, false, 1}}};
}

TEST(reproduce, a_miss_must_be_expected) {
    EXPECT_TRUE(made_up(true).explained());
    EXPECT_FALSE(made_up(false).explained());
}

TEST(reproduce, text_csv_and_json) {
    EXPECT_EQ(reproduction_text({made_up(true), made_up(false)}),
              "A figure\n"
              "how it is counted\n"
              "\n"
              "fig            published   ours  unit\n"
              "first              3.355  3.355    GB                          hit\n"
              "second             40.30  25.23    GB  miss (shown to rule it out)\n"
              "third, in all      175.6  174.2    ms                          hit\n"
              "\n"
              "A figure\n"
              "how it is counted\n"
              "\n"
              "fig            published   ours  unit\n"
              "first              3.355  3.355    GB   hit\n"
              "second             40.30  25.23    GB  MISS\n"
              "third, in all      175.6  174.2    ms   hit\n");
    EXPECT_EQ(reproduction_csv({made_up(true)}), "figure,label,published,ours,unit,verdict\n"
                                                 "fig,first,3.355000,3.355400,GB,hit\n"
                                                 "fig,second,40.300000,25.230000,GB,expected miss\n"
                                                 "fig,\"third, in all\",175.600000,174.250000,ms,hit\n");
    EXPECT_THAT(reproduction_csv({made_up(false)}), HasSubstr("25.230000,GB,miss\n"));
    reproduction one = made_up(true);
    one.values.resize(2);
    EXPECT_EQ(reproduction_json({one}), R"([
  {
    "name": "fig",
    "title": "A figure",
    "accounting": "how it is counted",
    "values": [
      {
        "label": "first",
        "published": 3.355,
        "ours": 3.3554,
        "unit": "GB",
        "hit": true,
        "expected_miss": false
      },
      {
        "label": "second",
        "published": 40.3,
        "ours": 25.23,
        "unit": "GB",
        "hit": false,
        "expected_miss": true
      }
    ]
  }
]
)");
}

} // namespace
} // namespace pantile::inline v0::simulator
