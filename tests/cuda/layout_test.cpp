// What the kernels rely on and a host can prove: swizzles, descriptors, orders of work.

#include "tile/order.hpp"
#include "tile/swizzle.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>
#include <vector>

namespace pantile::cuda {
namespace {

template <int rows>
void expect_chunks_fill_the_tile(int columns) {
    std::set<int> offsets;
    for (int row = 0; row < rows; ++row) {
        for (int chunk = 0; chunk < columns / 8; ++chunk) {
            const int offset = chunk_offset<rows>(row, chunk);
            EXPECT_EQ(offset % 16, 0);
            EXPECT_LT(offset, tile_bytes(rows, columns));
            offsets.insert(offset);
        }
    }
    EXPECT_EQ(offsets.size(), static_cast<std::size_t>(rows * columns / 8));
}

TEST(swizzle, no_two_chunks_share_a_place) {
    expect_chunks_fill_the_tile<64>(64);
    expect_chunks_fill_the_tile<128>(128);
    expect_chunks_fill_the_tile<112>(192);
    expect_chunks_fill_the_tile<80>(256);
    expect_chunks_fill_the_tile<64>(96);
}

TEST(swizzle, eight_rows_of_one_chunk_column_cover_all_banks) {
    for (int first = 0; first < 64; first += 8) {
        for (int chunk = 0; chunk < 8; ++chunk) {
            std::set<int> banks;
            for (int row = first; row < first + 8; ++row) banks.insert(chunk_offset<64>(row, chunk) % 128 / 16);
            EXPECT_EQ(banks.size(), 8U);
        }
    }
}

TEST(swizzle, is_the_one_that_xors_address_bits_4_to_6_with_7_to_9) {
    for (int row = 0; row < 64; ++row) {
        for (int chunk = 0; chunk < 8; ++chunk) {
            const int plain = row * 128 + chunk * 16;
            EXPECT_EQ(chunk_offset<64>(row, chunk), plain ^ ((plain >> 7 & 7) << 4));
        }
    }
}

TEST(swizzle, tiles_are_whole_panels) {
    EXPECT_EQ(tile_bytes(128, 64), 128 * 128);
    EXPECT_EQ(tile_bytes(128, 96), 2 * 128 * 128);
    EXPECT_EQ(tile_bytes(176, 128), 2 * 176 * 128);
    EXPECT_EQ(tile_bytes(80, 256) % tile_alignment, 0);
}

TEST(descriptor, fields_are_where_the_matrix_unit_reads_them) {
    const std::uint64_t d = matrix_descriptor(0x12340, 22528, 1024);
    EXPECT_EQ(d & 0x3fff, 0x1234U);
    EXPECT_EQ(d >> 16 & 0x3fff, 22528U / 16);
    EXPECT_EQ(d >> 32 & 0x3fff, 64U);
    EXPECT_EQ(d >> 62, 1U);
    EXPECT_EQ(mn_major_descriptor(0, 176), matrix_descriptor(0, 22528, 1024));
    EXPECT_EQ(k_major_descriptor(0x400) & 0x3fff, 0x40U);
}

TEST(descriptor, steps_within_a_tile_never_carry_out_of_the_address) {
    // Kernels add a step to the whole 64-bit descriptor: the 14-bit field must hold address and step together.
    constexpr std::uint32_t largest_shared = 227 * 1024;
    EXPECT_LT(largest_shared >> 4, 1U << 14);
}

RC_GTEST_PROP(order, every_item_runs_once, ()) {
    const auto heads = *rc::gen::inRange(1U, 40U);
    const auto row_tiles = *rc::gen::inRange(1U, 20U);
    const auto tail = *rc::gen::inRange(1U, heads + 1);
    std::set<std::pair<int, int>> seen;
    for (unsigned n = 0; n < heads * row_tiles; ++n) {
        const work_item w = item(n, heads, row_tiles, tail);
        RC_ASSERT(w.head >= 0 && w.head < static_cast<int>(heads));
        RC_ASSERT(w.row_tile >= 0 && w.row_tile < static_cast<int>(row_tiles));
        seen.insert({w.head, w.row_tile});
    }
    RC_ASSERT(seen.size() == heads * row_tiles);
}

TEST(order, the_tail_runs_its_longest_row_tiles_first) {
    const unsigned heads = 6;
    const unsigned row_tiles = 5;
    int before = row_tiles;
    for (unsigned n = 4 * row_tiles; n < heads * row_tiles; ++n) { // heads 4 and 5
        const work_item w = item(n, heads, row_tiles, 2);
        EXPECT_GE(w.head, 4);
        EXPECT_LE(w.row_tile, before);
        before = w.row_tile;
    }
    EXPECT_EQ(before, 0);
}

} // namespace
} // namespace pantile::cuda
