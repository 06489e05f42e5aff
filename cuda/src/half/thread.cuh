#pragma once

#include "../ptx/address.cuh"
#include "../tile/softmax.cuh"
#include "tile.hpp"

// Which part of a tile is a thread's, and what it holds in registers.

namespace pantile::inline v0::cuda {

/// Where a thread stands in its block and in the row tile.
template <class tile>
struct half_thread {
    static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % 32); }
    static __device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x / 32); }
    /// Its warp's number among those that share rows.
    static __device__ __forceinline__ int group() { return warp() % tile::sharers; }
    static __device__ __forceinline__ int first_row() { return warp() / tile::sharers * tile::rows_of_warp; }
    /// Of the keys whose scores the warp computes.
    static __device__ __forceinline__ int first_key() { return group() * tile::keys_of_warp; }
    /// This thread's row r (0: g, 1: g + 8) of 16-row block m, counted from the row tile's first.
    static __device__ __forceinline__ int row(int m, int r) { return first_row() + 16 * m + lane() / 4 + 8 * r; }
    /// The 8 columns of O that o[m][4j ..] begins.
    static __device__ __forceinline__ int column(int j) {
        return 16 * tile::columns_at(j / 2) + j % 2 * 8 + group() * 32;
    }
};

// Accumulators of a thread, [16-row block][element]; elements as in tile/softmax.cuh.
template <class tile>
using half_scores = float[tile::blocks][tile::keys_of_warp / 2];
template <class tile>
using half_output = float[tile::blocks][tile::columns_of_warp / 2];
/// 16 rows of P and 16 keys, as a product's operand.
template <class tile>
using half_probabilities = std::uint32_t[tile::blocks][4];
// One each for a thread's rows: [m][r] of half_thread::row.
template <class tile>
using half_states = row_state<float>[tile::blocks][2];
template <class tile>
using row_numbers = float[tile::blocks][2];

/// Keeps a cheap number in its register: the compiler would otherwise compute it anew in every step.
__device__ __forceinline__ std::uint32_t pinned(std::uint32_t x) {
    asm volatile("" : "+r"(x));
    return x;
}

} // namespace pantile::inline v0::cuda
