// The sizes of the kernels' tiles, by hand, and where the parts of a call lie.

#include "arguments.hpp"
#include "decode/tile.hpp"
#include "f64/tile.hpp"
#include "half/tile.hpp"
#include "shared_memory.hpp"
#include "sm90/order.hpp"
#include "sm90/tile.hpp"
#include "sm90_tf32/tile.hpp"
#include "tile/key_run.hpp"
#include "tile/order.hpp"
#include "tile/split.hpp"
#include "tile/tile_run.hpp"

#include <gtest/gtest.h>

#include <set>

namespace pantile::inline v0::cuda {
namespace {

TEST(sizes, of_elements) {
    EXPECT_EQ(bytes_of(dtype::fp16), 2);
    EXPECT_EQ(bytes_of(dtype::bf16), 2);
    EXPECT_EQ(bytes_of(dtype::fp32), 4);
    EXPECT_EQ(bytes_of(dtype::fp64), 8);
    EXPECT_EQ(bytes_of(computed_in(dtype::fp16)), 4);
    EXPECT_EQ(bytes_of(computed_in(dtype::bf16)), 4);
    EXPECT_EQ(bytes_of(computed_in(dtype::fp32)), 4);
    EXPECT_EQ(bytes_of(computed_in(dtype::fp64)), 8);
    EXPECT_EQ((layout{1000, 100, 10}.place(2, 3, 4)), 2340);
}

TEST(sizes, beyond_48_KiB_a_kernel_must_be_allowed) {
    EXPECT_FALSE(needs_allowance(0));
    EXPECT_FALSE(needs_allowance(49152));
    EXPECT_TRUE(needs_allowance(49153));
}

TEST(sizes, of_tiles_in_panels_of_128_bytes) {
    EXPECT_EQ(panel_row_bytes, 128);
    EXPECT_EQ(panel_columns * 2, panel_row_bytes);
    EXPECT_EQ(tile_alignment, 8 * panel_row_bytes); // the row's low three bits are address bits 7 to 9
    EXPECT_EQ(tile_bytes(10, 64), 1280);
    EXPECT_EQ(tile_bytes(10, 65), 2560);
    EXPECT_EQ(tile_bytes(10, 1), 1280);
    EXPECT_EQ(tile_bytes(10, 32, 4), 1280);
    EXPECT_EQ(tile_bytes(10, 33, 4), 2560);
    EXPECT_EQ(tile_bytes(10, 16, 8), 1280);
    EXPECT_EQ(tile_bytes(10, 17, 8), 2560);
}

TEST(sizes, of_a_half_tile) {
    using alone = half_tile<short, 96, 128, 64, 4, 2>;
    EXPECT_EQ(alone::threads, 128);
    EXPECT_EQ(alone::rows_of_warp, 32);
    EXPECT_EQ(alone::blocks, 2);
    EXPECT_EQ(alone::keys_of_warp, 64);
    EXPECT_EQ(alone::columns_of_warp, 96);
    EXPECT_EQ(alone::row_chunks, 12);
    EXPECT_EQ(alone::row_movers, 16);
    EXPECT_EQ(alone::q_bytes, 128 * 256);
    EXPECT_EQ(alone::kv_bytes, 64 * 256);
    EXPECT_EQ(alone::p_bytes, 0);
    EXPECT_EQ(alone::maxima_bytes, 0);
    EXPECT_EQ(alone::shared_bytes, 128 * 256 + 2 * 64 * 256 + 1024);
    using shared = half_tile<short, 192, 64, 64, 4, 2, 2>;
    EXPECT_EQ(shared::rows_of_warp, 32);
    EXPECT_EQ(shared::keys_of_warp, 32);
    EXPECT_EQ(shared::columns_of_warp, 96);
    EXPECT_EQ(shared::row_movers, 32);
    EXPECT_EQ(shared::p_bytes, 64 * 64 * 2);
    EXPECT_EQ(shared::maxima_bytes, 64 * 2 * 4);
    EXPECT_EQ((half_tile<short, 64, 64, 64, 4, 2>::row_movers), 8);
}

TEST(sizes, of_a_decode_tile) {
    using tile = decode_tile<short, 128, 4, 3, 2>;
    EXPECT_EQ(tile::threads, 128);
    EXPECT_EQ(tile::q_bytes, 16 * 256);
    EXPECT_EQ(tile::kv_bytes, 16 * 256);
    EXPECT_EQ(tile::ring_bytes, 3 * 2 * 16 * 256);
    EXPECT_EQ(tile::shared_bytes, 4096 + 4 * 24576 + 1024);
    EXPECT_EQ(tile::out_stride, 136);
}

TEST(sizes, of_an_f64_tile) {
    using alone = f64_tile<96, 64, 32, 4, 2>;
    EXPECT_EQ(alone::threads, 128);
    EXPECT_EQ(alone::panels, 6);
    EXPECT_EQ(alone::q_bytes_of_warp, 6 * 2048);
    EXPECT_EQ(alone::q_bytes, 64 * 96 * 8);
    EXPECT_EQ(alone::kv_bytes, 32 * 96 * 8);
    EXPECT_EQ(alone::panel_bytes, 32 * 128);
    EXPECT_EQ(alone::exchange_bytes, 0);
    using shared = f64_tile<256, 64, 16, 8, 1, 2>;
    EXPECT_EQ(shared::panels, 8);
    EXPECT_EQ(shared::q_bytes, 64 * 256 * 8);
    EXPECT_EQ(shared::exchange_bytes, 64 * 16 * 16);
}

TEST(sizes, of_a_hopper_tile) {
    using two = sm90_tile<sm90_shape{.dim = 192, .value_dim = 128, .keys = 112}>;
    EXPECT_EQ(two::rows, 128);
    EXPECT_EQ(two::threads, 384);
    EXPECT_EQ(two::stages, 2);
    EXPECT_EQ(two::q_bytes, 128 * 192 * 2);
    EXPECT_EQ(two::k_bytes, 112 * 192 * 2);
    EXPECT_EQ(two::v_bytes, 112 * 128 * 2);
    using three = sm90_tile<sm90_shape{.dim = 64, .value_dim = 64, .keys = 128, .consumers = 3, .q_stages = 2}>;
    EXPECT_EQ(three::rows, 192);
    EXPECT_EQ(three::threads, 512);
    // Registers of all warpgroups, as setmaxnreg hands them out: multiples of 8, together within a multiprocessor's 64 K.
    EXPECT_LE(128 * (two::producer_registers + 2 * two::consumer_registers), 65536);
    EXPECT_LE(128 * (three::producer_registers + 3 * three::consumer_registers), 65536);
    for (const int n :
         {two::producer_registers, two::consumer_registers, three::producer_registers, three::consumer_registers}) {
        EXPECT_EQ(n % 8, 0);
        EXPECT_GE(n, 24);
    }
}

TEST(sizes, of_a_tf32_tile) {
    using even = tf32_tile<tf32_shape{.dim = 128, .value_dim = 128, .keys = 64}>;
    EXPECT_EQ(even::rows, 128);
    EXPECT_EQ(even::threads, 384);
    EXPECT_EQ(even::key_stages, 2);
    EXPECT_EQ(even::value_stages, 2);
    EXPECT_EQ(even::last_key_columns, 64);
    EXPECT_EQ(even::last_value_columns, 64);
    EXPECT_EQ(even::q_bytes, 16 * 128 * 4);
    EXPECT_EQ(even::plane_bytes, 64 * 64 * 4);
    using odd = tf32_tile<tf32_shape{.dim = 96, .value_dim = 160, .keys = 32, .chunk = 32}>;
    EXPECT_EQ(odd::key_stages, 2);
    EXPECT_EQ(odd::value_stages, 3);
    EXPECT_EQ(odd::last_key_columns, 32);
    EXPECT_EQ(odd::last_value_columns, 32);
    EXPECT_EQ(tf32_panel, 32);
    const auto columns = [](auto last_columns, bool last) {
        int got = 0;
        with_columns<decltype(last_columns)::value>(last, [&](auto n) { got = n; });
        return got;
    };
    EXPECT_EQ(columns(std::integral_constant<int, 32>{}, true), 32);
    EXPECT_EQ(columns(std::integral_constant<int, 32>{}, false), 64);
    EXPECT_EQ(columns(std::integral_constant<int, 64>{}, true), 64);
}

TEST(sizes, parts_of_a_split_call_do_not_overlap) {
    for (const int rows : {1, 3, 16}) {
        for (const int columns : {0, 8, 256}) {
            const decode_parts parts{40, 7, rows, columns};
            EXPECT_GE(parts.first_byte(), 40 * 8);
            EXPECT_GE(parts.floats(), rows * (columns + 2));
            EXPECT_EQ(parts.floats() % 4, 0); // 16-byte pieces
            EXPECT_EQ(parts.place(0, 1) - parts.place(0, 0), parts.floats());
            EXPECT_EQ(parts.place(1, 0) - parts.place(0, 6), parts.floats());
            EXPECT_EQ(parts.bytes(), parts.first_byte() + (parts.place(39, 6) + parts.floats()) * 4);
        }
    }
}

TEST(sizes, of_the_parts_of_a_decode_call) {
    const decode_parts parts{40, 7, 3, 8};
    EXPECT_EQ(parts.first_byte(), 512); // 40 words of 8 bytes, in whole 256
    EXPECT_EQ(parts.floats(), 3 * 8 + 8);
    EXPECT_EQ(parts.bytes(), 512 + 40 * 7 * 32 * 4);
    EXPECT_EQ((decode_parts{32, 1, 1, 1}.first_byte()), 256);
    EXPECT_EQ((decode_parts{33, 1, 1, 1}.first_byte()), 512);
    EXPECT_EQ((decode_parts{1, 1, 2, 4}.floats()), 12);
}

/// The first shares are the larger ones.
TEST(split, shares_are_neighbours_and_even) {
    const core::span expected[] = {{0, 3}, {3, 6}, {6, 8}, {8, 10}};
    for (int s = 0; s < 4; ++s) EXPECT_EQ(share_of(10, 4, s), expected[s]) << s;
    for (index_t s = 0; s < 4; ++s) EXPECT_EQ(share_of(index_t{10}, index_t{4}, s), expected[s]) << s;
    EXPECT_EQ(share_of(2, 4, 1), (core::span{1, 2}));
    EXPECT_EQ(share_of(2, 4, 3), (core::span{2, 2}));
    EXPECT_EQ(split_keys(100, 16, 3, 0), (core::span{0, 48})); // 7 tiles: 3, 2, 2
    EXPECT_EQ(split_keys(100, 16, 3, 1), (core::span{48, 80}));
    EXPECT_EQ(split_keys(100, 16, 3, 2), (core::span{80, 100}));
}

/// Two heads apart, then two together, last row tiles first.
TEST(order, by_hand) {
    constexpr int heads[] = {0, 0, 0, 1, 1, 1, 2, 3, 2, 3, 2, 3};
    constexpr int tiles[] = {2, 1, 0, 2, 1, 0, 2, 2, 1, 1, 0, 0};
    core::problem p;
    p.batch = 2;
    p.q_heads = 2;
    p.kv_heads = 1;
    const work_order order = work_order::of(p, 3, 2, 5);
    EXPECT_EQ(order.items, 12U);
    EXPECT_EQ(order.blocks, 5U);
    EXPECT_EQ(work_order::of(p, 3, 2, 13).blocks, 12U);
    for (unsigned n = 0; n < 12; ++n) {
        EXPECT_EQ(item(n, 4, 3, 2).head, heads[n]) << n;
        EXPECT_EQ(item(n, 4, 3, 2).row_tile, tiles[n]) << n;
        const head_rows got = order.item(n);
        EXPECT_EQ(got.batch, heads[n] / 2) << n;
        EXPECT_EQ(got.head, heads[n] % 2) << n;
        EXPECT_EQ(got.kv_head, 0) << n;
        EXPECT_EQ(got.row_tile, tiles[n]) << n;
    }
}

/// 100 keys in tiles of 16; rows 4 to 7 of 8, of which row i sees the keys 30 + i - 20 to 30 + i + 10: 14 to 47 together, 17 to
/// 44 all of them.
TEST(runs, by_hand) {
    const core::sequence sequence{0, 8, 0, 100, 30};
    const core::schedule plan(sequence, {20, 10, 30, 100}, 4, 16);
    const key_run keys = key_run::of<16>(plan, 1);
    EXPECT_EQ(keys.visible_begin, 14);
    EXPECT_EQ(keys.visible_end, 48);
    EXPECT_EQ(keys.common_begin, 17);
    EXPECT_EQ(keys.common_end, 45);
    EXPECT_EQ(keys.begin, 0);
    EXPECT_EQ(keys.end, 3);
    EXPECT_TRUE(keys.hides<16>(0));
    EXPECT_TRUE(keys.hides<16>(1)); // key 16
    EXPECT_TRUE(keys.hides<16>(2)); // keys 45 to 47
    const tile_run tiles = tile_run::of<16>(plan, 1);
    EXPECT_EQ(tiles.begin, 0);
    EXPECT_EQ(tiles.end, 3);
    EXPECT_EQ(tiles.full_begin, 2);
    EXPECT_EQ(tiles.full_end, 2); // none
    EXPECT_EQ(tiles.rows(1), (core::span{4, 8}));
    const core::schedule all(sequence, {unbounded, unbounded, 30, 100}, 4, 16);
    EXPECT_FALSE(key_run::of<16>(all, 1).hides<16>(5));
    EXPECT_TRUE(key_run::of<16>(all, 1).hides<16>(6)); // keys end inside it
    EXPECT_EQ(key_run::of<16>(all, 1).end, 7);
    EXPECT_EQ(tile_run::of<16>(all, 1).full_begin, 0);
    EXPECT_EQ(tile_run::of<16>(all, 1).full_end, 6);
}

} // namespace
} // namespace pantile::inline v0::cuda
