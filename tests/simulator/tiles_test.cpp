// Tiles that fit: the bound is exact, the least traffic is found, and words are read as they are meant.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

#include "refusal.hpp"

namespace pantile::inline v0::simulator {
namespace {

experiment sizes(index_t rows, index_t keys, index_t d) {
    experiment e;
    e.what = workload::square(rows, d);
    e.what.k_len = keys;
    return e;
}

// fa2 forward, 4 rows by 3 keys, d = 2, fp16: Q 4·2, K and V 3·2 each, 20 numbers of two bytes; S 4·3, O 4·2, {max, sum} 4·2
// of four bytes.
TEST(fits, to_the_byte_in_scratchpad_and_registers) {
    const algorithm& fa2 = find_algorithm("fa2");
    experiment e = sizes(8, 6, 2);
    e.plan = {4, 3, 1};
    e.near = near_memory::of_bytes(40 + 112, dtype::fp16);
    EXPECT_EQ(footprint_of(fa2, e).bytes, 152);
    EXPECT_TRUE(fits(fa2, e));
    e.near.bytes = 151;
    EXPECT_FALSE(fits(fa2, e));
    e.near = near_memory::of_bytes(40, dtype::fp16, 112); // sums in registers
    EXPECT_EQ(footprint_of(fa2, e).bytes, 40);
    EXPECT_EQ(footprint_of(fa2, e).register_bytes, 112);
    EXPECT_TRUE(fits(fa2, e));
    e.near.accumulator_bytes = 111;
    EXPECT_FALSE(fits(fa2, e)) << "registers are too few";
    e.near = near_memory::of_bytes(39, dtype::fp16, 112);
    EXPECT_FALSE(fits(fa2, e)) << "the scratchpad is too small";
}

/// What fa2 holds of m x n tiles, d = e: Q md, K and V nd, S mn, O md, {max, sum} 2m.
index_t held(index_t m, index_t n, index_t d) { return 2 * m * d + 2 * n * d + m * n + 2 * m; }

TEST(feasible_tiles, none_that_fit_move_less) {
    const algorithm& fa2 = find_algorithm("fa2");
    for (const index_t memory : {20, 40, 100, 300, 1000}) {
        experiment e = sizes(24, 20, 3);
        e.near = near_memory::of_elements(memory);
        const auto choices = feasible_tiles(fa2, e);
        ASSERT_EQ(choices.size(), 1U) << memory;
        // Q once and O, lse out once; K and V for each row tile: the tallest that fits is best, with one key at least.
        index_t least = unbounded;
        for (index_t m = 1; m <= 24; ++m) {
            for (index_t n = 1; n <= 20; ++n) {
                if (held(m, n, 3) > memory) continue;
                least = std::min(least, 24 * 3 + core::ceil_div(24, m) * 20 * 6 + 24 * 4);
            }
        }
        const tile_choice& best = choices[0];
        EXPECT_EQ(best.elements.reads + best.elements.writes, least) << memory;
        EXPECT_EQ(best.needs.bytes, held(best.plan.row_tile, best.plan.key_tile, 3)) << memory;
        EXPECT_LE(best.needs.bytes, memory);
        EXPECT_EQ(best.bytes, fa2.formula(e.what, e.which, best.plan).bytes(dtype::bf16));
    }
    experiment e = sizes(24, 20, 3);
    e.near = near_memory::of_elements(held(1, 1, 3));
    EXPECT_EQ(feasible_tiles(fa2, e).at(0).plan, (tile_plan{1, 1, 1}));
    e.near.bytes -= 1;
    EXPECT_TRUE(feasible_tiles(fa2, e).empty());
}

TEST(feasible_tiles, best_first_each_once_and_no_more_than_asked_for) {
    const algorithm& fa2 = find_algorithm("fa2");
    experiment e = sizes(64, 64, 4);
    e.near = near_memory::of_elements(400);
    e.plan.key_splits = 3;
    const auto all = feasible_tiles(fa2, e, {}, 1000);
    ASSERT_GT(all.size(), 10U);
    for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_EQ(all[i].plan.key_splits, 3);
        EXPECT_LE(held(all[i].plan.row_tile, all[i].plan.key_tile, 4), 400);
        if (i == 0) continue;
        const auto moved = [](const tile_choice& c) { return c.elements.reads + c.elements.writes; };
        EXPECT_LE(moved(all[i - 1]), moved(all[i]));
        EXPECT_NE(all[i - 1].plan, all[i].plan);
        if (moved(all[i - 1]) == moved(all[i])) { // the larger tile first
            EXPECT_GE(all[i - 1].plan.row_tile * all[i - 1].plan.key_tile, all[i].plan.row_tile * all[i].plan.key_tile);
        }
    }
    const auto has = [&](index_t rows, index_t keys) {
        return std::any_of(all.begin(), all.end(), [&](const tile_choice& c) {
            return c.plan == tile_plan{rows, keys, 3};
        });
    };
    // 400 = 10m + 8n + mn. Widths 1, 2, 3, 4, 6, 8 … with the longest other side; the square 13: 130 + 104 + 169 = 403 > 400.
    EXPECT_TRUE(has(35, 1)); // of one key: 11m + 8
    EXPECT_TRUE(has(12, 12));
    EXPECT_FALSE(has(13, 13));
    EXPECT_EQ(feasible_tiles(fa2, e, {}, 3).size(), 3U);
    EXPECT_EQ(feasible_tiles(fa2, e).size(), 1U);
}

// In bytes fp32 sums weigh: what is least in elements need not be least in bytes.
TEST(feasible_tiles, bytes_are_weighed_on_machines) {
    const algorithm& fa2 = find_algorithm("fa2");
    experiment e = sizes(64, 64, 8);
    e.which = pass::backward;
    e.near = near_memory::of_bytes(6000, dtype::fp8);
    e.what.type = dtype::fp8;
    const auto all = feasible_tiles(fa2, e, {}, 1000);
    for (std::size_t i = 1; i < all.size(); ++i) {
        EXPECT_LE(all[i - 1].bytes.reads + all[i - 1].bytes.writes, all[i].bytes.reads + all[i].bytes.writes);
    }
}

TEST(feasible_tiles, sides_are_multiples_of_what_a_machine_takes) {
    const algorithm& fa2 = find_algorithm("fa2");
    experiment e = sizes(100, 90, 4);
    e.near = near_memory::of_elements(3000);
    for (const tile_quantum& q : {tile_quantum{16, 8}, tile_quantum{8, 16}, tile_quantum{24, 16}, tile_quantum{1, 7}}) {
        const auto all = feasible_tiles(fa2, e, q, 1000);
        ASSERT_FALSE(all.empty());
        for (const tile_choice& c : all) {
            EXPECT_EQ(c.plan.row_tile % q.rows, 0);
            EXPECT_EQ(c.plan.key_tile % q.keys, 0);
            EXPECT_LT(c.plan.row_tile, 100 + q.rows);
            EXPECT_LT(c.plan.key_tile, 90 + q.keys);
        }
    }
    // Packed heads under a mask: of the group too. Three heads, rows in steps of 16: 48.
    e.what.q_heads = 3;
    e.what.packed_heads = true;
    e.what.mask = causal();
    e.near = {};
    const auto packed = feasible_tiles(fa2, e, {16, 8}, 1000);
    ASSERT_FALSE(packed.empty());
    for (const tile_choice& c : packed) EXPECT_EQ(c.plan.row_tile % 48, 0);
    EXPECT_EQ(packed[0].plan, (tile_plan{336, 96, 1})); // all 300 rows and 90 keys, rounded up
}

TEST(tiles_in_words, are_read_as_they_are_meant) {
    const algorithm& fa1 = find_algorithm("fa1");
    experiment e = sizes(4096, 4096, 64);
    e.plan.key_splits = 5;
    EXPECT_EQ(parse_tiles("128x64", fa1, e), (tile_plan{128, 64, 5}));
    EXPECT_EQ(parse_tiles("1x1", fa1, {}), (tile_plan{1, 1, 1}));
    for (const char* wrong :
         {"", "x", "4", "4x", "x4", "0x4", "4x0", "-4x4", "4x4x4", " 4x4", "4 x 4", "4x4 ", "Feasible"}) {
        EXPECT_EQ(refusal([&] { static_cast<void>(parse_tiles(wrong, fa1, e)); }),
                  "tiles is '" + std::string(wrong) + "': it must be ROWSxKEYS (as in 128x64), 'feasible' or 'paper'");
    }
    // The paper's M is in elements: 64 KiB of fp16 are 32,768 of them.
    e.near = near_memory::of_bytes(65536, dtype::fp16);
    EXPECT_EQ(parse_tiles("paper", fa1, e), (tile_plan{64, 128, 1}));
    EXPECT_EQ(refusal([&] { static_cast<void>(parse_tiles("paper", find_algorithm("fa2"), e)); }),
              "fa2 has no published rule for tiles; use 'feasible'");
    e.near = near_memory::of_elements(10000);
    EXPECT_EQ(parse_tiles("feasible", fa1, e, {16, 16}), feasible_tiles(fa1, e, {16, 16}).front().plan);
}

TEST(tiles_in_words, nothing_feasible_names_the_smallest_tiles) {
    experiment e = sizes(64, 64, 8);
    e.near = near_memory::of_elements(500);
    // 16 x 8: Q 128, K 64, V 64, S 128, O 128, which is too much already.
    EXPECT_EQ(refusal([&] {
                  static_cast<void>(parse_tiles("feasible", find_algorithm("fa2"), e, {16, 8}));
              }),
              "near memory holds 500, the live tiles need 512 (12 too many): Q 128 + S 128 + K 64 + V 64 + O 128");
    e.what.q_heads = 2;
    e.what.packed_heads = true;
    e.what.mask = causal(); // 16 rows are eight positions of two heads: the smallest tile is the same
    EXPECT_EQ(refusal([&] {
                  static_cast<void>(parse_tiles("feasible", find_algorithm("fa2"), e, {16, 8}));
              }),
              "near memory holds 500, the live tiles need 512 (12 too many): Q 128 + S 128 + K 64 + V 64 + O 128");
}

TEST(scratchpads, count_what_is_live) {
    scratchpad pad("registers", 100);
    EXPECT_EQ(pad.capacity(), 100);
    const int a = pad.hold("a", 60);
    const int b = pad.hold("b", 40); // to the byte
    EXPECT_EQ(pad.used(), 100);
    EXPECT_THROW(static_cast<void>(pad.hold("c", 1)), does_not_fit);
    EXPECT_EQ(pad.used(), 100) << "a refusal holds nothing";
    EXPECT_EQ(pad.live_set(), "a 60 + b 40");
    pad.release(a);
    EXPECT_EQ(pad.used(), 40);
    EXPECT_EQ(pad.hold("c", 10), a); // the free ticket is used again
    EXPECT_EQ(pad.live_set(), "b 40 + c 10");
    EXPECT_EQ(pad.hold("none", 0), 2);
    EXPECT_EQ(pad.live_set(), "b 40 + c 10") << "what takes no room is not named";
    pad.release(b);
    EXPECT_EQ(pad.used(), 10);
    EXPECT_EQ(pad.peak(), 100);
    EXPECT_EQ(refusal([] {
                  scratchpad small("registers", 5);
                  static_cast<void>(small.hold("a", 6));
              }),
              "registers holds 5, the live tiles need 6 (1 too many): a 6");
}

TEST(near_memories, have_a_width_for_each_role) {
    const near_memory n = near_memory::of_bytes(100, dtype::bf16, 50);
    EXPECT_EQ(n.bytes, 100);
    EXPECT_EQ(n.accumulator_bytes, 50);
    EXPECT_EQ(n.width(tile_role::operand), 2);
    EXPECT_EQ(n.width(tile_role::accumulator), 4);
    EXPECT_EQ(n.width(tile_role::statistic), 4);
    EXPECT_EQ(n.width(tile_role::streamed), 0);
    near_memory three;
    three.operand_width = 1;
    three.accumulator_width = 2;
    three.statistic_width = 3;
    EXPECT_EQ(three.width(tile_role::accumulator), 2);
    EXPECT_EQ(three.width(tile_role::statistic), 3);
    EXPECT_FALSE(three.counts_elements());
    EXPECT_TRUE(near_memory::of_elements(7).counts_elements());
    EXPECT_EQ(near_memory::of_elements(7).bytes, 7);
    EXPECT_EQ(near_memory{}.product_rows, 64);
}

} // namespace
} // namespace pantile::inline v0::simulator
