#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

// One warp's matrix product c += a b with all operands in registers. With g = lane / 4 and t = lane % 4, a thread holds
// of c (16x8): rows g and g + 8, columns 2t and 2t + 1, as {(g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1)}.

namespace pantile::inline v0::cuda::ptx {

/// m16n8k16, 16-bit inputs. a: {(g, 2t..), (g+8, 2t..), (g, 2t+8..), (g+8, 2t+8..)}; b: rows 2t.. and 2t+8.. of column g.
template <class T>
__device__ __forceinline__ void mma_16(float* c, const std::uint32_t* a, std::uint32_t b0, std::uint32_t b1);

template <>
__device__ __forceinline__ void mma_16<__half>(float* c, const std::uint32_t* a, std::uint32_t b0, std::uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
__device__ __forceinline__ void mma_16<__nv_bfloat16>(float* c, const std::uint32_t* a, std::uint32_t b0,
                                                      std::uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// m16n8k8, tf32 inputs. a: {(g, t), (g+8, t), (g, t+4), (g+8, t+4)}; b: rows t and t + 4 of column g.
__device__ __forceinline__ void mma_tf32(float* c, const std::uint32_t* a, const std::uint32_t* b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// m16n8k16, fp64; one instruction on sm_90, eight of m8n8k4 before. a[2i + r]: row g + 8r, column t + 4i; b[i]: row t + 4i
/// of column g.
__device__ __forceinline__ void mma_f64(double* c, const double* a, const double* b) {
#if __CUDA_ARCH__ >= 900
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5, %6, %7, %8, %9, %10, "
                 "%11}, {%12, %13, %14, %15}, {%0, %1, %2, %3};"
                 : "+d"(c[0]), "+d"(c[1]), "+d"(c[2]), "+d"(c[3])
                 : "d"(a[0]), "d"(a[1]), "d"(a[2]), "d"(a[3]), "d"(a[4]), "d"(a[5]), "d"(a[6]), "d"(a[7]), "d"(b[0]),
                   "d"(b[1]), "d"(b[2]), "d"(b[3]));
#else
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
                         : "+d"(c[2 * r]), "+d"(c[2 * r + 1])
                         : "d"(a[2 * i + r]), "d"(b[i]));
        }
    }
#endif
}

/// x += y, and not later: the compiler would put off a sum whose value it does not need yet, and keep y until then.
__device__ __forceinline__ void add_f64(double& x, double y) {
    asm volatile("add.rn.f64 %0, %0, %1;" : "+d"(x) : "d"(y));
}

} // namespace pantile::inline v0::cuda::ptx
