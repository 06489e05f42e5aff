#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace pantile::inline v0::cuda::ptx {

/// Two fp32 numbers rounded to nearest even and packed, `low` in the lower half.
template <class T>
__device__ __forceinline__ std::uint32_t pack(float low, float high);

template <>
__device__ __forceinline__ std::uint32_t pack<__half>(float low, float high) {
    std::uint32_t r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

template <>
__device__ __forceinline__ std::uint32_t pack<__nv_bfloat16>(float low, float high) {
    std::uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

/// 2^x to 2 ulp in one instruction of the special-function unit; 2^-inf = 0, subnormal results flush to 0.
__device__ __forceinline__ float exp2_fast(float x) {
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

/// x = high + low for products on the tf32 matrix unit, which reads the top 11 significant bits of an operand and ignores
/// the rest: `high` is x rounded to them, `low` the exact remainder, of which the unit drops at most 2^-23·|x|.
/// (Cutting instead of rounding saves an instruction and fails the error rule: its errors all have one sign.)
__device__ __forceinline__ void split_tf32(float x, std::uint32_t& high, std::uint32_t& low) {
    high = (__float_as_uint(x) + 0x1000U) & 0xffffe000U; // half a unit of the last kept bit, then cut
    low = __float_as_uint(x - __uint_as_float(high));
}

} // namespace pantile::inline v0::cuda::ptx
