/// \file
/// bf16 rows into the layouts of the matrix unit's operands. Rows and columns beyond the tensor's are zero: a tile is
/// always whole, and 0 · 0 adds nothing.
#pragma once

#include <cstring>

#include "../../micro/tile_io.hpp"
#include "panel.hpp"

namespace pantile::inline v0::cpu::amx {

/// Row `row` of a bf16 matrix, `dim` numbers, then zeros up to `padded`.
template <class V>
void copy_row(const matrix_ref& from, index_t row, index_t dim, bfloat16* to, index_t padded) {
    const bfloat16* p = static_cast<const bfloat16*>(from.data) + row * from.row_stride;
    if (from.col_stride == 1) {
        std::memcpy(to, p, static_cast<std::size_t>(dim) * sizeof(bfloat16));
    } else {
        for (index_t x = 0; x < dim; ++x) to[x] = p[x * from.col_stride];
    }
    std::memset(static_cast<void*>(to + dim), 0, static_cast<std::size_t>(padded - dim) * sizeof(bfloat16));
}

/// Pairs of bf16 in 32-bit units times a power of two or 0. bf16 holds the products, but for subnormal ones, which the unit
/// takes as zero: so nothing is rounded.
struct pairs_times {
    float factor;
    template <class V>
    PANTILE_INLINE V operator()(const V& x, index_t) const {
        using words = xsimd::batch<std::uint32_t, typename V::arch_type>;
        const words pair = xsimd::bitwise_cast<words>(x);
        const V even = xsimd::bitwise_cast<V>(pair << 16) * V(factor);
        const V odd = xsimd::bitwise_cast<V>(pair & words(0xffff0000U)) * V(factor);
        return xsimd::bitwise_cast<V>((xsimd::bitwise_cast<words>(even) >> 16) |
                                      (xsimd::bitwise_cast<words>(odd) & words(0xffff0000U)));
    }
};

/// A row of `dim` numbers as row `place` of first operands: 32 numbers in each, a tile's 16 rows one after the other. `dim`
/// is a multiple of 32.
PANTILE_INLINE inline void put_row(const bfloat16* row, index_t dim, index_t place, bfloat16* tiles) {
    for (index_t x = 0; x < dim; x += 32) {
        std::memcpy(static_cast<void*>(tiles + x / 32 * tile_numbers + place * 32), row + x, 64);
    }
}

/// 16 rows of `dim` numbers times a power of two or 0, 32 numbers at a time, become a second operand:
/// to[pair of columns][row]{even, odd}. A transpose of 32-bit units. `dim` is a multiple of 32.
template <class V>
void pack_column_pairs(const bfloat16* rows, index_t dim, float factor, bfloat16* to) {
    transpose_copy<V>(16, dim / 2, reinterpret_cast<const float*>(rows), dim / 2, reinterpret_cast<float*>(to), 16,
                      pairs_times{factor});
}

/// 32 rows become a first operand, transposed: to[column][pair of rows]{even, odd}. Two rows are first interleaved into
/// their even and their odd columns (`spare`: 32·dim numbers), then each half is a transpose of 32-bit units.
/// `dim` is a multiple of 32.
template <class V>
void pack_row_pairs(const bfloat16* const (&rows)[32], index_t dim, bfloat16* spare, bfloat16* to) {
    using words = xsimd::batch<std::uint32_t, typename V::arch_type>;
    constexpr index_t n = static_cast<index_t>(words::size);
    const index_t half = dim / 2;
    auto* even = reinterpret_cast<std::uint32_t*>(spare);
    auto* odd = even + 16 * half;
    for (index_t i = 0; i < 16; ++i) {
        const auto* upper = reinterpret_cast<const std::uint32_t*>(rows[2 * i]);
        const auto* lower = reinterpret_cast<const std::uint32_t*>(rows[2 * i + 1]);
        for (index_t x = 0; x < half; x += n) {
            const words a = words::load_unaligned(upper + x);
            const words b = words::load_unaligned(lower + x);
            ((a & words(0xffffU)) | (b << 16)).store_unaligned(even + i * half + x);
            ((a >> 16) | (b & words(0xffff0000U))).store_unaligned(odd + i * half + x);
        }
    }
    transpose_copy<V>(16, half, reinterpret_cast<const float*>(even), half, reinterpret_cast<float*>(to), 32,
                      unscaled{});
    transpose_copy<V>(16, half, reinterpret_cast<const float*>(odd), half, reinterpret_cast<float*>(to) + 16, 32,
                      unscaled{});
}

} // namespace pantile::inline v0::cpu::amx
