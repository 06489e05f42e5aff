#pragma once

#include "wgmma_operands.cuh"

#include <cstdint>

// Matrix products of a warpgroup on tf32 operands (wgmma, sm_90a): a 64 x n tile in the registers of 128 threads, += A·B
// over 8 columns of A, asynchronous. A comes from registers, four a thread and warp row as in mma_tf32; B from shared
// memory, stored [n][k]: with four-byte operands the unit takes no other order. It reads the top 19 bits of a number.
// Accumulators lie as in wgmma.cuh.

namespace pantile::inline v0::cuda::ptx {

template <int n>
struct wgmma_tf32;

// a0 to s name the operands that follow the accumulators: four a registers, b descriptor, accumulate flag.
#define PANTILE_WGMMA_TF32(n, names, registers, a0, a1, a2, a3, b, s)                                                  \
    template <>                                                                                                        \
    struct wgmma_tf32<n> {                                                                                             \
        static __device__ __forceinline__ void rs(float (&d)[n / 2], const std::uint32_t (&a)[4], std::uint64_t desc,  \
                                                  int accumulate) {                                                    \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " s ", 0;\n"                                                \
                         "wgmma.mma_async.sync.aligned.m64n" #n "k8.f32.tf32.tf32 {" names "}, {" a0 "," a1 "," a2     \
                         "," a3 "}, " b ", p, 1, 1;\n}\n"                                                              \
                         : PANTILE_LIST registers                                                                      \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(desc), "r"(accumulate));                    \
        }                                                                                                              \
    };

PANTILE_WGMMA_TF32(32, PANTILE_NAMES_16, (PANTILE_REG16(0)), "%16", "%17", "%18", "%19", "%20", "%21")
PANTILE_WGMMA_TF32(64, PANTILE_NAMES_32, (PANTILE_REG32(0)), "%32", "%33", "%34", "%35", "%36", "%37")

#undef PANTILE_WGMMA_TF32

} // namespace pantile::inline v0::cuda::ptx
