// What the kernels rely on and a host can prove: swizzles, descriptors, orders of work.

#include "sm90/order.hpp"
#include "tile/exp2.cuh"
#include "tile/key_run.hpp"
#include "tile/order.hpp"
#include "tile/swizzle.hpp"
#include "tile/wide.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

namespace pantile::inline v0::cuda {
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

// ---------------------------------------------------------------------------- fp32: who holds what (wide.hpp)

/// The banks that one quarter warp (8 lanes, 16 bytes each) meets: 8 chunks of 128 bytes, none twice.
template <class Chunk, class Row>
void expect_no_bank_twice(Row row, Chunk chunk) {
    for (int quarter = 0; quarter < 4; ++quarter) {
        std::set<int> banks;
        for (int lane = 8 * quarter; lane < 8 * quarter + 8; ++lane) {
            banks.insert(chunk_offset<64>(row(lane / 4, lane % 4), chunk(lane / 4, lane % 4)) % 128 / 16);
        }
        EXPECT_EQ(banks.size(), 8U);
    }
}

TEST(wide, operands_are_read_without_bank_conflicts) {
    for (int p = 0; p < 2; ++p) { // Q and K: chunk 2t + p of row g
        expect_no_bank_twice([](int g, int) { return g; }, [p](int, int t) { return 2 * t + p; });
    }
    for (int e = 0; e < 2; ++e) { // V: chunk g of key 2t + e
        expect_no_bank_twice([e](int, int t) { return 2 * t + e; }, [](int g, int) { return g; });
    }
}

template <class V>
void expect_columns_once(int dim) {
    std::set<int> columns;
    for (int product = 0; product < dim / 8; ++product) {
        for (int t = 0; t < 4; ++t) {
            for (int e = 0; e < 2; ++e) columns.insert(wide_column<V>(product, t, e));
        }
    }
    EXPECT_EQ(columns.size(), static_cast<std::size_t>(dim));
    EXPECT_EQ(*columns.begin(), 0);
    EXPECT_EQ(*columns.rbegin(), dim - 1);
}

TEST(wide, every_column_of_o_has_one_holder) {
    expect_columns_once<float>(128);
    expect_columns_once<float>(96);
}

// The products by the book (rows g and g + 8 of A, column g of B, columns 2t and 2t + 1 of C) on operands handed out as
// wide.hpp says give P·V: the two freedoms it spends cancel.
template <class V>
void expect_product_is_p_times_v() {
    constexpr int keys = 16;
    constexpr int width = panel_width<V>;
    constexpr int per_lane = width / 8;
    const auto p = [](int row, int key) { return (row * 5 + key * 3) % 11 - 5; };
    const auto v = [](int key, int column) { return (key * 7 + column * 2) % 13 - 6; };
    for (int product = 0; product < per_lane; ++product) {
        for (int row = 0; row < 16; ++row) {
            for (int c = 0; c < 8; ++c) { // column of the unit's result
                int sum = 0;
                for (int step = 0; step < keys / 8; ++step) {
                    for (int k = 0; k < 8; ++k) { // index of the unit: lane t = k % 4, key 2t + k / 4
                        const int key = 8 * step + 2 * (k % 4) + k / 4;
                        sum +=
                            p(row, key) * v(key, per_lane * c + product); // chunk c of the row, its element `product`
                    }
                }
                int expected = 0;
                const int column = wide_column<V>(product, c / 2, c % 2);
                for (int key = 0; key < keys; ++key) expected += p(row, key) * v(key, column);
                EXPECT_EQ(sum, expected);
            }
        }
    }
}

TEST(wide, permuted_products_are_p_times_v) { expect_product_is_p_times_v<float>(); }

TEST(exp2, is_right_to_an_ulp_over_the_exponents_of_a_softmax) {
    std::uint64_t state = 1;
    for (int n = 0; n < 200000; ++n) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        const double x = -static_cast<double>(state >> 11) * 0x1p-53 * (n % 3 == 0 ? 1021.9 : n % 3 == 1 ? 30.0 : 1.0);
        const long double exact = exp2l(x);
        const double ulp = std::nextafter(static_cast<double>(exact), HUGE_VAL) - static_cast<double>(exact);
        ASSERT_LE(std::fabs(static_cast<double>(exp2_f64(x) - exact)), ulp) << x;
    }
    EXPECT_EQ(exp2_f64(0.0), 1.0);
    EXPECT_EQ(exp2_f64(-1022.0), std::numeric_limits<double>::min());
    EXPECT_EQ(exp2_f64(-1500.0), 0.0);
    EXPECT_EQ(exp2_f64(-std::numeric_limits<double>::infinity()), 0.0);
    EXPECT_TRUE(std::isnan(exp2_f64(std::numeric_limits<double>::quiet_NaN())));
}

