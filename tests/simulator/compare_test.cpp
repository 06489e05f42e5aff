// Counter files, timelines and the report: what is read, and what is written.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

using ::testing::HasSubstr;

// Recorded on an H100 80GB SXM (ncu --clock-control none --cache-control all), FlashAttention-2's forward kernel with row
// tiles of 128: 16 heads, N = 4096, d = 64, bf16; and one head, N = 16384, d = 128.
constexpr const char* recorded_csv =
    "==PROF== Connected to process 12\n"
    "\"ID\",\"Kernel Name\",\"Metric Name\",\"Metric Unit\",\"Metric Value\"\n"
    "\"0\",\"void flash_fwd_kernel<a, b>(c)\",\"dram__bytes_read.sum\",\"Mbyte\",\"25.2\"\n"
    "\"0\",\"void flash_fwd_kernel<a, b>(c)\",\"l1tex__m_xbar2l1tex_read_bytes.sum\",\"Mbyte\",\"545.26\"\n"
    "\"1\",\"fill\",\"dram__bytes_read.sum\",\"byte\",\"1,024\"\n";

experiment recorded() {
    experiment e;
    e.what = workload::square(4096, 64, 16);
    e.plan = {128, 128, 1};
    return e;
}

TEST(compare, ncu_counters_of_a_real_kernel_meet_the_walk) {
    const auto kernels = parse_ncu(recorded_csv);
    ASSERT_EQ(kernels.size(), 2U);
    EXPECT_EQ(kernels[1].metric("dram__bytes_read.sum"), 1024);
    const auto values = compare_ncu(kernels, "flash", find_algorithm("fa2"), recorded());
    ASSERT_EQ(values.size(), 2U);
    for (const compared_value& v : values) EXPECT_TRUE(v.within()) << compare_text({v});
    experiment wrong = recorded();
    wrong.plan.row_tile = 64; // twice the traffic
    EXPECT_FALSE(compare_ncu(kernels, "flash", find_algorithm("fa2"), wrong)[0].within());
    EXPECT_THROW(static_cast<void>(compare_ncu(kernels, "absent", find_algorithm("fa2"), wrong)), invalid_argument);
    EXPECT_THROW(static_cast<void>(parse_ncu("nothing")), invalid_argument);
}

TEST(compare, second_recorded_kernel) {
    experiment e;
    e.what = workload::square(16384, 128);
    e.plan = {128, 128, 1};
    const double reads =
        static_cast<double>(find_algorithm("fa2").formula(e.what, e.which, e.plan).bytes(dtype::bf16).reads);
    EXPECT_NEAR(1.08e9 / reads, 1, 0.01);
}

constexpr const char* callgrind_file = "events: Ir Dr D1mr DLmr\n"
                                       "desc: D1 cache: 1024 B, 64 B, 2-way associative\n"
                                       "desc: LL cache: 65536 B, 64 B, 16-way associative\n"
                                       "fn=(1) start\n"
                                       "10 5 5 5 5\n"
                                       "cfn=(2) void pantile::cpu::product<float>(int)\n"
                                       "calls=1 20\n"
                                       "11 900 900 900 900\n"
                                       "fn=(2)\n"
                                       "+3 100 50 40 30\n"
                                       "* 100 50 1\n"
                                       "fn=(1)\n"
                                       "12 1 1 1 1\n"
                                       "totals: 206 106 47 36\n";

TEST(compare, callgrind_files_are_summed_by_function) {
    const callgrind_counts all = parse_callgrind(callgrind_file);
    EXPECT_EQ(all.first_read_misses, 47);
    EXPECT_EQ(all.last_read_misses, 36);
    const callgrind_counts kernel = parse_callgrind(callgrind_file, "pantile::cpu");
    EXPECT_EQ(kernel.first_read_misses, 41);
    EXPECT_EQ(kernel.last_read_misses, 30);
    ASSERT_EQ(kernel.caches.size(), 2U);
    EXPECT_EQ(kernel.caches[1].bytes, 65536);
    EXPECT_EQ(kernel.caches[1].ways, 16);
    EXPECT_THROW(static_cast<void>(parse_callgrind("events: Ir\n")), invalid_argument);

    experiment e;
    e.what = workload::square(64, 16);
    e.what.type = dtype::fp32;
    e.plan = {16, 16, 1};
    const auto values = compare_callgrind(kernel, find_algorithm("fa2"), e, 0.005);
    EXPECT_EQ(values[0].predicted, 3 * 64); // everything fits: Q, K and V, one line a row
    EXPECT_FALSE(values[0].within());
}

