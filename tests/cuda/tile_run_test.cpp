// What the 16-bit kernels for many rows rely on and a host can prove: a row tile's key tiles in short numbers, and who holds
// which part of a tile.

#include "half/tile.hpp"
#include "tile/split.hpp"
#include "tile/tile_run.hpp"

#include <pantile/core/walk.hpp>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>
#include <utility>
#include <vector>

namespace pantile::inline v0::cuda {
namespace {

core::schedule any_schedule(index_t key_tile) {
    const auto below = [](index_t n) { return *rc::gen::inRange<index_t>(0, n); };
    const index_t q_len = 1 + below(400);
    const index_t k_len = below(600);
    const index_t offset = *rc::gen::inRange<index_t>(-500, 500);
    const auto side = [&] { return *rc::gen::arbitrary<bool>() ? unbounded : *rc::gen::inRange<index_t>(-80, 300); };
    const core::band mask{side(), side(), offset, k_len};
    return {core::sequence{0, q_len, 0, k_len, offset}, mask, 1 + below(130), key_tile};
}

template <int keys>
void expect_the_same_tiles() {
    const core::schedule plan = any_schedule(keys);
    for (index_t row_tile = 0; row_tile < plan.row_tiles(); ++row_tile) {
        const tile_run run = tile_run::of<keys>(plan, row_tile);
        RC_ASSERT(run.rows(row_tile) == plan.rows(row_tile));
        const core::span range = plan.key_range(row_tile);
        core::key_tile expected = plan.next_key_tile(row_tile, range.begin, range);
        tile_run::tile tile = run.next_key_tile(row_tile, run.key_range(row_tile).begin, run.key_range(row_tile));
        while (expected.due != core::visit::skip) {
            RC_ASSERT(static_cast<index_t>(tile.index) == expected.index);
            // The run calls the ragged last tile partial, since its loads and scores need their limits.
            const bool ragged = expected.keys.size() < keys;
            RC_ASSERT(tile.due == (ragged ? core::visit::partial : expected.due));
            expected = plan.next_key_tile(row_tile, expected.index + 1, range);
            tile = run.next_key_tile(row_tile, tile.index + 1, run.key_range(row_tile));
        }
        RC_ASSERT(tile.due == core::visit::skip);
    }
}

RC_GTEST_PROP(tile_run, visits_what_the_schedule_visits, ()) {
    expect_the_same_tiles<32>();
    expect_the_same_tiles<64>();
    expect_the_same_tiles<128>();
}

TEST(tile_run, counts_tiles_of_more_than_two_to_the_31_keys) {
    constexpr index_t keys = index_t{5} << 31;
    const core::schedule plan({0, 128, 0, keys, keys - 128}, {unbounded, 0, keys - 128, keys}, 128, 64);
    const tile_run run = tile_run::of<64>(plan, 0);
    EXPECT_EQ(run.begin, 0);
    EXPECT_EQ(run.end, keys / 64);
    EXPECT_EQ(run.full_end, keys / 64 - 2);
}

/// The warps of a block hold each (row, column) of O and each (row, key) of S once.
template <class tile>
void expect_warps_to_cover_the_tile() {
    std::set<std::pair<int, int>> out;
    std::set<std::pair<int, int>> scores;
    constexpr int warps = tile::threads / 32;
    for (int warp = 0; warp < warps; ++warp) {
        const int group = warp % tile::sharers;
        const int first_row = warp / tile::sharers * tile::rows_of_warp;
        for (int row = first_row; row < first_row + tile::rows_of_warp; ++row) {
            for (int x = 0; x < tile::columns_of_warp / 16; ++x) {
                for (int c = 0; c < 16; ++c) out.insert({row, 16 * tile::columns_at(x) + 32 * group + c});
            }
            for (int key = 0; key < tile::keys_of_warp; ++key) scores.insert({row, group * tile::keys_of_warp + key});
        }
    }
    EXPECT_EQ(out.size(), static_cast<std::size_t>(tile::rows * tile::dim));
    EXPECT_EQ(out.rbegin()->second, tile::dim - 1);
    EXPECT_EQ(scores.size(), static_cast<std::size_t>(tile::rows * tile::keys));
}

TEST(half_tile, warps_cover_scores_and_results_once) {
    expect_warps_to_cover_the_tile<half_tile<short, 64, 128, 128, 4, 2>>();
    expect_warps_to_cover_the_tile<half_tile<short, 96, 128, 64, 4, 2>>();
    expect_warps_to_cover_the_tile<half_tile<short, 192, 64, 64, 4, 2, 2>>();
    expect_warps_to_cover_the_tile<half_tile<short, 256, 128, 64, 8, 1, 2>>();
}

TEST(half_tile, the_parts_of_shared_memory_follow_each_other) {
    using tile = half_tile<short, 256, 64, 64, 4, 2, 2>;
    EXPECT_EQ(tile::k_at, 64 * 512);
    EXPECT_EQ(tile::v_at, tile::k_at + 64 * 512);
    EXPECT_EQ(tile::p_at, tile::v_at + 64 * 512);
    EXPECT_EQ(tile::maxima_at, tile::p_at + 64 * 64 * 2);
    EXPECT_EQ(tile::shared_bytes, tile::maxima_at + 2 * 64 * 4 + tile_alignment);
}

RC_GTEST_PROP(split_keys, cover_all_keys_once, ()) {
    const index_t k_len = *rc::gen::inRange<index_t>(0, 5000);
    const index_t splits = *rc::gen::inRange<index_t>(1, 40);
    index_t next = 0;
    for (index_t s = 0; s < splits; ++s) {
        const core::span part = split_keys(k_len, 64, splits, s);
        RC_ASSERT(part.begin == next);
        RC_ASSERT(part.end >= part.begin);
        RC_ASSERT(part.begin % 64 == 0 || part.begin == k_len);
        RC_ASSERT(core::ceil_div(part.size(), 64) <= core::ceil_div(core::ceil_div(k_len, 64), splits)); // evenly
        next = part.end;
    }
    RC_ASSERT(next == k_len);
}

} // namespace
} // namespace pantile::inline v0::cuda
