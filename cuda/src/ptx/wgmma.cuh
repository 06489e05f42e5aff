#pragma once

#include "wgmma_operands.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

// Matrix products of a warpgroup (wgmma, sm_90a): a 64 x n tile in the registers of 128 threads, += A·B over 16 columns
// of A, asynchronous. A comes from shared memory (`ss`, K-major) or from registers (`rs`); B from shared memory, stored
// [n][k] in `ss` (as K is for Q·Kᵀ) and [k][n] in `rs` (as V is for P·V).
// Accumulator i of a thread: row 16·warp + lane/4 + 8·((i>>1)&1), column 8·(i/4) + 2·(lane%4) + (i&1).

namespace pantile::inline v0::cuda::ptx {

/// Orders register and shared-memory accesses of the warpgroup before its next matrix products.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until at most `pending` committed groups are under way.
template <int pending>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

/// The same, but not before `sum`, which is never negative, has been computed. The assembler moves a wait in front of all
/// that does not depend on it, so that work meant to run beside the matrix unit would run after it; a warp barrier whose
/// mask depends on `sum` holds the wait back.
template <int pending>
__device__ __forceinline__ void wgmma_wait_behind(float sum) {
    __syncwarp(sum < 0.0F ? 0xfffffffeU : 0xffffffffU);
    wgmma_wait<pending>();
}

/// Tells the compiler that the matrix unit may read or write these registers here, so that it moves no use of them past.
template <int n>
__device__ __forceinline__ void pin(float (&r)[n]) {
#pragma unroll
    for (int i = 0; i < n; ++i) asm volatile("" : "+f"(r[i])::"memory");
}

template <class T, int n>
struct wgmma;

// Eight accumulators from d[o] on as operands, and lists of operand names.
// One shape and type. s0 to r5 name the operands that follow the accumulators: a descriptor, b descriptor, accumulate flag
// in `ss`; four a registers, b descriptor, accumulate flag in `rs`.
#define PANTILE_WGMMA(T, ptx_type, n, names, registers, s0, s1, s2, r3, r4, r5)                                        \
    template <>                                                                                                        \
    struct wgmma<T, n> {                                                                                               \
        static __device__ __forceinline__ void ss(float (&d)[n / 2], std::uint64_t a, std::uint64_t b,                 \
                                                  int accumulate) {                                                    \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " s2 ", 0;\n"                                               \
                         "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." ptx_type "." ptx_type " {" names "}, " s0   \
                         ", " s1 ", p, 1, 1, 0, 0;\n}\n"                                                               \
                         : PANTILE_LIST registers                                                                      \
                         : "l"(a), "l"(b), "r"(accumulate));                                                           \
        }                                                                                                              \
        static __device__ __forceinline__ void rs(float (&d)[n / 2], const std::uint32_t* a, std::uint64_t b,          \
                                                  int accumulate) {                                                    \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " r5 ", 0;\n"                                               \
                         "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." ptx_type "." ptx_type " {" names "}, {" s0  \
                         "," s1 "," s2 "," r3 "}, " r4 ", p, 1, 1, 1;\n}\n"                                            \
                         : PANTILE_LIST registers                                                                      \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));                       \
        }                                                                                                              \
    };
#define PANTILE_WGMMA_BOTH(...)                                                                                        \
    PANTILE_WGMMA(__half, "f16", __VA_ARGS__)                                                                          \
    PANTILE_WGMMA(__nv_bfloat16, "bf16", __VA_ARGS__)

PANTILE_WGMMA_BOTH(64, PANTILE_NAMES_32, (PANTILE_REG32(0)), "%32", "%33", "%34", "%35", "%36", "%37")
PANTILE_WGMMA_BOTH(80, PANTILE_NAMES_40, (PANTILE_REG32(0), PANTILE_REG8(32)), "%40", "%41", "%42", "%43", "%44", "%45")
PANTILE_WGMMA_BOTH(112, PANTILE_NAMES_56, (PANTILE_REG32(0), PANTILE_REG16(32), PANTILE_REG8(48)), "%56", "%57", "%58",
                   "%59", "%60", "%61")
PANTILE_WGMMA_BOTH(128, PANTILE_NAMES_64, (PANTILE_REG32(0), PANTILE_REG32(32)), "%64", "%65", "%66", "%67", "%68",
                   "%69")
PANTILE_WGMMA_BOTH(192, PANTILE_NAMES_96, (PANTILE_REG32(0), PANTILE_REG32(32), PANTILE_REG32(64)), "%96", "%97", "%98",
                   "%99", "%100", "%101")
PANTILE_WGMMA_BOTH(256, PANTILE_NAMES_128, (PANTILE_REG32(0), PANTILE_REG32(32), PANTILE_REG32(64), PANTILE_REG32(96)),
                   "%128", "%129", "%130", "%131", "%132", "%133")

#undef PANTILE_WGMMA_BOTH
#undef PANTILE_WGMMA

} // namespace pantile::inline v0::cuda::ptx
