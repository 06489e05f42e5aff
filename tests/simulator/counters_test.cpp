// Counter files of other tools, line by line, and the numbers that they are held against; the CPU kernel's accesses by hand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

#include "refusal.hpp"

namespace pantile::inline v0::simulator {
namespace {

using ::testing::ElementsAre;

constexpr const char* ncu_text = "==PROF== a line, before the table\n"
                                 "\"Metric Value\",\"ID\",\"Kernel Name\",\"Metric Unit\",\"Metric Name\"\r\n"
                                 "\"1,234.5\",\"0\",\"say \"\"hi\"\", twice\",\"Kbyte\",\"a\"\r\n"
                                 "\"2\",\"0\",\"say \"\"hi\"\", twice\",\"Mbyte\",\"b\"\r\n"
                                 "too,few\n"
                                 "\"3\",\"0\",\"say \"\"hi\"\", twice\",\"Gbyte\",\"c\"\n"
                                 "\"4\",\"7\",\"other\",\"byte\",\"a\"\n"
                                 "\"5\",\"7\",\"other\",\"%\",\"b\"\n"
                                 "\"6\",\"8\",\"other\",\"Tbyte/s\",\"a\"\n";

TEST(ncu, a_table_is_read_by_its_heading) {
    const auto kernels = parse_ncu(ncu_text);
    ASSERT_EQ(kernels.size(), 3U);
    EXPECT_EQ(kernels[0].id, "0");
    EXPECT_EQ(kernels[0].name, "say \"hi\", twice");
    ASSERT_EQ(kernels[0].metrics.size(), 3U);
    EXPECT_EQ(kernels[0].metric("a"), 1234.5e3);
    EXPECT_EQ(kernels[0].metric("b"), 2e6);
    EXPECT_EQ(kernels[0].metric("c"), 3e9);
    EXPECT_EQ(kernels[0].metric("d"), std::nullopt);
    EXPECT_EQ(kernels[1].id, "7");
    EXPECT_EQ(kernels[1].metric("a"), 4);
    EXPECT_EQ(kernels[1].metric("b"), 5);
    EXPECT_EQ(kernels[2].metric("a"), 6);
    const char* nothing = "ncu: no table with ID, Kernel Name, Metric Name, Metric Unit and Metric Value: run ncu with "
                          "--csv --metrics …";
    EXPECT_EQ(refusal([] { static_cast<void>(parse_ncu("")); }), nothing);
    EXPECT_EQ(refusal([] { static_cast<void>(parse_ncu("ID,Kernel Name,Metric Name,Metric Unit\n")); }), nothing);
    EXPECT_TRUE(parse_ncu("ID,Kernel Name,Metric Name,Metric Unit,Metric Value\n").empty());
}

TEST(ncu, kernels_are_held_against_the_walk_and_the_inputs) {
    experiment e;
    e.what = workload::square(64, 16);
    e.plan = {32, 16, 1};
    const std::vector<ncu_kernel> kernels{
        {"3", "a kernel with a name of more than forty characters", {{"dram__bytes_read.sum", 7000}, {"x", 1}}},
        {"4", "fill", {{"l1tex__m_xbar2l1tex_read_bytes.sum", 5}}},
        {"5", "kernel two", {{"l1tex__m_xbar2l1tex_read_bytes.sum", 10300}}},
        {"6", "kernel without counters", {}}};
    const algorithm& fa2 = find_algorithm("fa2");
    const auto values = compare_ncu(kernels, "absent|kernel", fa2, e);
    ASSERT_EQ(values.size(), 2U);
    EXPECT_EQ(values[0].label, "launch 3 a kernel with a name of more than forty : DRAM reads, bytes");
    EXPECT_EQ(values[0].measured, 7000);
    EXPECT_EQ(values[0].predicted, 3 * 64 * 16 * 2); // Q, K and V once
    EXPECT_EQ(values[0].tolerance, 0.05);
    EXPECT_EQ(values[1].label, "launch 5 kernel two: L2 to SM, bytes");
    EXPECT_EQ(values[1].measured, 10300);
    EXPECT_EQ(values[1].predicted, (1 + 2 * 2) * 64 * 16 * 2); // Q once, K and V for each of two row tiles
    EXPECT_EQ(values[1].tolerance, 0.01);
    EXPECT_TRUE(values[1].within());                        // 0.6 % more
    EXPECT_EQ(compare_ncu(kernels, "", fa2, e).size(), 3U); // all
    e.what.mask = causal();
    EXPECT_EQ(compare_ncu(kernels, "two", fa2, e)[0].tolerance, 0.025);
    EXPECT_EQ(refusal([&] { static_cast<void>(compare_ncu(kernels, "without", fa2, e)); }),
              "ncu: no kernel named 'without' with l1tex__m_xbar2l1tex_read_bytes.sum or dram__bytes_read.sum");
}

TEST(compared, a_value_is_within_its_tolerance_on_either_side) {
    const auto within = [](double measured, double predicted) {
        return compared_value{"", measured, predicted, 0.25}.within();
    };
    EXPECT_TRUE(within(125, 100));
    EXPECT_TRUE(within(75, 100));
    EXPECT_FALSE(within(126, 100));
    EXPECT_FALSE(within(74, 100));
    EXPECT_TRUE(within(5, 0)); // nothing predicted: no relative error
    EXPECT_DOUBLE_EQ((compared_value{"", 150, 100, 0}.error()), 0.5);
}

TEST(compared, text_csv_and_json) {
    const std::vector<compared_value> values{{"one, two", 10050, 10000, 0.01}, {"three", 900, 1000, 0.05}};
    EXPECT_EQ(compare_text(values), "          measured  predicted  difference\n"
                                    "one, two    10,050     10,000    +0.500 %   within 1.000 %\n"
                                    "three          900      1,000   -10.000 %  OUTSIDE 5.000 %\n");
    EXPECT_EQ(compare_csv(values), "label,measured,predicted,relative_error,tolerance,within\n"
                                   "\"one, two\",10050.000000,10000.000000,0.005000,0.010000,1\n"
                                   "three,900.000000,1000.000000,-0.100000,0.050000,0\n");
    EXPECT_EQ(compare_json({{"half", 1500, 1000, 0.25}}), R"([
  {
    "label": "half",
    "measured": 1500.0,
    "predicted": 1000.0,
    "relative_error": 0.5,
    "tolerance": 0.25,
    "within": false
  }
]
)");
}

constexpr const char* callgrind_text = "version: 1\n"
                                       "desc: I1 cache: 32768 B, 64 B, 8-way associative\n"
                                       "desc: D1 cache: 2048 B, 32 B, 4-way associative\n"
                                       "desc: LL cache: 65536 B, 128 B, 16-way associative\n"
                                       "events: Ir DLmr D1mr\n"
                                       "fn=(1) main\n"
                                       "16 1 1000 2000\n"
                                       "fn=plain\n"
                                       "17 1 100 200\n"
                                       "cfn=(2) tile::load\n"
                                       "calls=3 4\n"
                                       "18 1 5000 6000\n"
                                       "-2 1 10 20\n"
                                       "summary: 9 9 9\n"
                                       "\n"
                                       "fn=(2)\n"
                                       "19 1 1 2\n"
                                       "20 1 7\n"
                                       "fn=(3) tile::store\n"
                                       "* 1 30 40\n";

TEST(callgrind, costs_are_summed_by_function) {
    const auto misses = [](const char* function) {
        const callgrind_counts c = parse_callgrind(callgrind_text, function);
        return std::make_pair(c.first_read_misses, c.last_read_misses);
    };
    EXPECT_EQ(misses(""), std::make_pair(index_t{2262}, index_t{1148}));
    EXPECT_EQ(misses("main"), std::make_pair(index_t{2000}, index_t{1000}));
    EXPECT_EQ(misses("plain"), std::make_pair(index_t{220}, index_t{110})); // without what it calls
    EXPECT_EQ(misses("load"), std::make_pair(index_t{2}, index_t{8}));      // a missing last number is zero
    EXPECT_EQ(misses("load|store"), std::make_pair(index_t{42}, index_t{38}));
    EXPECT_EQ(misses("absent"), std::make_pair(index_t{0}, index_t{0}));
    const callgrind_counts c = parse_callgrind(callgrind_text);
    ASSERT_EQ(c.caches.size(), 2U);
    EXPECT_EQ(c.caches[0].name, "D1");
    EXPECT_EQ(c.caches[0].bytes, 2048);
    EXPECT_EQ(c.caches[0].line_bytes, 32);
    EXPECT_EQ(c.caches[0].ways, 4);
    EXPECT_EQ(c.caches[1].name, "LL");
    EXPECT_EQ(c.caches[1].line_bytes, 128);
    EXPECT_EQ(refusal([] { static_cast<void>(parse_callgrind("events: D1mr\n")); }),
              "callgrind: no DLmr: run it with --cache-sim=yes");
    EXPECT_EQ(refusal([] { static_cast<void>(parse_callgrind("events: DLmr\n")); }),
              "callgrind: no D1mr: run it with --cache-sim=yes");
    EXPECT_EQ(refusal([] { static_cast<void>(parse_callgrind("events: D1mr DLmr\n")); }),
              "callgrind: the file does not describe its D1 and LL caches");
}

/// Eight queries and two keys of one number each: one panel, one tile.
experiment least() {
    experiment e;
    e.what = workload::square(8, 1);
    e.what.k_len = 2;
    e.what.type = dtype::fp32;
    e.plan = {8, 2, 1};
    return e;
}

cache_level large() {
    cache_level l;
    l.name = "L";
    l.bytes = 1 << 20;
    return l;
}

TEST(panel_kernel, accesses_of_the_least_tile) {
    // Begin: Q 8 reads, Qᵀ 1 vector; O 1 vector; maximum and sum 1 each: 12. Tile: tile maximum and sum started, 2. Scores:
    // one block of 2 rows: Qᵀ 1, K 2; the maximum read and written, 2 scores: 7. Fold: 6 of {max, sum}, 2 of the tile's,
    // 2 of each of 2 score vectors, tile sum 1, the sum 4: 17. P·V: 2 · (P 1 + V 1), factor 1, O 2: 7. End: 3 numbers of each
    // of 8 rows, O read with its factor 2, out 8 writes: 34.
    const kernel_lines r = run_panel_kernel(least(), {4096, 8, 6, 8}, {large()});
    EXPECT_EQ(r.accesses, 12 + 2 + 7 + 17 + 7 + 34);
    ASSERT_EQ(r.levels.size(), 1U);
    EXPECT_EQ(r.levels[0].reads + r.levels[0].writes, r.accesses);
    // Lines of 64 bytes, each once: scores, four vectors of the tile, {max, sum}, Qᵀ and Oᵀ; q, k, v and out.
    EXPECT_EQ(r.levels[0].misses(), 1 + 4 + 2 + 2 + 4);
    EXPECT_EQ(r.levels[0].read_misses, 3) << "q, k and v; everything else is written first";
}

TEST(panel_kernel, products_keep_up_to_six_rows_in_registers) {
    // Blocks of rows that m rows make: 6, 4, 2 and 1; a rest of 8 is 4 + 4.
    const std::pair<index_t, index_t> blocks_of[] = {{1, 1}, {2, 1}, {3, 2},  {4, 1},  {5, 2},  {6, 1},  {7, 2},
                                                     {8, 2}, {9, 3}, {10, 2}, {11, 3}, {12, 2}, {13, 3}, {14, 3}};
    for (const auto& [m, blocks] : blocks_of) {
        experiment e = least();
        e.what.k_len = m;
        e.plan.key_tile = m;
        // Scores: Qᵀ and the maximum (read, written) once a block, K and the scores once a row; the fold's 13 and 2 a key;
        // P·V with one row of result: 2 a key, and 3.
        EXPECT_EQ(run_panel_kernel(e, {1 << 20, 8, 6, 8}, {large()}).accesses,
                  12 + 2 + (3 * blocks + 2 * m) + (13 + 2 * m) + (2 * m + 3) + 34)
            << m;
    }
}

TEST(panel_kernel, panels_of_a_ragged_row_tile) {
    experiment e = least();
    e.what.q_len = 11; // a row tile of 8 and one of 3; the kernel computes whole vectors
    const kernel_lines r = run_panel_kernel(e, {4096, 8, 6, 8}, {large()});
    // Three rows: Q 3 reads, out 3 writes. The loops over rows run over all eight lanes.
    EXPECT_EQ(r.accesses, 79 + (12 - 5) + 2 + 7 + 17 + 7 + (34 - 5));
    e.what.q_len = 16;
    e.plan.row_tile = 16; // two panels of eight, or one of sixteen
    EXPECT_EQ(run_panel_kernel(e, {4096, 8, 6, 8}, {large()}).accesses, 2 * 79);
    // One panel: K and V are read once for both vectors (2 + 2 less), and everything else is per vector.
    EXPECT_EQ(run_panel_kernel(e, {4096, 16, 6, 8}, {large()}).accesses, 2 * 79 - 4);
}

// Rows of one line. In a cache that holds everything each line misses once: q and out 2·4 heads of 8 rows, k and v 2·2 heads of
// 4; in the scratch scores 2 lines, four vectors, {max, sum}, Qᵀ and Oᵀ 8 each.
TEST(panel_kernel, every_head_has_its_own_lines) {
    experiment e;
    e.what = workload::square(8, 16, 4, 2);
    e.what.kv_heads = 2;
    e.what.k_len = 4;
    e.what.type = dtype::fp32;
    e.plan = {8, 4, 1};
    const kernel_lines r = run_panel_kernel(e, {8192, 8, 6, 8}, {large()});
    EXPECT_EQ(r.levels[0].misses(), 2 * 64 + 2 * 16 + 2 + 4 + 2 + 8 + 8);
    EXPECT_EQ(r.levels[0].read_misses, 64 + 2 * 16);
}

TEST(panel_kernel, a_miss_goes_on_to_the_next_level) {
    cache_level one = large();
    one.bytes = 64;
    one.ways = 1;
    const kernel_lines r = run_panel_kernel(least(), {4096, 8, 6, 8}, {one, large()});
    EXPECT_EQ(r.levels[1].reads + r.levels[1].writes, r.levels[0].misses());
    EXPECT_EQ(r.levels[1].misses(), 13);
    EXPECT_GT(r.levels[0].misses(), 13);
    EXPECT_EQ(r.levels[1].allocating_misses, 0);
}

TEST(panel_kernel, scratch_says_how_wide_the_panels_are) {
    workload w = workload::square(20, 3);
    w.k_len = 10;
    w.value_dim = 5;
    const tile_plan plan{8, 4, 1};
    // From new lines of 64 bytes each: scores 4·p numbers, six vectors of p (two of them in one array), three of 8 rows,
    // Qᵀ 8·3 and Oᵀ 8·5. p = 8: 128 + 4·64 + 64 + 3·64 + 128 + 192; p = 16: 256 + 4·64 + 128 + 512; p = 32: 512 + 4·128
    // + 256 + 512; p = 64: 1024 + 4·256 + 512 + 512.
    const auto panel = [&](index_t bytes) { return panel_kernel_of(w, plan, bytes).panel_rows; };
    EXPECT_EQ(refusal([&] { static_cast<void>(panel(959)); }),
              "scratch is 959 bytes: a kernel of these tiles needs 960");
    EXPECT_EQ(panel(960), 8);
    EXPECT_EQ(panel(1151), 8);
    EXPECT_EQ(panel(1152), 16);
    EXPECT_EQ(panel(1791), 16);
    EXPECT_EQ(panel(1792), 32);
    EXPECT_EQ(panel(3071), 32);
    EXPECT_EQ(panel(3072), 64);
    EXPECT_EQ(panel(1 << 20), 64); // eight vectors at most
    EXPECT_EQ(panel_kernel_of(w, plan, 1 << 20, 16).panel_rows, 128);
    EXPECT_EQ(panel_kernel_of(w, plan, 1 << 20, 16).lanes, 16);
    EXPECT_EQ(panel_kernel_of(w, plan, 1 << 20).block_rows, 6);
    // A row tile of more rows than there are, and keys likewise: 20 rows of queries, 10 keys.
    EXPECT_EQ(refusal([&] {
                  static_cast<void>(panel_kernel_of(w, {64, 64, 1}, 0));
              }),
              "scratch is 0 bytes: a kernel of these tiles needs " +
                  std::to_string(10 * 8 * 4 + 4 * 64 + 64 + 3 * 128 + 256 + 448)); // 320 is a multiple of 64
}

TEST(panel_kernel, other_workloads_are_refused) {
    const auto refused = [](auto&& change, index_t line = 64) {
        experiment e = least();
        change(e);
        cache_level l = large();
        l.line_bytes = line;
        return refusal([&] { static_cast<void>(run_panel_kernel(e, {4096, 8, 6, 8}, {l})); });
    };
    const char* text = "the kernel's lines are those of a forward pass in fp32 without a mask";
    EXPECT_EQ(refused([](experiment&) {}), "accepted");
    EXPECT_EQ(refused([](experiment& e) { e.what.type = dtype::bf16; }), text);
    EXPECT_EQ(refused([](experiment& e) { e.what.mask = causal(); }), text);
    EXPECT_EQ(refused([](experiment& e) { e.what.packed_heads = true; }), text);
    EXPECT_EQ(refused([](experiment& e) { e.which = pass::backward; }), text);
    EXPECT_EQ(refused([](experiment& e) { e.what.k_len = -1; }),
              "pantile: k.length is -1: it must be between 0 and 2^48");
    EXPECT_EQ(refused([](experiment&) {}, 128), "cache L must have lines of 64 bytes");
}

// Where the arrays lie: with one set of lines a byte offset, two arrays that are a multiple of the cache apart evict each other.
TEST(panel_kernel, callgrind_is_compared_with_the_last_level) {
    callgrind_counts c;
    cache_level one = large();
    one.bytes = 64;
    one.ways = 1;
    c.caches = {one, large()};
    c.last_read_misses = 4;
    const auto values = compare_callgrind(c, least(), panel_kernel{4096, 8, 6, 8}, 0.4);
    ASSERT_EQ(values.size(), 1U);
    EXPECT_EQ(values[0].label, "last-level read misses");
    EXPECT_EQ(values[0].measured, 4);
    EXPECT_EQ(values[0].predicted, 3);
    EXPECT_EQ(values[0].tolerance, 0.4);
    // The walk alone: Q, K and V in lines of 64 bytes, one each. out's line is brought in for a write, which is no read of
    // the program.
    const auto walk = compare_callgrind(c, find_algorithm("fa2"), least(), 0.4);
    EXPECT_EQ(walk[0].predicted, 3);
    EXPECT_EQ(walk[0].measured, 4);
    EXPECT_EQ(walk[0].tolerance, 0.4);
}

} // namespace
} // namespace pantile::inline v0::simulator
