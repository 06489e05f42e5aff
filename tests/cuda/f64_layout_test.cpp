// The host side of the fp64 kernels: 2^x by the table, where operands lie, and that the products give S and O.

#include "f64/exp2.cuh"
#include "f64/tile.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

namespace pantile::inline v0::cuda {
namespace {

std::vector<double> table_of_exp2() {
    std::vector<double> entries;
    entries.reserve(f64_steps);
    for (int i = 0; i < f64_steps; ++i) entries.push_back(f64_table_entry(i));
    return entries;
}

TEST(f64_exp2, is_right_to_an_ulp_and_a_half_for_any_reference) {
    const std::vector<double> entries = table_of_exp2();
    const auto table = [&](std::uint32_t n) { return entries.at(n % f64_steps); };
    std::uint64_t state = 1;
    const auto uniform = [&] {
        state = state * 6364136223846793005U + 1442695040888963407U;
        return static_cast<double>(state >> 11) * 0x1p-53;
    };
    for (int n = 0; n < 2'000'000; ++n) {
        const double scale = std::ldexp(0.5 + uniform(), n % 7 - 3);
        const double reference = std::round((uniform() - 0.5) * (n % 2 == 0 ? 0x1p48 : 0x1p18)) / f64_steps;
        if (std::fabs(reference) >= f64_largest_reference) continue;
        const double score = (reference + (n % 3 == 0 ? 1028.0 : 16.0) * (uniform() - 0.992)) / scale;
        const double product = score * scale;
        const double rest = std::fma(score, scale, -product); // together exact
        const long double exponent = static_cast<long double>(product) - reference + rest;
        if (exponent < f64_least_exponent || exponent > 8.0L) continue;
        const long double exact = exp2l(exponent);
        const double ulp = std::ldexp(1.0, std::ilogb(static_cast<double>(exact)) - 52);
        const double found = f64_exp2(score, scale, f64_round - reference, table);
        ASSERT_LE(std::fabs(static_cast<double>(found - exact)), 1.5 * ulp)
            << score << ' ' << scale << ' ' << reference;
    }
}

TEST(f64_exp2, is_exact_at_whole_exponents_and_shows_nan) {
    const std::vector<double> entries = table_of_exp2();
    const auto table = [&](std::uint32_t n) { return entries.at(n % f64_steps); };
    for (int n = -1020; n <= 100; ++n) {
        EXPECT_EQ(f64_exp2(n + 7.25, 1.0, f64_round - 7.25, table), std::ldexp(1.0, n));
    }
    EXPECT_TRUE(std::isnan(f64_exp2(std::numeric_limits<double>::quiet_NaN(), 1.0, f64_round, table)));
}

TEST(f64_layout, query_numbers_have_places_of_their_own_and_pairs_lie_together) {
    std::set<int> places;
    for (int row = 0; row < 16; ++row) {
        for (int column = 0; column < 64; ++column) places.insert(f64_query_offset(row, column));
    }
    EXPECT_EQ(places.size(), 16U * 64U);
    EXPECT_EQ(*places.rbegin(), (16 * 64 - 1) * 8);
    for (int column = 0; column < 64; ++column) {
        for (int g = 0; g < 8; ++g) {
            EXPECT_EQ(f64_query_offset(g, column) % 16, 0);
            EXPECT_EQ(f64_query_offset(g + 8, column), f64_query_offset(g, column) + 8);
        }
    }
}

// A 16-byte read is served eight lanes at a time: they must fall into the eight different 16-byte columns of the banks.
TEST(f64_layout, no_two_lanes_of_a_quarter_warp_meet_in_a_bank) {
    const auto expect_apart = [](const auto& place) {
        for (int first = 0; first < 32; first += 8) {
            std::set<int> columns;
            for (int lane = first; lane < first + 8; ++lane) columns.insert(place(lane / 4, lane % 4) / 16 % 8);
            EXPECT_EQ(columns.size(), 8U);
        }
    };
    for (int i = 0; i < 4; ++i) expect_apart([i](int g, int t) { return f64_query_offset(g, 4 * t + i); });
    for (int i = 0; i < 2; ++i) {
        expect_apart([i](int g, int t) { return chunk_offset<8>(g, 2 * t + i); });
        expect_apart([i](int g, int t) { return chunk_offset<8>(2 * t + i, g); });
    }
}

/// A warp's registers, [lane][register].
template <int n>
struct registers {
    double x[32][n] = {};
    double* operator[](int lane) { return x[lane]; }
    const double* operator[](int lane) const { return x[lane]; }
};

/// c += a·b of m16n8k16 by the book.
void multiply(registers<4>& c, const registers<8>& a, const registers<4>& b) {
    for (int lane = 0; lane < 32; ++lane) {
        for (int i = 0; i < 4; ++i) {
            const int row = lane / 4 + i / 2 * 8;
            const int column = lane % 4 * 2 + i % 2;
            for (int k = 0; k < 16; ++k) {
                c[lane][i] += a[row % 8 * 4 + k % 4][k / 4 * 2 + row / 8] * b[column * 4 + k % 4][k / 4];
            }
        }
    }
}

// Q·Kᵀ of 16 rows and 16 keys over a panel, then P·V of those keys and a panel of V, each lane reading as tile.hpp says.
TEST(f64_layout, the_two_products_chain) {
    const auto q = [](int row, int column) { return (row * 5 + column * 3) % 11 - 5.0; };
    const auto k = [](int key, int column) { return (key * 7 + column * 2) % 13 - 6.0; };
    const auto v = [](int key, int column) { return (key * 3 + column * 5) % 7 - 3.0; };
    const auto s = [&](int row, int key) {
        double sum = 0.0;
        for (int x = 0; x < 16; ++x) sum += q(row, x) * k(key, x);
        return sum;
    };
    registers<8> a{};
    for (int lane = 0; lane < 32; ++lane) {
        for (int i = 0; i < 8; ++i) a[lane][i] = q(lane / 4 + i % 2 * 8, lane % 4 * 4 + i / 2);
    }
    registers<8> scores{};
    for (int block = 0; block < 2; ++block) {
        registers<4> b{};
        registers<4> c{};
        for (int lane = 0; lane < 32; ++lane) {
            for (int i = 0; i < 4; ++i) b[lane][i] = k(8 * block + lane / 4, lane % 4 * 4 + i);
        }
        multiply(c, a, b);
        for (int lane = 0; lane < 32; ++lane) {
            for (int i = 0; i < 4; ++i) {
                EXPECT_EQ(c[lane][i], s(lane / 4 + i / 2 * 8, 8 * block + lane % 4 * 2 + i % 2));
                scores[lane][4 * block + i] = c[lane][i];
            }
        }
    }
    for (int lane = 0; lane < 32; ++lane) {
        for (int i = 0; i < 8; ++i) { // row i of the unit: column 2g + x of V
            a[lane][i] = v(i / 4 * 8 + lane % 4 * 2 + i / 2 % 2, 2 * (lane / 4) + i % 2);
        }
    }
    for (int half = 0; half < 2; ++half) { // query rows 8 half to 8 half + 7
        registers<4> b{};
        registers<4> c{};
        for (int lane = 0; lane < 32; ++lane) {
            for (int i = 0; i < 8; ++i) {
                const int place = f64_place_in_p(i);
                if (place / 4 == half) b[lane][place % 4] = scores[lane][i];
            }
        }
        multiply(c, a, b);
        for (int lane = 0; lane < 32; ++lane) {
            for (int i = 0; i < 4; ++i) {
                const int row = 8 * half + lane % 4 * 2 + i % 2;
                const int column = 2 * (lane / 4) + i / 2;
                double expected = 0.0;
                for (int key = 0; key < 16; ++key) expected += s(row, key) * v(key, column);
                EXPECT_EQ(c[lane][i], expected);
            }
        }
    }
}

} // namespace
} // namespace pantile::inline v0::cuda
