/// \file
/// The matrix unit in plain code: the portable twin of hardware_unit, for tests on any machine.
#pragma once

#include <cmath>
#include <cstring>

#include <pantile/float16.hpp>

#include "../../micro/simd.hpp"

namespace pantile::inline v0::cpu::amx {

/// Rounds where the processor does (Intel's Software Developer's Manual, TDPBF16PS): the products of even k and those of
/// odd k are summed apart, then added to c; subnormal numbers count as zero, going in and coming out.
template <class V>
class emulated_unit {
  public:
    using vector = V;

    template <int tile>
    void zero() {
        std::memset(tile_[tile], 0, sizeof tile_[tile]);
    }
    template <int tile>
    void load(const void* from, index_t stride) {
        for (index_t r = 0; r < 16; ++r) std::memcpy(tile_[tile][r], static_cast<const char*>(from) + r * stride, 64);
    }
    template <int tile>
    void store(void* to, index_t stride) {
        for (index_t r = 0; r < 16; ++r) std::memcpy(static_cast<char*>(to) + r * stride, tile_[tile][r], 64);
    }
    template <int c, int a, int b>
    void dot() {
        for (int i = 0; i < 16; ++i) {
            for (int j = 0; j < 16; ++j) {
                float even = 0.0F;
                float odd = 0.0F;
                for (int k = 0; k < 16; ++k) {
                    even = flushed(even + low(tile_[a][i][k]) * low(tile_[b][k][j]));
                    odd = flushed(odd + high(tile_[a][i][k]) * high(tile_[b][k][j]));
                }
                float sum = 0.0F;
                std::memcpy(&sum, &tile_[c][i][j], 4);
                sum = flushed(flushed(even + odd) + sum);
                std::memcpy(&tile_[c][i][j], &sum, 4);
            }
        }
    }

    static void store_pairs(const vector& even, const vector& odd, bfloat16* to) {
        float e[V::size];
        float o[V::size];
        even.store_unaligned(e);
        odd.store_unaligned(o);
        for (int i = 0; i < lanes<V>; ++i) {
            to[2 * i] = bfloat16(e[i]);
            to[2 * i + 1] = bfloat16(o[i]);
        }
    }

  private:
    static float flushed(float x) { return std::fabs(x) < 0x1p-126F ? std::copysign(0.0F, x) : x; }
    static float low(std::uint32_t pair) { return flushed(__builtin_bit_cast(float, pair << 16)); }
    static float high(std::uint32_t pair) { return flushed(__builtin_bit_cast(float, pair & 0xffff0000U)); }

    std::uint32_t tile_[8][16][16] = {}; // words: fp32 numbers, or pairs of bf16
};

} // namespace pantile::inline v0::cpu::amx
