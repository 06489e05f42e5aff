// How results leave the registers: whole rows through shared memory and the copy engine, words exchanged within a quad.

#include "device.hpp"

#include "sm90/store.cuh"
#include "tensor_map.hpp"
#include "tile/store.cuh"

#include <vector>

namespace pantile::inline v0::cuda {
namespace {

using test::on_gpu;

__host__ __device__ int out_number(int row, int column) { return 1 + (row * 131 + column) % 1021; }

__global__ void store_kernel(const __grid_constant__ CUtensorMap map, int first_row, int head, int batch) {
    __shared__ alignas(tile_alignment) char stage[tile_bytes(warp_rows, 128)];
    const int lane = static_cast<int>(threadIdx.x);
    float o[64];
    for (int i = 0; i < 64; ++i) {
        o[i] = 2.0F * static_cast<float>(out_number(fragment::row_of_lane(lane, fragment::row(i)),
                                                    fragment::first_key(lane) + fragment::key(i)));
    }
    store_through_shared_memory<__half>(map, stage, o, {0.5F, 0.5F}, first_row, head, batch);
    if (lane == 0) ptx::wait_until_stores_are_read();
}

TEST(store, copy_engine_writes_a_warps_rows_and_nothing_beyond_the_tensor) {
    PANTILE_NEEDS_DEVICE(90);
    const index_t batch = 2;
    const index_t heads = 3;
    const index_t length = 50;
    const index_t dim = 72;
    const layout bshd = {length * heads * dim, dim, heads * dim};
    for (const int first : {0, 16, 40, 48}) {
        const on_gpu<__half> to(
            std::vector<__half>(static_cast<std::size_t>(batch * heads * length * dim), __half(-1.0F)));
        const CUtensorMap map = make_tensor_map(to.data(), dtype::fp16, batch, heads, length, dim, bshd, warp_rows);
        store_kernel<<<1, 32>>>(map, first, 2, 1);
        PANTILE_CUDA_OK(cudaDeviceSynchronize());
        const auto got = to.values();
        for (index_t b = 0; b < batch; ++b) {
            for (index_t h = 0; h < heads; ++h) {
                for (index_t i = 0; i < length; ++i) {
                    for (index_t x = 0; x < dim; ++x) {
                        const bool written = b == 1 && h == 2 && i >= first && i < first + warp_rows;
                        const int expected =
                            written ? out_number(static_cast<int>(i) - first, static_cast<int>(x)) : -1;
                        ASSERT_EQ(static_cast<float>(got[static_cast<std::size_t>(bshd.place(b, h, i) + x)]),
                                  static_cast<float>(expected))
                            << first << ": " << b << ' ' << h << ' ' << i << ' ' << x;
                    }
                }
            }
        }
    }
}

__global__ void transpose_kernel(std::uint32_t* words) {
    std::uint32_t w[4];
    for (unsigned i = 0; i < 4; ++i) w[i] = threadIdx.x * 4 + i;
    transpose_quad(w);
    for (unsigned i = 0; i < 4; ++i) words[threadIdx.x * 4 + i] = w[i];
}

TEST(store, quads_transpose_their_words) {
    PANTILE_NEEDS_DEVICE(90);
    const on_gpu<std::uint32_t> words(std::vector<std::uint32_t>(128, 0));
    transpose_kernel<<<1, 32>>>(words.data());
    PANTILE_CUDA_OK(cudaDeviceSynchronize());
    const auto got = words.values();
    for (unsigned t = 0; t < 32; ++t) {
        for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(got[t * 4 + i], (t / 4 * 4 + i) * 4 + t % 4);
    }
}

} // namespace
} // namespace pantile::inline v0::cuda
