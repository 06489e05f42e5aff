// Scratchpads refuse what does not fit and say what is live; tile choices fit, and one more row does not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

using ::testing::HasSubstr;

TEST(scratchpad, refuses_and_names_the_live_set) {
    scratchpad pad("near memory", 100);
    const int q = pad.hold("Q", 30);
    const int k = pad.hold("K", 60);
    try {
        static_cast<void>(pad.hold("S", 20));
        FAIL() << "110 bytes fitted into 100";
    } catch (const does_not_fit& e) {
        EXPECT_STREQ(e.what(), "near memory holds 100, the live tiles need 110 (10 too many): K 60 + Q 30 + S 20");
    }
    pad.release(k);
    EXPECT_EQ(pad.hold("S", 70), k);
    EXPECT_EQ(pad.peak(), 100);
    pad.release(q);
    EXPECT_EQ(pad.live_set(), "S 70");
}

TEST(counts, overflow_throws_instead_of_wrapping) {
    const index_t most = std::numeric_limits<index_t>::max();
    EXPECT_THROW(static_cast<void>(checked_add(most, 1)), std::overflow_error);
    EXPECT_THROW(static_cast<void>(checked_mul(most / 2, 3)), std::overflow_error);
    EXPECT_EQ(checked_mul(most / 3, 3), most / 3 * 3);
    const workload huge = workload::square(index_t{1} << 40, index_t{1} << 20, 1024);
    EXPECT_THROW(static_cast<void>(find_algorithm("fa2").formula(huge, pass::forward, {1 << 30, 1 << 30, 1})),
                 std::overflow_error);
}

class tile_choice_test : public ::testing::TestWithParam<std::tuple<const char*, pass, index_t>> {};

TEST_P(tile_choice_test, the_peak_is_at_most_m_and_one_more_row_fails) {
    const auto [name, which, m] = GetParam();
    const algorithm& a = find_algorithm(name);
    experiment e;
    e.what = workload::square(700, 16);
    e.which = which;
    e.near = near_memory::of_elements(m);
    e.plan = parse_tiles("feasible", a, e);
    EXPECT_LE(run(a, e).peak_bytes, m);
    EXPECT_EQ(footprint_of(a, e).bytes, run(a, e).peak_bytes);
    // The side that was grown for least traffic is the longest that fits.
    experiment more = e;
    more.plan.row_tile += 1;
    experiment wider = e;
    wider.plan.key_tile += 1;
    const bool rows_bound = e.plan.row_tile < e.what.q_len && !fits(a, more);
    const bool keys_bound = e.plan.key_tile < e.what.k_len && !fits(a, wider);
    EXPECT_TRUE(rows_bound || keys_bound) << e.plan.row_tile << "x" << e.plan.key_tile;
    if (rows_bound) {
        EXPECT_THROW(static_cast<void>(run(a, more)), does_not_fit);
    }
    if (keys_bound) {
        EXPECT_THROW(static_cast<void>(run(a, wider)), does_not_fit);
    }
}

INSTANTIATE_TEST_SUITE_P(all, tile_choice_test,
                         ::testing::Combine(::testing::Values("fa1", "fa2"),
                                            ::testing::Values(pass::forward, pass::backward),
                                            ::testing::Values(index_t{300}, index_t{1000}, index_t{5000})));
INSTANTIATE_TEST_SUITE_P(forward_only, tile_choice_test,
                         ::testing::Combine(::testing::Values("fa1-lazy", "split-keys", "small-cache"),
                                            ::testing::Values(pass::forward),
                                            ::testing::Values(index_t{300}, index_t{5000})));

INSTANTIATE_TEST_SUITE_P(small_cache_backward, tile_choice_test,
                         ::testing::Combine(::testing::Values("small-cache"), ::testing::Values(pass::backward),
                                            ::testing::Values(index_t{100}, index_t{300}, index_t{5000})));

