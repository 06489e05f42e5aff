// Tile sizes: bounds that must hold for any problem and any machine.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <pantile/core/choose_plan.hpp>

#include <support/generators.hpp>

namespace pantile::inline v0::core {
namespace {

problem any_problem() {
    using test::detail::pick;
    problem p;
    p.batch = pick(0, 3);
    p.kv_heads = pick(1, 4);
    p.q_heads = p.kv_heads * pick(1, 4);
    p.q_len = pick(0, 3000);
    p.k_len = pick(0, 100000);
    p.head_dim = pick(0, 300);
    p.value_dim = pick(0, 300);
    return p;
}

machine_limits any_limits() {
    using test::detail::pick;
    machine_limits m;
    m.row_quantum = *rc::gen::element<index_t>(1, 16, 64);
    m.key_quantum = *rc::gen::element<index_t>(1, 6, 16);
    m.max_row_tile = m.row_quantum * pick(1, 16);
    m.max_key_tile = pick(1, 200);
    m.far_bytes = index_t{1} << pick(10, 22);
    m.decode_rows = pick(0, 16);
    m.split_keys = pick(0, 4096);
    m.max_splits = pick(1, 64);
    return m;
}

RC_GTEST_PROP(choose_plan, gives_multiples_of_the_quanta_within_limits, ()) {
    const problem p = any_problem();
    const machine_limits m = any_limits();
    const tile_plan plan = choose_plan(p, m, {0, 0, 0}, *rc::gen::inRange<index_t>(1, 65));
    RC_ASSERT(plan.row_tile >= m.row_quantum && plan.row_tile % m.row_quantum == 0);
    RC_ASSERT(plan.row_tile <= round_up(m.max_row_tile, m.row_quantum));
    RC_ASSERT(plan.key_tile >= m.key_quantum && plan.key_tile % m.key_quantum == 0);
    RC_ASSERT(plan.key_tile <= round_up(m.max_key_tile, m.key_quantum));
    RC_ASSERT(plan.key_splits >= 1 && plan.key_splits <= m.max_splits);
    if (p.q_len * p.group() > m.decode_rows) RC_ASSERT(plan.key_splits == 1);
}

/// What changes the order of additions is the same for any number of workers.
RC_GTEST_PROP(choose_plan, workers_change_row_tiles_only, ()) {
    const problem p = any_problem();
    const machine_limits m = any_limits();
    const tile_plan one = choose_plan(p, m, {0, 0, 0}, 1);
    const tile_plan many = choose_plan(p, m, {0, 0, 0}, *rc::gen::inRange<index_t>(2, 257));
    RC_ASSERT(one.key_tile == many.key_tile && one.key_splits == many.key_splits);
    RC_ASSERT(many.row_tile <= one.row_tile);
}

RC_GTEST_PROP(choose_plan, keeps_what_was_asked_for, ()) {
    const problem p = any_problem();
    const tile_plan asked{*rc::gen::inRange<index_t>(1, 99), *rc::gen::inRange<index_t>(1, 99),
                          *rc::gen::inRange<index_t>(1, 9)};
    RC_ASSERT(choose_plan(p, any_limits(), asked, 4) == asked);
}

/// What the rules give for a machine like a core with 1 MiB of L2, worked out by hand: panels of 16 rows, blocks of 8 keys.
TEST(choose_plan, keeps_its_rules_to_the_number) {
    machine_limits m;
    m.row_quantum = 16;
    m.key_quantum = 8;
    m.max_row_tile = 256;
    m.max_key_tile = 128;
    m.far_bytes = 1 << 20;
    problem p;
    p.batch = 1;
    p.q_heads = p.kv_heads = 1;
    p.q_len = p.k_len = 1000;
    p.head_dim = p.value_dim = 64;
    // 512 bytes a row: 512 keys would fit into a quarter, 1024 rows into a half; the largest tiles stand. 1000 rows in 4
    // tiles of 250, rounded up to panels.
    EXPECT_EQ(choose_plan(p, m), (tile_plan{256, 128, 1}));
    // 4 KiB a row: 64 keys fit into a quarter of 1 MiB, 128 rows into a half: 8 tiles of 125.
    p.head_dim = p.value_dim = 512;
    EXPECT_EQ(choose_plan(p, m), (tile_plan{128, 64, 1}));
    // In fp64 half as many: 32 keys; 64 rows, in 16 tiles of 63.
    m.element_bytes = 8;
    EXPECT_EQ(choose_plan(p, m), (tile_plan{64, 32, 1}));
    // 800 bytes a row: the largest tiles again, but there are fewer keys than that.
    p.head_dim = p.value_dim = 50;
    p.k_len = 21;
    EXPECT_EQ(choose_plan(p, m), (tile_plan{256, 24, 1}));
    // 4 workers on one head: at least 12 tiles, of 84 rows, in whole panels. With 4 heads: 4 tiles each are 16, enough.
    EXPECT_EQ(choose_plan(p, m, {0, 0, 0}, 4).row_tile, 96);
    p.q_heads = p.kv_heads = 3;
    EXPECT_EQ(choose_plan(p, m, {0, 0, 0}, 4).row_tile, 256);
    EXPECT_EQ(choose_plan(p, m, {0, 0, 0}, 5).row_tile, 208); // 15 tiles wanted, 5 a head of 200
    // Splits: 5 rows packed from 5 heads are decoded, one split a 1000 keys, at most 6; 6 rows are not.
    p.q_heads = 5;
    p.kv_heads = 1;
    p.q_len = 1;
    p.k_len = 4999;
    m.decode_rows = 5;
    m.split_keys = 1000;
    m.max_splits = 6;
    EXPECT_EQ(choose_plan(p, m).key_splits, 4);
    p.k_len = 999;
    EXPECT_EQ(choose_plan(p, m).key_splits, 1);
    p.k_len = 9000;
    EXPECT_EQ(choose_plan(p, m).key_splits, 6);
    p.q_heads = 6;
    EXPECT_EQ(choose_plan(p, m).key_splits, 1);
}

/// The scratchpad's rule: what it chooses fits, and one row more does not.
RC_GTEST_PROP(choose_plan, fills_a_scratchpad, ()) {
    const problem p = any_problem();
    const index_t capacity = *rc::gen::inRange<index_t>(0, 200000);
    const index_t quantum = *rc::gen::element<index_t>(1, 4, 32);
    const tile_plan plan = choose_plan(p, capacity, quantum);
    const index_t width = p.head_dim + p.value_dim;
    const auto live = [&](index_t rows) { return rows * (width + 2) + plan.key_tile * width + rows * plan.key_tile; };
    if (plan.row_tile > 0) RC_ASSERT(live(plan.row_tile) <= capacity);
    if (plan.row_tile < max(p.q_len, 1)) RC_ASSERT(live(plan.row_tile + 1) > capacity);
}

} // namespace
} // namespace pantile::inline v0::core
