#include "../launch_portable.cuh"

namespace pantile::cuda {
namespace {

// Row tile, key tile, warps, blocks a multiprocessor.
using f32 = portable_tile<float, 96, 64, 64, 4, 2>;
using f64 = portable_tile<double, 96, 64, 16, 4, 2>;

} // namespace

extern const kernel wide_96[5];
const kernel wide_96[5] = {
    portable_entry<product_tf32<f32>, f32>(cuda_kernel::portable),
    portable_entry<product_tf32<f32>, f32>(cuda_kernel::decode),
    portable_entry<product_fma<f32>, f32>(cuda_kernel::ffma),
    portable_entry<product_f64<f64>, f64>(cuda_kernel::portable),
    portable_entry<product_f64<f64>, f64>(cuda_kernel::decode),
};

} // namespace pantile::cuda
