#pragma once

#include "launch_portable.cuh"

namespace pantile::cuda {

/// The portable machine in fp32 and fp64 for one padded head dim, by their tiles. `small` is the fp64 tile of decode, and of
/// devices whose shared memory does not hold `f64`.
template <class f32, class f64, class small = f64>
inline constexpr kernel wide_kernels[] = {
    portable_entry<product_tf32<f32>, f32>(cuda_kernel::portable),
    portable_entry<product_tf32<f32>, f32>(cuda_kernel::decode),
    portable_entry<product_fma<f32>, f32>(cuda_kernel::ffma),
    portable_entry<product_f64<f64>, f64>(cuda_kernel::portable),
    portable_entry<product_f64<small>, small>(cuda_kernel::portable),
    portable_entry<product_f64<small>, small>(cuda_kernel::decode),
};

} // namespace pantile::cuda
