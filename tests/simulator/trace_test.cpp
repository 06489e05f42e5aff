// A timeline of round numbers, and the trace-event file it becomes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

using ::testing::ElementsAre;

/// Of one processor's half: 2 bytes, 250 FLOP, 2 exponentials and 4 vector operations a nanosecond.
machine toy() {
    machine m;
    m.name = "toy";
    m.processors = 2;
    m.clock_ghz = 1;
    m.matrix_tflops = {{"bf16", 1}};
    m.sustained_share = 0.5;
    m.exponentials_per_clock = 2;
    m.vector_operations_per_clock = 4;
    m.last_cache_gb_per_s = 4;
    m.memory_gb_per_s = 1;
    return m;
}

/// Two blocks of two rows against four keys: d = e = 2, bf16.
experiment sizes() {
    experiment e;
    e.what = workload::square(4, 2);
    e.plan = {2, 4, 1};
    e.near = near_memory::of_bytes(unbounded, dtype::bf16);
    return e;
}

/// "lane name begin+length", in tenths of a nanosecond and rounded.
std::vector<std::string> drawn(const timeline& t) {
    std::vector<std::string> list;
    const auto tenths = [](double seconds) { return std::to_string(std::llround(seconds * 1e10)); };
    for (const timeline_slice& s : t.slices) {
        list.push_back(std::to_string(s.lane) + ' ' + s.name + ' ' + tenths(s.begin) + '+' + tenths(s.length) + ' ' +
                       std::to_string(s.bytes) + ' ' + std::to_string(s.matrix_flops));
    }
    return list;
}

TEST(trace, each_slice_takes_its_amount_over_one_processors_share) {
    const timeline t = trace(find_algorithm("fa2"), sizes(), toy(), 1);
    // Q 2·2·2 bytes: 4 ns; K and V 4·2·2: 8 ns each; a product of 32 FLOP: 0.128 ns. Softmax of a tile: logits 8, maximum,
    // subtraction and sum 3·8, statistics 2·2, O 2·2: 40 operations in 10 ns, and 8 exponentials in 4. At the end O and the
    // statistics, 8 operations in 2 ns; out 8 bytes, lse 2·4: 4 ns each.
    EXPECT_THAT(drawn(t), ElementsAre("0 load q 0+40 8 0", "0 load k 40+80 16 0", "0 load v 120+80 16 0",
                                      "0 product 200+1 0 32", "0 softmax 201+140 0 0", "0 product 341+1 0 32",
                                      "0 softmax 343+20 0 0", "0 store out 363+40 8 0", "0 store lse 403+40 8 0",
                                      "0 load q 443+40 8 0", "0 load k 483+80 16 0", "0 load v 563+80 16 0",
                                      "0 product 643+1 0 32", "0 softmax 644+140 0 0", "0 product 784+1 0 32",
                                      "0 softmax 785+20 0 0", "0 store out 805+40 8 0", "0 store lse 845+40 8 0"));
    ASSERT_EQ(t.blocks.size(), 2U);
    const double block = 44.256e-9; // 4 + 8 + 8 + 0.128 + 14 + 0.128 + 2 + 4 + 4
    for (index_t i = 0; i < 2; ++i) {
        const timeline_block& b = t.blocks[static_cast<std::size_t>(i)];
        EXPECT_EQ(b.lane, 0);
        EXPECT_EQ(b.place, 0);
        EXPECT_EQ(b.tile, i);
        EXPECT_NEAR(b.begin, static_cast<double>(i) * block, 1e-15);
        EXPECT_NEAR(b.length, block, 1e-15);
    }
    EXPECT_NEAR(t.seconds, 2 * block, 1e-15);
    EXPECT_TRUE(t.complete);
    // Two bytes an operand, four a sum. Q 8, K 16 and V 16 bytes, S 32, O 16, {max, sum} 16: 104, held from the first
    // block to the last; a statistic on its way out takes no room.
    index_t most = 0;
    for (const timeline_sample& s : t.footprint) most = std::max(most, s.held_bytes);
    EXPECT_EQ(most, 8 + 16 + 16 + 32 + 16 + 16);
    EXPECT_EQ(t.footprint.front().held_bytes, 8);
    EXPECT_EQ(t.footprint.back().held_bytes, 0);
    EXPECT_NEAR(t.footprint.back().at, 2 * block, 1e-15);
}

TEST(trace, a_block_goes_to_the_lane_that_is_free_first) {
    experiment e = sizes();
    e.what.q_len = 5; // blocks of 2, 2 and 1 rows
    e.what.q_heads = e.what.kv_heads = 2;
    const timeline t = trace(find_algorithm("fa2"), e, toy(), 2);
    ASSERT_EQ(t.blocks.size(), 6U);
    std::vector<std::string> where;
    for (const timeline_block& b : t.blocks) {
        where.push_back(std::to_string(b.lane) + ": " + std::to_string(b.place) + ' ' + std::to_string(b.tile));
    }
    // The short third block ends before the fourth does.
    EXPECT_THAT(where, ElementsAre("0: 0 0", "1: 0 1", "0: 0 2", "1: 1 0", "0: 1 1", "1: 1 2"));
    EXPECT_EQ(t.blocks[1].begin, 0);
    EXPECT_DOUBLE_EQ(t.blocks[4].begin, t.blocks[2].begin + t.blocks[2].length);
    EXPECT_DOUBLE_EQ(t.seconds, t.blocks[5].begin + t.blocks[5].length);
}

