// Plots, character by character: a frame from (74, 40) to (592, 408) in a picture of 760 by 460.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

plot toy() {
    plot p;
    p.title = "A & B";
    p.x_label = "M";
    p.y_label = "moved < all";
    // Two octaves across, one decade up: the middle of the frame is at x = 333, y = 224.
    p.series = {{"solid", {{1024, 100}, {2048, 316.2277660168379}, {4096, 1000}}, false},
                {"dashed", {{1024, 1000}, {4096, 100}}, true}};
    p.marks = {{2048, "here"}, {512, "outside"}, {5000, "outside too"}};
    return p;
}

TEST(plots, a_log_log_picture) {
    EXPECT_EQ(
        svg(toy()),
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760.0 460.0\" width=\"760.0\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n"
        "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        "<text x=\"74.0\" y=\"22.0\" text-anchor=\"start\" font-size=\"15\" font-weight=\"bold\">A &amp; B</text>\n"
        "<line x1=\"74.0\" y1=\"40.0\" x2=\"74.0\" y2=\"408.0\" stroke=\"#e4e4e4\"/>\n"
        "<text x=\"74.0\" y=\"424.0\" text-anchor=\"middle\" >1K</text>\n"
        "<line x1=\"333.0\" y1=\"40.0\" x2=\"333.0\" y2=\"408.0\" stroke=\"#e4e4e4\"/>\n"
        "<text x=\"333.0\" y=\"424.0\" text-anchor=\"middle\" >2K</text>\n"
        "<line x1=\"592.0\" y1=\"40.0\" x2=\"592.0\" y2=\"408.0\" stroke=\"#e4e4e4\"/>\n"
        "<text x=\"592.0\" y=\"424.0\" text-anchor=\"middle\" >4K</text>\n"
        "<line x1=\"74.0\" y1=\"408.0\" x2=\"592.0\" y2=\"408.0\" stroke=\"#e4e4e4\"/>\n"
        "<text x=\"68.0\" y=\"412.0\" text-anchor=\"end\" >100</text>\n"
        "<line x1=\"74.0\" y1=\"40.0\" x2=\"592.0\" y2=\"40.0\" stroke=\"#e4e4e4\"/>\n"
        "<text x=\"68.0\" y=\"44.0\" text-anchor=\"end\" >1000</text>\n"
        "<rect x=\"74.0\" y=\"40.0\" width=\"518.0\" height=\"368.0\" fill=\"none\" stroke=\"#888888\"/>\n"
        "<line x1=\"333.0\" y1=\"40.0\" x2=\"333.0\" y2=\"408.0\" stroke=\"#999999\" stroke-dasharray=\"2 3\"/>\n"
        "<text x=\"336.0\" y=\"52.0\" text-anchor=\"start\" fill=\"#666666\" font-size=\"11\">here</text>\n"
        "<polyline points=\"74.0,408.0 333.0,224.0 592.0,40.0 \" fill=\"none\" stroke=\"#0072b2\" "
        "stroke-width=\"2\"/>\n"
        "<line x1=\"604.0\" y1=\"50.0\" x2=\"628.0\" y2=\"50.0\" stroke=\"#0072b2\" stroke-width=\"2\"/>\n"
        "<text x=\"634.0\" y=\"54.0\" text-anchor=\"start\" >solid</text>\n"
        "<polyline points=\"74.0,40.0 592.0,408.0 \" fill=\"none\" stroke=\"#d55e00\" stroke-width=\"2\" "
        "stroke-dasharray=\"6 4\"/>\n"
        "<line x1=\"604.0\" y1=\"70.0\" x2=\"628.0\" y2=\"70.0\" stroke=\"#d55e00\" stroke-width=\"2\" "
        "stroke-dasharray=\"6 4\"/>\n"
        "<text x=\"634.0\" y=\"74.0\" text-anchor=\"start\" >dashed</text>\n"
        "<text x=\"333.0\" y=\"448.0\" text-anchor=\"middle\" >M</text>\n"
        "<text transform=\"translate(16,224.0) rotate(-90)\" text-anchor=\"middle\">moved &lt; all</text>\n</svg>\n");
}

// From 0 to 1.05 times the largest value: 10 lies at 408 - 368 / 1.05 = 57.5; ticks at 0, 2, 4 … for 10.5 / 6 = 1.75.
TEST(plots, a_linear_axis_begins_at_zero) {
    plot p = toy();
    p.log_y = false;
    p.series = {{"s", {{1024, 5}, {4096, 10}}, false}};
    const std::string text = svg(p);
    EXPECT_THAT(text, HasSubstr("points=\"74.0,232.8 592.0,57.5 \""));
    EXPECT_THAT(text, HasSubstr("y=\"412.0\" text-anchor=\"end\" >0</text>"));
    EXPECT_THAT(text, HasSubstr("y=\"341.9\" text-anchor=\"end\" >2</text>"));
    EXPECT_THAT(text, HasSubstr(">10</text>"));
    EXPECT_THAT(text, Not(HasSubstr(">12</text>")));
    p.series = {{"s", {{1024, 1}, {4096, 18}}, false}}; // 18.9 / 6 = 3.15: steps of 5
    EXPECT_THAT(svg(p), AllOf(HasSubstr(">5</text>"), HasSubstr(">15</text>"), Not(HasSubstr(">20</text>"))));
    p.series = {{"s", {{1024, 1}, {4096, 36}}, false}}; // 37.8 / 6 = 6.3: steps of 10
    EXPECT_THAT(svg(p), AllOf(HasSubstr(">10</text>"), HasSubstr(">30</text>"), Not(HasSubstr(">5</text>"))));
}

TEST(plots, ticks) {
    plot p = toy();
    p.binary_x = false;
    p.series = {{"s", {{0.0001, 20}, {1e5, 70}}, false}}; // decades, up to the next power of ten
    const std::string text = svg(p);
    for (const char* tick : {">1e-04<", ">0.001<", ">1<", ">10000<", ">1e+05<"}) EXPECT_THAT(text, HasSubstr(tick));
    EXPECT_THAT(text, HasSubstr("points=\"74.0,297.2 592.0,97.0 \"")); // log10 2 = 0.301, log10 7 = 0.845 of 368
    p = toy();
    p.series = {{"s", {{1, 1}, {index_t{1} << 26, 10}}, false}}; // 27 octaves: every third
    const std::string sparse = svg(p);
    for (const char* tick : {">1<", ">8<", ">512<", ">32K<", ">2M<", ">16M<"}) EXPECT_THAT(sparse, HasSubstr(tick));
    EXPECT_THAT(sparse, Not(HasSubstr(">2<")));
    p.series = {{"s", {{1073741824, 1}, {4294967296, 10}}, false}};
    EXPECT_THAT(svg(p), AllOf(HasSubstr(">1G<"), HasSubstr(">4G<")));
    p.series = {{"s", {{64, 5}}, false}}; // one point: the middle
    EXPECT_THAT(svg(p), HasSubstr("points=\"333.0,"));
}

TEST(plots, eight_colours_in_turn) {
    plot p = toy();
    p.series.assign(9, {"s", {{1024, 1}, {4096, 10}}, false});
    const std::string text = svg(p);
    for (const char* colour :
         {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#882255"}) {
        EXPECT_THAT(text, HasSubstr(colour));
    }
    EXPECT_THAT(text, HasSubstr("y1=\"210.0\" x2=\"628.0\" y2=\"210.0\" stroke=\"#0072b2\"")); // the ninth
}

} // namespace
} // namespace pantile::inline v0::simulator
