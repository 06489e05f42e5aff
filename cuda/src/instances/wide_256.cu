#include "../launch_portable.cuh"

namespace pantile::cuda {
namespace {

// Row tile, key tile, warps, blocks a multiprocessor, warps that share 16 rows.
using f32 = portable_tile<float, 256, 64, 32, 8, 1, 2>;
using f64 = portable_tile<double, 256, 32, 16, 4, 1, 2>;

} // namespace

extern const kernel wide_256[5];
const kernel wide_256[5] = {
    portable_entry<product_tf32<f32>, f32>(cuda_kernel::portable),
    portable_entry<product_tf32<f32>, f32>(cuda_kernel::decode),
    portable_entry<product_fma<f32>, f32>(cuda_kernel::ffma),
    portable_entry<product_f64<f64>, f64>(cuda_kernel::portable),
    portable_entry<product_f64<f64>, f64>(cuda_kernel::decode),
};

} // namespace pantile::cuda
