#pragma once

#include "launch_portable.cuh"

namespace pantile::inline v0::cuda {

/// The portable machine in fp32 for one padded head dim.
template <class tile>
inline constexpr kernel wide_kernels[] = {
    portable_entry<product_tf32<tile>, tile>(cuda_kernel::portable),
    portable_entry<product_tf32<tile>, tile>(cuda_kernel::decode),
    portable_entry<product_fma<tile>, tile>(cuda_kernel::ffma),
};

} // namespace pantile::inline v0::cuda