cache_level level(const char* name, index_t bytes, index_t ways) {
    cache_level l;
    l.name = name;
    l.bytes = bytes;
    l.ways = ways;
    return l;
}

// callgrind read 24,576 misses in the tile functions where K, V and scratch fit, and 139,264 where they thrash
// (docs/io.md): Q, K and V once; Q once and K and V once for each of eight row tiles.
TEST(compare, the_kernel_with_its_scratch_meets_callgrind) {
    experiment e;
    e.what = workload::square(2048, 64);
    e.what.type = dtype::fp32;
    e.plan = {256, 64, 1};
    const panel_kernel kernel = panel_kernel_of(e.what, e.plan, 138688);
    EXPECT_EQ(kernel.panel_rows, 16);
    EXPECT_EQ(panel_kernel_of(e.what, e.plan, 3 * 138688).panel_rows, 64);
    EXPECT_THROW(static_cast<void>(panel_kernel_of(e.what, e.plan, 100000)), invalid_argument);
    const auto misses = [&](index_t bytes, index_t ways) {
        const kernel_lines r = run_panel_kernel(e, kernel, {level("D1", 49152, 12), level("LL", bytes, ways)});
        return r.levels.back().read_misses;
    };
    EXPECT_EQ(misses(index_t{1} << 22, 16), 24576);
    EXPECT_EQ(misses(index_t{1} << 19, 16), 139264);
    const auto cliff = static_cast<double>(misses(1179648, 9));
    EXPECT_NEAR(112884 / cliff, 1, 0.005); // measured
    e.what.mask = causal();
    EXPECT_THROW(static_cast<void>(run_panel_kernel(e, kernel, {level("LL", 65536, 16)})), invalid_argument);
}

TEST(trace, blocks_fill_the_lanes_and_slices_hold_every_byte) {
    const algorithm& fa2 = find_algorithm("fa2");
    experiment e;
    e.what = workload::square(512, 64, 2);
    e.plan = {128, 128, 1};
    const timeline t = trace(fa2, e, find_machine("h100"), 3);
    EXPECT_TRUE(t.complete);
    EXPECT_EQ(t.blocks.size(), 8U);
    index_t bytes = 0;
    for (const timeline_slice& s : t.slices) bytes += s.bytes;
    const core::transfers moved = fa2.formula(e.what, e.which, e.plan).bytes(dtype::bf16);
    EXPECT_EQ(bytes, moved.reads + moved.writes);
    EXPECT_NEAR(t.seconds, 3 * t.blocks[0].length, 1e-12); // 8 equal blocks on 3 lanes
    EXPECT_THAT(timeline_json(t), HasSubstr("\"traceEvents\""));
    EXPECT_FALSE(trace(fa2, e, find_machine("h100"), 3, 10).complete);
    EXPECT_THROW(static_cast<void>(trace(fa2, e, find_machine("here"), 3)), invalid_argument);
}

TEST(report, walks_visit_what_the_schedule_says) {
    experiment e;
    e.what = workload::square(256, 16);
    e.what.mask = causal();
    e.plan = {64, 64, 1};
    const auto fa2 = visits_of(find_algorithm("fa2"), e);
    const auto fa1 = visits_of(find_algorithm("fa1"), e);
    EXPECT_EQ(fa2.size(), 10U); // 4 · 5 / 2
    EXPECT_EQ(fa1.size(), 10U);
    EXPECT_EQ(fa2[1].row_tile, 1); // fa2 goes along a row of tiles, fa1 down a column
    EXPECT_EQ(fa2[1].key_tile, 0);
    EXPECT_EQ(fa2[2].key_tile, 1);
    EXPECT_EQ(fa1[1].row_tile, 1);
    EXPECT_EQ(fa1[2].row_tile, 2);
    EXPECT_GT(fa1.back().moved_bytes, fa2.back().moved_bytes);
}

} // namespace
} // namespace pantile::inline v0::simulator