// Algorithm 1's tiles count Q, K, V and O only: with S and the statistics live too they overflow a small near memory.
TEST(tiles, the_printed_ones_overflow_small_near_memory) {
    const algorithm& a = find_algorithm("fa1");
    const auto ratio = [&](index_t kilobytes, index_t d) {
        experiment e;
        e.what = workload::square(4096, d);
        const index_t m = kilobytes * 1024 / 2; // fp16
        e.near = near_memory::of_elements(m);
        e.plan = parse_tiles("paper", a, e);
        return static_cast<double>(footprint_of(a, e).bytes) / static_cast<double>(m);
    };
    EXPECT_NEAR(ratio(227, 128), 1.04, 0.005);
    EXPECT_NEAR(ratio(100, 128), 1.21, 0.005);
    EXPECT_LT(ratio(227, 64), 1.0);
    EXPECT_THROW(static_cast<void>(parse_tiles("paper", find_algorithm("fa2"), {})), invalid_argument);
    EXPECT_THROW(static_cast<void>(parse_tiles("12by3", a, {})), invalid_argument);
}

TEST(tiles, nothing_feasible_says_what_the_smallest_tiles_need) {
    experiment e;
    e.what = workload::square(64, 64);
    e.near = near_memory::of_elements(200);
    try {
        static_cast<void>(parse_tiles("feasible", find_algorithm("fa2"), e));
        FAIL();
    } catch (const does_not_fit& error) {
        EXPECT_THAT(error.what(), HasSubstr("Q 64 + K 64 + V 64"));
    }
}

TEST(near_memory, stages_and_a_p_of_its_own_take_room) {
    const algorithm& a = find_algorithm("fa2");
    experiment e;
    e.what = workload::square(512, 64);
    e.plan = {128, 64, 1};
    e.near = near_memory::of_bytes(unbounded, dtype::bf16);
    const index_t once = footprint_of(a, e).bytes;
    // Q, K, V in bf16; S, O and two statistics a row in fp32.
    EXPECT_EQ(once, 2 * (128 * 64 + 2 * 64 * 64) + 4 * (128 * 64 + 128 * 64 + 2 * 128));
    e.near.stages = 2;
    EXPECT_EQ(footprint_of(a, e).bytes, once + 2 * (2 * 64 * 64));
    e.near.stages = 1;
    e.near.probabilities_in_place = false;
    EXPECT_EQ(footprint_of(a, e).bytes, once + 2 * 128 * 64);
    e.near.accumulator_bytes = 256 * 1024;
    EXPECT_EQ(footprint_of(a, e).register_bytes, 4 * (128 * 64 + 128 * 64 + 2 * 128));
}

TEST(workload, rejects_with_names_and_limits) {
    const auto message = [](const workload& w) {
        try {
            w.check();
        } catch (const invalid_argument& e) {
            return std::string(e.what());
        }
        return std::string("accepted");
    };
    workload w = workload::square(8, 4, 6);
    EXPECT_EQ(message(w), "accepted");
    w.kv_heads = 4;
    EXPECT_EQ(message(w), "pantile: q.heads is 6, k.heads is 4: q.heads must be a multiple of k.heads");
    w = workload::square(-1, 4);
    EXPECT_EQ(message(w), "pantile: q.length is -1: it must be between 0 and 2^48");
    w = workload::square(8, 4);
    w.key_lengths = {9};
    EXPECT_EQ(message(w), "pantile: options.key_lengths[0] is 9: it must be between 0 and k.length, 8");
    w.key_lengths = {1, 2};
    EXPECT_EQ(message(w), "pantile: options.key_lengths has 2 entries, q.batch is 1: there must be one a batch");
}

TEST(format, parses_what_the_tool_documents) {
    EXPECT_EQ(parse_size("16K", "-n"), 16384);
    EXPECT_EQ(parse_near("227KB", dtype::bf16).bytes, 227 * 1024);
    EXPECT_EQ(parse_near("227KB", dtype::bf16).operand_width, 2);
    EXPECT_TRUE(parse_near("64K", dtype::bf16).counts_elements());
    EXPECT_THROW(static_cast<void>(parse_size("12Q", "-n")), invalid_argument);
    EXPECT_THROW(static_cast<void>(parse_mask("diagonal")), invalid_argument);
    const mask m = parse_mask("window:3:all@-5");
    EXPECT_EQ(m.left, 3);
    EXPECT_EQ(m.right, unbounded);
    EXPECT_EQ(m.offset, -5);
    EXPECT_EQ(grouped(-1234567), "-1,234,567");
}

} // namespace
} // namespace pantile::inline v0::simulator
