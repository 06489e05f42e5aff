#pragma once

#include "thread.cuh"

// What two warps that share rows tell each other, through shared memory: the maxima of each row's two halves of scores, P,
// and at the end the sums. `tiles` is the block's first tile.

namespace pantile::inline v0::cuda {

/// Waits for the warp that shares this one's rows.
template <class tile>
__device__ __forceinline__ void meet_partner() {
    asm volatile("bar.sync %0, 64;" ::"r"(1 + half_thread<tile>::warp() / 2) : "memory");
}

/// x of every row here, and what the other warp has there.
template <class tile>
__device__ __forceinline__ void exchange(char* tiles, const row_numbers<tile>& x, row_numbers<tile>& others) {
    using thread = half_thread<tile>;
    auto* table = reinterpret_cast<float*>(tiles + tile::maxima_at);
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            if (thread::lane() % 4 == 0) table[thread::group() * tile::rows + thread::row(m, r)] = x[m][r];
        }
    }
    meet_partner<tile>();
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) others[m][r] = table[(1 - thread::group()) * tile::rows + thread::row(m, r)];
    }
}

template <class tile>
__device__ __forceinline__ void join_maxima(char* tiles, row_numbers<tile>& top) {
    row_numbers<tile> others;
    exchange<tile>(tiles, top, others);
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) top[m][r] = fmaxf(top[m][r], others[m][r]);
    }
}

template <class tile>
__device__ __forceinline__ void join_sums(char* tiles, half_states<tile>& state) {
    row_numbers<tile> sum;
    row_numbers<tile> others;
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) sum[m][r] = state[m][r].sum;
    }
    meet_partner<tile>(); // it has read the last maxima
    exchange<tile>(tiles, sum, others);
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) state[m][r].sum += others[m][r];
    }
}

/// Where this lane's P of the j-th 16 keys of warp w lies, 16-row block m: the operand as its registers hold it.
template <class tile>
__device__ __forceinline__ uint4* shared_probabilities(char* tiles, int w, int j, int m) {
    constexpr int J = tile::keys_of_warp / 16;
    return reinterpret_cast<uint4*>(tiles + tile::p_at + ((w * J + j) * tile::blocks + m) * 512 +
                                    half_thread<tile>::lane() * 16);
}

/// Leaves P of this warp's j-th 16 keys for the other; meet_partner comes between this and its take_probabilities.
template <class tile>
__device__ __forceinline__ void give_probabilities(char* tiles, int j, const half_probabilities<tile>& p) {
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
        *shared_probabilities<tile>(tiles, half_thread<tile>::warp(), j, m) =
            make_uint4(p[m][0], p[m][1], p[m][2], p[m][3]);
    }
}

/// P of the other warp's j-th 16 keys.
template <class tile>
__device__ __forceinline__ void take_probabilities(char* tiles, int j, half_probabilities<tile>& p) {
#pragma unroll
    for (int m = 0; m < tile::blocks; ++m) {
        const uint4 x = *shared_probabilities<tile>(tiles, half_thread<tile>::warp() ^ 1, j, m);
        p[m][0] = x.x;
        p[m][1] = x.y;
        p[m][2] = x.z;
        p[m][3] = x.w;
    }
}

} // namespace pantile::inline v0::cuda