// ------------------------------------------------------------------------------------------------------------ Hopper

RC_GTEST_PROP(key_run, visits_what_the_schedule_visits, ()) {
    constexpr int keys = 80;
    const auto q_len = *rc::gen::inRange<index_t>(1, 1000);
    const auto k_len = *rc::gen::inRange<index_t>(1, 1000);
    const auto side = [] { return *rc::gen::element<index_t>(0, 1, 5, 79, 80, 200, 900, unbounded); };
    const core::sequence sequence{0, q_len, 0, k_len, *rc::gen::inRange<index_t>(-1200, 1200)};
    const core::schedule plan(sequence, {side(), side(), sequence.offset, k_len}, 128, keys);
    for (index_t r = 0; r < plan.row_tiles(); ++r) {
        const key_run run = key_run::of<keys>(plan, r);
        const core::span range = plan.key_range(r);
        int expected = run.begin;
        for (auto t = plan.next_key_tile(r, range.begin, range); t.due != core::visit::skip;
             t = plan.next_key_tile(r, t.index + 1, range)) {
            RC_ASSERT(t.index == expected);
            RC_ASSERT(run.hides<keys>(expected) == (t.due == core::visit::partial || t.keys.size() < keys));
            ++expected;
        }
        RC_ASSERT(expected == run.end);
    }
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

TEST(order, divides_exactly) {
    for (const std::uint32_t value : {1U, 2U, 3U, 7U, 64U, 132U, 255U, 256U, 65537U, 0x7ffffffeU, 0x7fffffffU}) {
        const divisor by = divisor::of(value);
        for (const std::uint32_t near : {0U, value, 2 * value, 1000 * value, 0x3fffffffU, 0x7fffffffU}) {
            for (std::uint32_t n = near < 2 ? 0 : near - 2; n < near + 3 && n < 0x80000000U; ++n) {
                ASSERT_EQ(by.quotient(n), n / value) << n << " / " << value;
            }
        }
    }
}

RC_GTEST_PROP(order, persistent_blocks_run_what_single_blocks_run, ()) {
    core::problem p;
    p.batch = *rc::gen::inRange<index_t>(1, 4);
    p.kv_heads = *rc::gen::inRange<index_t>(1, 5);
    p.q_heads = p.kv_heads * *rc::gen::inRange<index_t>(1, 5);
    const index_t heads = p.batch * p.q_heads;
    const auto row_tiles = *rc::gen::inRange<index_t>(1, 20);
    const auto tail = *rc::gen::inRange<index_t>(1, heads + 1);
    const work_order order = work_order::of(p, row_tiles, tail, 132);
    RC_ASSERT(order.items == heads * row_tiles);
    RC_ASSERT(order.blocks == core::min(heads * row_tiles, 132));
    for (std::uint32_t n = 0; n < order.items; ++n) {
        const head_rows got = order.item(n);
        const work_item expected =
            item(n, static_cast<unsigned>(heads), static_cast<unsigned>(row_tiles), static_cast<unsigned>(tail));
        RC_ASSERT(got.batch * p.q_heads + got.head == expected.head);
        RC_ASSERT(got.kv_head == p.kv_head(got.head));
        RC_ASSERT(got.row_tile == expected.row_tile);
    }
}

} // namespace
} // namespace pantile::inline v0::cuda