TEST(trace, rates_that_a_machine_lacks) {
    machine m = toy();
    m.last_cache_gb_per_s = 0; // then memory's: a quarter of it
    m.exponentials_per_clock = 0;
    const timeline slow = trace(find_algorithm("fa2"), sizes(), m, 1);
    EXPECT_NEAR(slow.slices[0].length, 16e-9, 1e-18);
    EXPECT_NEAR(slow.slices[4].length, 10e-9, 1e-18) << "no exponentials";
    m.vector_operations_per_clock = 0;
    m.exponentials_per_clock = 2;
    EXPECT_NEAR(trace(find_algorithm("fa2"), sizes(), m, 1).slices[4].length, 4e-9, 1e-18) << "nothing else";

    const auto refusal = [](const machine& x, int lanes = 1) {
        try {
            static_cast<void>(trace(find_algorithm("fa2"), sizes(), x, lanes));
        } catch (const invalid_argument& e) {
            return std::string(e.what());
        }
        return std::string("accepted");
    };
    const char* lacks = "machine toy gives no clock, bandwidth or matrix rate for bf16: there is no timeline";
    machine no_clock = toy();
    no_clock.clock_ghz = 0;
    EXPECT_EQ(refusal(no_clock), lacks);
    machine no_rate = toy();
    no_rate.matrix_tflops = {{"fp32", 1}};
    EXPECT_EQ(refusal(no_rate), lacks);
    machine no_bandwidth = toy();
    no_bandwidth.last_cache_gb_per_s = no_bandwidth.memory_gb_per_s = 0;
    EXPECT_EQ(refusal(no_bandwidth), lacks);
    EXPECT_EQ(refusal(toy(), 0), "lanes is 0: it must be positive");
}

TEST(trace, is_cut_off_after_the_slices_asked_for) {
    const timeline whole = trace(find_algorithm("fa2"), sizes(), toy(), 1, 18);
    EXPECT_EQ(whole.slices.size(), 18U);
    const timeline cut = trace(find_algorithm("fa2"), sizes(), toy(), 1, 5);
    EXPECT_EQ(cut.slices.size(), 5U);
    EXPECT_FALSE(cut.complete);
    EXPECT_LT(cut.footprint.size(), whole.footprint.size());
    EXPECT_DOUBLE_EQ(cut.seconds, whole.seconds) << "the rest still takes its time";
}

TEST(trace, the_file_holds_lanes_blocks_slices_and_samples) {
    timeline t;
    t.blocks = {{1, 3, 2, 1e-6, 5e-6}};
    t.slices = {{"load k", 1, 1e-6, 2e-6, 64, 0}, {"product", 1, 3e-6, 1e-6, 0, 128}};
    t.footprint = {{1, 4e-6, 512}};
    t.seconds = 6e-6;
    t.complete = false;
    EXPECT_EQ(timeline_json(t),
              R"({"displayTimeUnit":"ns","traceEvents":[)"
              R"({"ph":"M","pid":1,"tid":0,"name":"thread_name","args":{"name":"processor 0"}},)"
              R"({"ph":"M","pid":1,"tid":1,"name":"thread_name","args":{"name":"processor 1"}},)"
              R"({"ph":"X","pid":1,"tid":1,"ts":1.0,"dur":5.0,"name":"head 3 tile 2","cat":"block"},)"
              R"({"ph":"X","pid":1,"tid":1,"ts":1.0,"dur":2.0,"name":"load k","cat":"transfer",)"
              R"("args":{"bytes":64,"matrix_flops":0}},)"
              R"({"ph":"X","pid":1,"tid":1,"ts":3.0,"dur":1.0,"name":"product","cat":"arithmetic",)"
              R"("args":{"bytes":0,"matrix_flops":128}},)"
              R"({"ph":"C","pid":1,"tid":1,"ts":4.0,"name":"near memory, processor 1","args":{"bytes":512}}]})"
              "\n");
    EXPECT_EQ(timeline_summary_json(t, "a.json", 4), "{\n"
                                                     "  \"file\": \"a.json\",\n"
                                                     "  \"lanes\": 4,\n"
                                                     "  \"blocks\": 1,\n"
                                                     "  \"slices\": 2,\n"
                                                     "  \"complete\": false,\n"
                                                     "  \"seconds\": 6e-06\n"
                                                     "}\n");
}

} // namespace
} // namespace pantile::inline v0::simulator
