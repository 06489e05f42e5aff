#pragma once

namespace pantile::inline v0::cuda::ptx {

/// Moves registers between the warpgroups of a block (setmaxnreg, sm_90a); `count` is a multiple of 8, 24 to 256, and
/// every warp of the warpgroup executes it.
template <int count>
__device__ __forceinline__ void give_up_registers_to() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}

template <int count>
__device__ __forceinline__ void claim_registers_to() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

} // namespace pantile::inline v0::cuda::ptx
