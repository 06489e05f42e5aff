#pragma once

#include "../ptx/ldmatrix.cuh"
#include "../ptx/mma.cuh"
#include "copy.cuh"
#include "fold.cuh"

// Q·Kᵀ and P·V by mma.sync, in steps of 16 keys by 16 columns. Beside each step go copies of the other operand's tile, and
// beside P·V the exponentials that the next steps need.

namespace pantile::inline v0::cuda {

/// Where a lane reads its operands, shared addresses: its chunks of the first 16 rows and columns.
template <class tile>
struct half_operands {
    std::uint32_t q;
    std::uint32_t k;
    std::uint32_t v;

    /// Of the tiles from `tiles` on.
    static __device__ __forceinline__ half_operands of(const char* tiles) {
        using thread = half_thread<tile>;
        const std::uint32_t at = ptx::shared_address(tiles);
        const int l = thread::lane();
        half_operands out;
        out.q = pinned(at + chunk_offset<tile::rows>(thread::first_row() + l % 16, l / 16));
        out.k = pinned(at + tile::k_at + chunk_offset<tile::keys>(thread::first_key() + l % 8 + l / 16 * 8, l / 8 % 2));
        out.v = pinned(at + tile::v_at + (chunk_offset<tile::keys>(l % 16, l / 16) ^ thread::group() * 64));
        return out;
    }

