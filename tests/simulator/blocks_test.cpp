// Block masks in words: each pattern drawn, each refusal as it reads.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

#include <support/scratch_folder.hpp>

namespace pantile::inline v0::simulator {
namespace {

workload sizes(index_t rows, index_t keys) {
    workload w = workload::square(rows, 4);
    w.k_len = keys;
    return w;
}

std::string drawn(workload& w, const std::string& text) {
    set_blocks(w, text);
    std::string picture;
    const index_t across = core::ceil_div(w.k_len, w.block_cols);
    for (std::size_t i = 0; i < w.blocks.size(); ++i) {
        if (i > 0 && static_cast<index_t>(i) % across == 0) picture += ' ';
        picture += w.blocks[i] != 0 ? '1' : '0';
    }
    return picture;
}

std::string refusal(const std::string& text) {
    workload w = sizes(40, 60);
    try {
        set_blocks(w, text);
    } catch (const invalid_argument& e) {
        return e.what();
    }
    return "accepted";
}

TEST(block_patterns, of_blocks_that_are_not_square) {
    workload w = sizes(41, 60); // 3 rows of 16, 2 rows of blocks taller than wide
    EXPECT_EQ(drawn(w, "16x20:local:0"), "100 010 001");
    EXPECT_EQ(w.block_rows, 16);
    EXPECT_EQ(w.block_cols, 20);
    EXPECT_EQ(drawn(w, "21x12:local:1"), "11000 11100");
    EXPECT_EQ(drawn(w, "10x15:local:2"), "1110 1111 1111 0111 0011");
    EXPECT_EQ(drawn(w, "5x8:butterfly").substr(0, 26), "11101000 11010100 10110010");
    EXPECT_EQ(drawn(w, "14x10:strided:3"), "101001 011001 001001");
    EXPECT_EQ(drawn(w, "21x10:strided:1"), "111111 111111");
    EXPECT_EQ(drawn(w, "41x60:butterfly"), "1");
}

TEST(block_patterns, random_blocks_are_counted_out) {
    const auto shown = [](index_t rows, index_t keys, const char* text) {
        workload w = sizes(rows, keys);
        set_blocks(w, text);
        EXPECT_DOUBLE_EQ(visible_share(w) * static_cast<double>(w.blocks.size()),
                         std::round(visible_share(w) * static_cast<double>(w.blocks.size())));
        return std::llround(visible_share(w) * static_cast<double>(w.blocks.size()));
    };
    EXPECT_EQ(shown(7, 1, "1x1:random:50"), 4); // 3.5 rounds up
    EXPECT_EQ(shown(10, 10, "1x1:random:33"), 33);
    EXPECT_EQ(shown(3, 3, "1x1:random:20"), 2); // 1.8
    EXPECT_EQ(shown(3, 3, "1x1:random:15"), 1); // 1.35
    workload w = sizes(10, 10);
    EXPECT_EQ(drawn(w, "1x1:random:30"), drawn(w, "1x1:random:30:1")); // the seed is 1 unless given
    EXPECT_NE(drawn(w, "1x1:random:30"), drawn(w, "1x1:random:30:2"));
    EXPECT_EQ(visible_share(sizes(10, 10)), 1); // no mask hides nothing
    // Every block gets its turn: over many seeds each of nine is visible about a third of the time.
    std::vector<int> times(9);
    for (int seed = 0; seed < 300; ++seed) {
        workload nine = sizes(3, 3);
        set_blocks(nine, "1x1:random:33:" + std::to_string(seed));
        for (std::size_t i = 0; i < 9; ++i) times[i] += nine.blocks[i];
    }
    for (const int t : times) {
        EXPECT_GT(t, 60);
        EXPECT_LT(t, 140);
    }
}

TEST(block_patterns, words_that_make_no_sense) {
    for (const char* wrong :
         {"64x64",         "64:local:1",      "8x8x8:local:1", "0x8:butterfly",   "8x0:butterfly",
          "8xx:butterfly", "-8x8:butterfly",  "8x8:",          "8x8:local",       "8x8:local:",
          "8x8:local:1:2", "8x8:local:-1",    "8x8:local:1 ",  "8x8:butterfly:1", "8x8:strided",
          "8x8:strided:0", "8x8:strided:1:1", "8x8:random",    "8x8:random:101",  "8x8:random:1:2:3",
          "8x8:random:x",  "8x8:file",        "8x8:stripes:1"}) {
        EXPECT_EQ(refusal(wrong), "blocks is '" + std::string(wrong) +
                                      "': it must be ROWSxKEYS:PATTERN with PATTERN local:N, butterfly, strided:N, "
                                      "random:PERCENT, random:PERCENT:SEED or file:PATH, as in 64x64:random:25");
    }
    EXPECT_EQ(refusal("8x8:random:100"), "accepted");
    workload w = sizes(index_t{1} << 15, index_t{1} << 14);
    try {
        set_blocks(w, "1x1:local:1");
        FAIL();
    } catch (const invalid_argument& e) {
        EXPECT_STREQ(e.what(),
                     "blocks is '1x1:local:1': 32768 x 16384 blocks are more than 2^28; larger blocks are fewer");
    }
}

TEST(block_patterns, files) {
    test::scratch_folder folder;
    const std::string path = (folder / "mask:with colon.txt").string();
    const auto refused = [&](const char* content) {
        std::ofstream(path, std::ios::binary) << content;
        return refusal("20x20:file:" + path); // two rows of three
    };
    workload w = sizes(40, 60);
    std::ofstream(path, std::ios::binary) << "1 0\t1\r\n\n  \n011";
    EXPECT_EQ(drawn(w, "20x20:file:" + path), "101 011");
    EXPECT_EQ(refused("101\n01\n"), "blocks: " + path + " line 2 has 2 blocks: 3 cover the keys");
    EXPECT_EQ(refused("1010\n01\n"), "blocks: " + path + " line 1 has 4 blocks: 3 cover the keys");
    EXPECT_EQ(refused("101\n"), "blocks: " + path + " has 3 blocks: 6 cover the scores");
    EXPECT_EQ(refused("101\n\n1x1\n"), "blocks: " + path + " line 3: only 0 and 1 are blocks");
    EXPECT_EQ(refused("101\n111\n1"), "blocks: " + path + " line 3: more blocks than the 6 that cover the scores");
    EXPECT_EQ(refusal("20x20:file:/nowhere/at/all"), "blocks: cannot read '/nowhere/at/all'");
}

} // namespace
} // namespace pantile::inline v0::simulator
