#pragma once

#include "../ptx/convert.cuh"
#include "../ptx/ldmatrix.cuh"
#include "../ptx/mma.cuh"
#include "swizzle.hpp"

// The two matrix products of a tile in fp16 and bf16: one warp, 16·blocks query rows, mma.sync m16n8k16 with fp32 sums.
// Q and K arrive in operand order through ldmatrix, V through its transposing form, and P is ready as it stands: two
// neighbouring accumulator blocks of S are one A operand.

namespace pantile::inline v0::cuda {

template <class T, class tile>
struct product_half {
    using input = T;
    using value = float;
    static constexpr int blocks = tile::blocks_of_16;
    static constexpr bool wide_columns = false; ///< o[4j + 2r + e] is column 8j + 2t + e

    /// S += Q·Kᵀ of the 16·blocks rows from `first_row` on, 16 columns of the head dim at a time.
    static __device__ __forceinline__ void scores(float (&s)[blocks][tile::keys / 2], const char* q_tile,
                                                  const char* k_tile, int first_row) {
        const int l = static_cast<int>(threadIdx.x % 32);
        // This lane's chunk of the first 16 columns; blocks of 16 rows and panels are constants away, the other 16 columns
        // of a panel an exclusive or.
        const std::uint32_t q_at = ptx::shared_address(q_tile) + chunk_offset<tile::rows>(first_row + l % 16, l / 16);
        const std::uint32_t k_at =
            ptx::shared_address(k_tile) + chunk_offset<tile::keys>(l % 8 + l / 16 * 8, l / 8 % 2);
#pragma unroll
        for (int x = 0; x < tile::dim / 16; ++x) {
            std::uint32_t a[blocks][4];
#pragma unroll
            for (int m = 0; m < blocks; ++m) ptx::load_matrices(a[m], place<tile::rows>(q_at, m, x));
#pragma unroll
            for (int j = 0; j < tile::keys / 16; ++j) {
                std::uint32_t b[4]; // keys 0-7 and 8-15 of the block, columns 0-7 and 8-15 each
                ptx::load_matrices(b, place<tile::keys>(k_at, j, x));
#pragma unroll
                for (int m = 0; m < blocks; ++m) {
                    ptx::mma_16<T>(&s[m][8 * j], a[m], b[0], b[1]);
                    ptx::mma_16<T>(&s[m][8 * j + 4], a[m], b[2], b[3]);
                }
            }
        }
    }

    /// O = O·factor + P·V, 16 keys at a time; `s` holds P.
    static __device__ __forceinline__ void values(float (&o)[blocks][tile::dim / 2],
                                                  const float (&s)[blocks][tile::keys / 2],
                                                  const float (&factor)[blocks][2], const char* v_tile) {
        std::uint32_t p[blocks][tile::keys / 4];
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
#pragma unroll
            for (int i = 0; i < tile::keys / 4; ++i) p[m][i] = ptx::pack<T>(s[m][2 * i], s[m][2 * i + 1]);
        }
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
            if constexpr (blocks == 1) { // with two blocks the branch costs registers that are not there
                // Most tiles raise no maximum of the warp's rows: then the factors are 1.
                if (!__any_sync(0xffffffffU, factor[m][0] != 1.0F || factor[m][1] != 1.0F)) continue;
            }
#pragma unroll
            for (int i = 0; i < tile::dim / 2; ++i) o[m][i] *= factor[m][i / 2 % 2];
        }
        const int l = static_cast<int>(threadIdx.x % 32);
        const std::uint32_t v_at = ptx::shared_address(v_tile) + chunk_offset<tile::keys>(l % 16, l / 16);
#pragma unroll
        for (int j = 0; j < tile::keys / 16; ++j) {
#pragma unroll
            for (int x = 0; x < tile::dim / 16; ++x) {
                std::uint32_t b[4]; // keys 0-7 and 8-15, of columns 0-7, then of columns 8-15
                ptx::load_matrices_transposed(b, place<tile::keys>(v_at, j, x));
#pragma unroll
                for (int m = 0; m < blocks; ++m) {
                    ptx::mma_16<T>(&o[m][8 * x], &p[m][4 * j], b[0], b[1]);
                    ptx::mma_16<T>(&o[m][8 * x + 4], &p[m][4 * j], b[2], b[3]);
                }
            }
        }
    }

  private:
    /// Address of the chunk that lies `block` times 16 rows below and `x` times 16 columns right of the one at `at` in a tile
    /// of `rows` rows. Address bits 4 to 6 are the chunk's place in its row (swizzle.hpp).
    template <int rows>
    static __device__ __forceinline__ std::uint32_t place(std::uint32_t at, int block, int x) {
        return (at ^ (x % 4 * 32)) + x / 4 * (rows * panel_row_bytes) + block * (16 * panel_row_bytes);
    }
};

} // namespace pantile::inline v0::cuda