    /// Address of the chunk `block` times 16 rows below and `x` times 16 columns right of the one at `at`, in a tile of
    /// `rows` rows. Address bits 4 to 6 are the chunk's place in its row (tile/swizzle.hpp).
    template <int rows>
    static __device__ __forceinline__ std::uint32_t place(std::uint32_t at, int block, int x) {
        return (at ^ (x % 4 * 32)) + x / 4 * (rows * panel_row_bytes) + block * (16 * panel_row_bytes);
    }
};

/// S += Q·Kᵀ, 16 columns of the head dim at a time. The operands of a product are on their way while the one before runs.
template <class T, class tile>
__device__ __forceinline__ void multiply_keys(half_scores<tile>& s, const half_operands<tile>& at,
                                              half_copies<T, tile>& copies) {
    constexpr int J = tile::keys_of_warp / 16;
    constexpr int X = tile::dim / 16;
    constexpr int blocks = tile::blocks;
    std::uint32_t a[2][blocks][4];
    std::uint32_t b[2][4]; // keys 0-7 and 8-15 of 16, columns 0-7 and 8-15 each
#pragma unroll
    for (int m = 0; m < blocks; ++m) ptx::load_matrices(a[0][m], at.template place<tile::rows>(at.q, m, 0));
    ptx::load_matrices(b[0], at.k);
#pragma unroll
    for (int n = 0; n < X * J; ++n) {
        const int x = n / J;
        const int j = n % J;
        if (n + 1 < X * J) {
            ptx::load_matrices(b[(n + 1) % 2], at.template place<tile::keys>(at.k, (n + 1) % J, (n + 1) / J));
        }
        if (x + 1 < X && j == core::max(J - 2, 0)) {
#pragma unroll
            for (int m = 0; m < blocks; ++m) {
                ptx::load_matrices(a[(x + 1) % 2][m], at.template place<tile::rows>(at.q, m, x + 1));
            }
        }
#pragma unroll
        for (int m = 0; m < blocks; ++m) {
            ptx::mma_16<T>(&s[m][8 * j], a[x % 2][m], b[n % 2][0], b[n % 2][1]);
            ptx::mma_16<T>(&s[m][8 * j + 4], a[x % 2][m], b[n % 2][2], b[n % 2][3]);
        }
        copies.beside_keys(n);
    }
}

/// O += P·V of 16 keys: P in `p`, this lane's first chunk of V at `v`; beside(x) is done beside the x-th 16 columns.
template <class T, class tile, class Beside>
__device__ __forceinline__ void multiply_16_keys(half_output<tile>& o, const half_probabilities<tile>& p,
                                                 std::uint32_t v, Beside beside) {
    constexpr int X = tile::columns_of_warp / 16;
    std::uint32_t b[2][4]; // keys 0-7 and 8-15, of columns 0-7, then of columns 8-15
    ptx::load_matrices_transposed(b[0], v);
#pragma unroll
    for (int x = 0; x < X; ++x) {
        if (x + 1 < X) {
            ptx::load_matrices_transposed(
                b[(x + 1) % 2], half_operands<tile>::template place<tile::keys>(v, 0, tile::columns_at(x + 1)));
        }
#pragma unroll
        for (int m = 0; m < tile::blocks; ++m) {
            ptx::mma_16<T>(&o[m][8 * x], p[m], b[x % 2][0], b[x % 2][1]);
            ptx::mma_16<T>(&o[m][8 * x + 4], p[m], b[x % 2][2], b[x % 2][3]);
        }
        beside(x);
    }
}

/// O += P·V, and the sums of P's rows into `state`. The exponentials of the next 16 keys run beside the products of these.
/// `v` is this lane's first chunk of the tile of V.
template <class T, class tile>
__device__ __forceinline__ void
multiply_values(half_output<tile>& o, const half_scores<tile>& s, const row_numbers<tile>& reference, float scale,
                half_states<tile>& state, std::uint32_t v, half_copies<T, tile>& copies) {
    constexpr int J = tile::keys_of_warp / 16;
    constexpr int X = tile::columns_of_warp / 16;
    constexpr int pairs = 4 * tile::blocks;
    row_numbers<tile> sum = {};
    half_probabilities<tile> p[2];
#pragma unroll
    for (int i = 0; i < pairs; ++i) exponentiate<T, tile>(s, 0, i, reference, scale, p[0], sum);
#pragma unroll
    for (int j = 0; j < J; ++j) {
        multiply_16_keys<T, tile>(o, p[j % 2], v + j * (16 * panel_row_bytes), [&](int x) {
            copies.beside_values(j * X + x);
            if (j + 1 == J) return;
#pragma unroll
            for (int i = 0; i < pairs; ++i) {
                if (i * X / pairs == x) exponentiate<T, tile>(s, j + 1, i, reference, scale, p[(j + 1) % 2], sum);
            }
        });
    }
    add_sums<tile>(state, sum);
}

/// The same for two warps that share rows: each makes P of its keys, and multiplies all of P with its columns of V.
template <class T, class tile>
__device__ __forceinline__ void multiply_shared_values(half_output<tile>& o, const half_scores<tile>& s,
                                                       const row_numbers<tile>& reference, float scale,
                                                       half_states<tile>& state, std::uint32_t v, char* tiles,
                                                       half_copies<T, tile>& copies) {
    constexpr int J = tile::keys_of_warp / 16;
    constexpr int X = tile::columns_of_warp / 16;
    const std::uint32_t mine = v + half_thread<tile>::first_key() * panel_row_bytes;
    const std::uint32_t other = v + (tile::keys_of_warp - half_thread<tile>::first_key()) * panel_row_bytes;
    row_numbers<tile> sum = {};
    half_probabilities<tile> p[J];
#pragma unroll
    for (int j = 0; j < J; ++j) {
#pragma unroll
        for (int i = 0; i < 4 * tile::blocks; ++i) exponentiate<T, tile>(s, j, i, reference, scale, p[j], sum);
        give_probabilities<tile>(tiles, j, p[j]);
    }
    add_sums<tile>(state, sum);
#pragma unroll
    for (int j = 0; j < J; ++j) {
        multiply_16_keys<T, tile>(o, p[j], mine + j * (16 * panel_row_bytes),
                                  [&](int x) { copies.beside_values(j * X + x); });
    }
    meet_partner<tile>();
#pragma unroll
    for (int j = 0; j < J; ++j) {
        take_probabilities<tile>(tiles, j, p[j]);
        multiply_16_keys<T, tile>(o, p[j], other + j * (16 * panel_row_bytes),
                                  [&](int x) { copies.beside_values((J + j) * X + x); });
    }
}

} // namespace pantile::inline v0::cuda
