// Transposes in registers, and the conversions of 16-bit numbers.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "micro/each_isa.hpp"

namespace pantile_test {
namespace {

using transpose = each_isa;
using convert = each_isa;
PANTILE_FOR_EACH_ISA(transpose);
PANTILE_FOR_EACH_ISA(convert);

template <class T>
void check_transpose(const micro_kernels<T>& kernels) {
    constexpr T untouched = T(-1);
    for (const index_t rows : {0, 1, 3, 4, 7, 8, 9, 16, 17, 31, 64}) {
        for (const index_t cols : {0, 1, 2, 5, 8, 15, 16, 20, 40, 65}) {
            const index_t from_stride = cols + 3;
            const index_t to_stride = rows + 2;
            std::vector<T> from(static_cast<std::size_t>(rows * from_stride + 1));
            for (std::size_t i = 0; i < from.size(); ++i) from[i] = T(i);
            std::vector<T> to(static_cast<std::size_t>((cols + 1) * to_stride), untouched);
            kernels.transpose(rows, cols, from.data(), from_stride, to.data(), to_stride, T(2));
            for (index_t c = 0; c <= cols; ++c) {
                for (index_t r = 0; r < to_stride; ++r) {
                    const bool inside = r < rows && c < cols;
                    ASSERT_EQ(to[c * to_stride + r], inside ? T(2) * from[r * from_stride + c] : untouched)
                        << rows << " x " << cols << ", row " << r << ", column " << c;
                }
            }
        }
    }
}

TEST_P(transpose, moves_every_number_f32) { check_transpose(micro().f32); }
TEST_P(transpose, moves_every_number_f64) { check_transpose(micro().f64); }

template <class U>
void check_widen(void (*widen)(const U*, float*, index_t)) {
    std::vector<U> all(1 << 16);
    for (std::size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<std::uint16_t>(i);
    std::vector<float> wide(all.size());
    widen(all.data(), wide.data(), static_cast<index_t>(all.size()));
    for (std::size_t i = 0; i < all.size(); ++i) {
        const auto expected = static_cast<float>(all[i]);
        if (std::isnan(expected)) {
            ASSERT_TRUE(std::isnan(wide[i])) << "bits " << i;
        } else {
            ASSERT_EQ(std::bit_cast<std::uint32_t>(wide[i]), std::bit_cast<std::uint32_t>(expected)) << "bits " << i;
        }
    }
}

TEST_P(convert, widens_every_number) {
    check_widen(micro().convert.widen_f16);
    check_widen(micro().convert.widen_bf16);
}

/// Rounding is decided by the lower bits: all patterns of the bits around the cut, at every exponent, and random numbers.
template <class U>
void check_narrow(void (*narrow)(const float*, U*, index_t)) {
    std::vector<float> x;
    for (std::uint32_t upper = 0; upper < 1U << 16; ++upper) {
        for (const std::uint32_t lower : {0U, 1U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
            x.push_back(std::bit_cast<float>(upper << 16 | lower));
        }
    }
    std::mt19937 random(3);
    for (int i = 0; i < 1 << 16; ++i) x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random())));
    std::vector<U> narrowed(x.size());
    narrow(x.data(), narrowed.data(), static_cast<index_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i) {
        const U expected(x[i]);
        if (std::isnan(x[i])) {
            ASSERT_TRUE(std::isnan(static_cast<float>(narrowed[i]))) << "of a NaN";
        } else {
            ASSERT_EQ(narrowed[i].bits, expected.bits) << "of " << x[i];
        }
    }
}

TEST_P(convert, rounds_as_the_scalar_conversion) {
    check_narrow(micro().convert.narrow_f16);
    check_narrow(micro().convert.narrow_bf16);
}

} // namespace
} // namespace pantile_test
