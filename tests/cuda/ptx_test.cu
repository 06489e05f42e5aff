// Each instruction wrapper alone, exact on small integers that make every (row, column) of an operand distinguishable.

#include "device.hpp"

#include "ptx/barrier.cuh"
#include "ptx/copy.cuh"
#include "ptx/ldmatrix.cuh"
#include "ptx/mma.cuh"
#include "ptx/wgmma.cuh"
#include "ptx/wgmma_tf32.cuh"
#include "sm90_tf32/split.cuh"
#include "tensor_map.hpp"
#include "tile/swizzle.hpp"

#include <vector>

namespace pantile::inline v0::cuda {
namespace {

using test::on_gpu;

/// Small integers, exact in every 16-bit type, different enough that a wrong row, column or panel shows in a sum.
__host__ __device__ int value(int row, int column) { return (row * 7 + column * 3 + row * column % 5) % 9 - 4; }

/// Puts element (row, column) of a `rows` x `columns` tile where the swizzle wants it.
template <class T, int rows>
__device__ void put(char* tile, int row, int column, T x) {
    *reinterpret_cast<T*>(tile + chunk_offset<rows>(row, column / 8) + column % 8 * 2) = x;
}

template <class T, int rows>
__device__ void fill(char* tile, int columns, int salt) {
    for (int at = static_cast<int>(threadIdx.x); at < rows * columns; at += static_cast<int>(blockDim.x)) {
        put<T, rows>(tile, at / columns, at % columns, T(static_cast<float>(value(at / columns + salt, at % columns))));
    }
}

// ------------------------------------------------------------------------------------------------------- mma.sync

template <class T>
__global__ void mma_kernel(float* c) { // 16x16 by 16x16: A row-major and B as [n][k], as in Q·Kᵀ
    __shared__ alignas(1024) char a_tile[16 * 128];
    __shared__ alignas(1024) char b_tile[16 * 128];
    fill<T, 16>(a_tile, 16, 0);
    fill<T, 16>(b_tile, 16, 5);
    __syncthreads();
    const int l = static_cast<int>(threadIdx.x);
    std::uint32_t a[4];
    std::uint32_t b[4];
    ptx::load_matrices(a, ptx::shared_address(a_tile) + chunk_offset<16>(l % 16, l / 16));
    ptx::load_matrices(b, ptx::shared_address(b_tile) + chunk_offset<16>(l % 8 + l / 16 * 8, l / 8 % 2));
    float s[8] = {};
    ptx::mma_16<T>(s, a, b[0], b[1]);
    ptx::mma_16<T>(s + 4, a, b[2], b[3]);
    for (int i = 0; i < 8; ++i) c[(l / 4 + 8 * (i / 2 % 2)) * 16 + i / 4 * 8 + 2 * (l % 4) + i % 2] = s[i];
}

template <class T>
void expect_mma() {
    const on_gpu<float> c(std::vector<float>(256, -1000.0F));
    mma_kernel<T><<<1, 32>>>(c.data());
    PANTILE_CUDA_OK(cudaDeviceSynchronize());
    const auto got = c.values();
    for (int i = 0; i < 16; ++i) {
        for (int j = 0; j < 16; ++j) {
            int sum = 0;
            for (int k = 0; k < 16; ++k) sum += value(i, k) * value(j + 5, k);
            EXPECT_EQ(got[static_cast<std::size_t>(i * 16 + j)], static_cast<float>(sum)) << i << ' ' << j;
        }
    }
}

TEST(ptx, mma_with_ldmatrix) {
    PANTILE_NEEDS_DEVICE(90);
    expect_mma<__half>();
    expect_mma<__nv_bfloat16>();
}

__global__ void mma_f64_kernel(double* c) { // 16x16 by 16x8
    const int g = static_cast<int>(threadIdx.x) / 4;
    const int t = static_cast<int>(threadIdx.x) % 4;
    double a[8];
    double b[4];
    for (int i = 0; i < 4; ++i) {
        for (int r = 0; r < 2; ++r) a[2 * i + r] = value(g + 8 * r, t + 4 * i);
        b[i] = value(g + 5, t + 4 * i);
    }
    double s[4] = {};
    ptx::mma_f64(s, a, b);
    for (int i = 0; i < 4; ++i) c[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = s[i];
}

TEST(ptx, mma_of_doubles) {
    PANTILE_NEEDS_DEVICE(90);
    const on_gpu<double> c(std::vector<double>(128, -1000.0));
    mma_f64_kernel<<<1, 32>>>(c.data());
    PANTILE_CUDA_OK(cudaDeviceSynchronize());
    const auto got = c.values();
    for (int i = 0; i < 16; ++i) {
        for (int j = 0; j < 8; ++j) {
            int sum = 0;
            for (int k = 0; k < 16; ++k) sum += value(i, k) * value(j + 5, k);
            EXPECT_EQ(got[static_cast<std::size_t>(i * 8 + j)], sum) << i << ' ' << j;
        }
    }
}

/// One product of 16x8 by 8x8 numbers of 22 bits, as three of tf32 parts: exact to the parts that are dropped.
__global__ void mma_tf32_kernel(float* c) {
    const int g = static_cast<int>(threadIdx.x) / 4;
    const int t = static_cast<int>(threadIdx.x) % 4;
    const auto number = [](int row, int column) {
        return static_cast<float>(value(row, column)) + 0x1p-18F * (row + 1);
    };
    std::uint32_t a[2][4]; // high, low
    std::uint32_t b[2][2];
    for (int i = 0; i < 4; ++i) ptx::split_tf32(number(g + i % 2 * 8, t + i / 2 * 4), a[0][i], a[1][i]);
    for (int i = 0; i < 2; ++i) ptx::split_tf32(number(g + 5, t + 4 * i), b[0][i], b[1][i]);
    float s[4] = {};
    ptx::mma_tf32(s, a[0], b[1]);
    ptx::mma_tf32(s, a[1], b[0]);
    ptx::mma_tf32(s, a[0], b[0]);
    for (int i = 0; i < 4; ++i) c[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = s[i];
}

TEST(ptx, mma_of_split_floats) {
    PANTILE_NEEDS_DEVICE(90);
    const on_gpu<float> c(std::vector<float>(128, -1000.0F));
    mma_tf32_kernel<<<1, 32>>>(c.data());
    PANTILE_CUDA_OK(cudaDeviceSynchronize());
    const auto got = c.values();
    const auto number = [](int row, int column) { return value(row, column) + 0x1p-18 * (row + 1); };
    for (int i = 0; i < 16; ++i) {
        for (int j = 0; j < 8; ++j) {
            double sum = 0;
            for (int k = 0; k < 8; ++k) sum += number(i, k) * number(j + 5, k);
            EXPECT_NEAR(got[static_cast<std::size_t>(i * 8 + j)], sum, 2e-5) << i << ' ' << j; // one tf32 product: 2e-3
        }
    }
}

// ---------------------------------------------------------------------------------------------------------- wgmma

/// S = A·Bᵀ over 128 columns (A and B of two panels), then C = P·V with P = pack(S mod 8) from registers and V [key][column].
template <class T, int keys, int dim>
__global__ void wgmma_kernel(float* scores, float* values) {
    extern __shared__ char raw[];
    char* a = raw + (1024 - ptx::shared_address(raw) % 1024) % 1024;
    char* b = a + tile_bytes(64, 128);
    char* v = b + tile_bytes(keys, 128);
    fill<T, 64>(a, 128, 0);
    fill<T, keys>(b, 128, 3);
    fill<T, keys>(v, dim, 8);
    ptx::fence_async_proxy();
    __syncthreads();
    float s[keys / 2];
    const std::uint64_t ad = k_major_descriptor(ptx::shared_address(a));
    const std::uint64_t bd = k_major_descriptor(ptx::shared_address(b));
    ptx::pin(s);
    ptx::wgmma_fence();
#pragma unroll
    for (int x = 0; x < 8; ++x) {
        ptx::wgmma<T, keys>::ss(s, ad + (x / 4 * (64 * 128 >> 4) + (x % 4 * 32 >> 4)),
                                bd + (x / 4 * (keys * 128 >> 4) + (x % 4 * 32 >> 4)), x != 0);
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::pin(s);
    const int l = static_cast<int>(threadIdx.x) % 32;
    const int row = static_cast<int>(threadIdx.x) / 32 * 16 + l / 4;
    std::uint32_t p[keys / 4];
#pragma unroll
    for (int i = 0; i < keys / 2; ++i) {
        scores[(row + 8 * (i / 2 % 2)) * keys + i / 4 * 8 + 2 * (l % 4) + i % 2] = s[i];
    }
#pragma unroll
    for (int i = 0; i < keys / 4; ++i) {
        p[i] = ptx::pack<T>(static_cast<float>(static_cast<int>(s[2 * i]) & 7),
                            static_cast<float>(static_cast<int>(s[2 * i + 1]) & 7));
    }
    float o[dim / 2];
#pragma unroll
    for (float& x : o) x = 1.0F;
    const std::uint64_t vd = mn_major_descriptor(ptx::shared_address(v), keys);
    ptx::pin(o);
    ptx::wgmma_fence();
#pragma unroll
    for (int x = 0; x < keys / 16; ++x) ptx::wgmma<T, dim>::rs(o, p + 4 * x, vd + x * (2048 >> 4), 1);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::pin(o);
#pragma unroll
    for (int i = 0; i < dim / 2; ++i) {
        values[(row + 8 * (i / 2 % 2)) * dim + i / 4 * 8 + 2 * (l % 4) + i % 2] = o[i];
    }
}

template <class T, int keys, int dim>
void expect_wgmma() {
    const on_gpu<float> scores(std::vector<float>(64 * keys, -1000.0F));
    const on_gpu<float> values(std::vector<float>(64 * dim, -1000.0F));
    const int shared = tile_bytes(64, 128) + tile_bytes(keys, 128) + tile_bytes(keys, dim) + 1024;
    const auto function = wgmma_kernel<T, keys, dim>;
    PANTILE_CUDA_OK(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
    function<<<1, 128, shared>>>(scores.data(), values.data());
    PANTILE_CUDA_OK(cudaDeviceSynchronize());
    const auto s = scores.values();
    const auto o = values.values();
    for (int i = 0; i < 64; ++i) {
        std::vector<int> p(keys);
        for (int j = 0; j < keys; ++j) {
            int sum = 0;
            for (int k = 0; k < 128; ++k) sum += value(i, k) * value(j + 3, k);
            ASSERT_EQ(s[static_cast<std::size_t>(i * keys + j)], static_cast<float>(sum))
                << keys << ": " << i << ' ' << j;
            p[static_cast<std::size_t>(j)] = sum & 7;
        }
        for (int x = 0; x < dim; ++x) {
            int sum = 1;
            for (int j = 0; j < keys; ++j) sum += p[static_cast<std::size_t>(j)] * value(j + 8, x);
            ASSERT_EQ(o[static_cast<std::size_t>(i * dim + x)], static_cast<float>(sum))
                << dim << ": " << i << ' ' << x;
        }
    }
}

TEST(ptx, wgmma_in_every_shape) {
    PANTILE_NEEDS_DEVICE(90);
    expect_wgmma<__nv_bfloat16, 64, 64>();
    expect_wgmma<__half, 80, 256>();
    expect_wgmma<__nv_bfloat16, 80, 256>();
    expect_wgmma<__half, 112, 128>();
    expect_wgmma<__nv_bfloat16, 128, 64>();
    expect_wgmma<__half, 128, 128>();
    expect_wgmma<__nv_bfloat16, 112, 192>();
    expect_wgmma<__half, 192, 192>();
    expect_wgmma<__half, 256, 64>();
}

/// Numbers of 22 bits: their low part is not zero.
__host__ __device__ float long_number(int row, int column) {
    return static_cast<float>(value(row, column)) + 0x1p-18F * static_cast<float>(row % 16 + 1);
}

template <int keys_>
struct split_tile {
    static constexpr int keys = keys_;
    static constexpr int panels_at_once = keys / 32;
};

/// S = A·Kᵀ and O = A·V, A 64 x `columns` and 64 x `keys` from registers, K and V `keys` x `columns`, split into planes in
/// place, V also transposed. Of each product only the parts that `a_high` and `b_high` name; A of O has the key order of the
/// planes of V.
template <int keys, int columns>
__global__ void wgmma_tf32_kernel(bool a_high, bool b_high, float* scores, float* values) {
    using key_side = key_planes<split_tile<keys>, columns>;
    using value_side = value_planes<split_tile<keys>, columns>;
    constexpr int bytes = tile_bytes(keys, columns, 4);
    extern __shared__ char raw[];
    char* k[2] = {raw + (1024 - ptx::shared_address(raw) % 1024) % 1024, nullptr};
    k[1] = k[0] + bytes;
    char* const v[2] = {k[0] + 2 * bytes, k[0] + 3 * bytes};
    const int l = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int k_place = key_side::lane_place();
    const int v_place = value_side::lane_place();
    for (int i = 0; i < keys * columns / 128; ++i) { // a warp fills what it splits
        const int e = i % 4;
        const int half = i / 4 % 2;
        const int panel = i / 8 % (columns / 32);
        const int group = i / 8 / (columns / 32);
        const int key = group * 32 + warp * 8 + half * 4 + l / 8;
        const int column = panel * 32 + l % 8 * 4 + e;
        *reinterpret_cast<float*>(k[0] + key_side::place(k_place, group, panel, half) + 4 * e) =
            long_number(key + 3, column);
        *reinterpret_cast<float*>(v[0] + value_side::place(v_place, group, panel, half) + 4 * e) =
            long_number(key + 8, column);
    }
    __syncwarp();
    key_side::split(k[0], k[1], k_place);
    value_side::split(v[0], v[1], v_place);
    ptx::fence_async_proxy();
    __syncthreads();
    const int row = warp * 16 + l / 4;
    const auto operand = [&](std::uint32_t(&a)[4], int i, int column) {
        std::uint32_t high;
        std::uint32_t low;
        ptx::split_tf32(long_number(row + i % 2 * 8, column), high, low);
        a[i] = a_high ? high : low;
    };
    float s[keys / 2];
    float o[columns / 2];
    std::uint32_t a[columns / 8][4];
    std::uint32_t p[keys / 8][4];
#pragma unroll
    for (int x = 0; x < columns / 8; ++x) {
#pragma unroll
        for (int i = 0; i < 4; ++i) operand(a[x], i, 8 * x + l % 4 + i / 2 * 4);
    }
#pragma unroll
    for (int x = 0; x < keys / 8; ++x) {
#pragma unroll
        for (int i = 0; i < 4; ++i) operand(p[x], i, 8 * x + l % 4 * 2 + i / 2);
    }
    const std::uint64_t kd = k_major_descriptor(ptx::shared_address(k[b_high ? 0 : 1]));
    const std::uint64_t vd = k_major_descriptor(ptx::shared_address(v[b_high ? 0 : 1]));
    ptx::pin(s);
    ptx::pin(o);
    ptx::wgmma_fence();
#pragma unroll
    for (int x = 0; x < columns / 8; ++x) {
        ptx::wgmma_tf32<keys>::rs(s, a[x], kd + (x / 4 * (keys * 128 >> 4) + (x % 4 * 32 >> 4)), x != 0);
    }
#pragma unroll
    for (int x = 0; x < keys / 8; ++x) {
        ptx::wgmma_tf32<columns>::rs(o, p[x], vd + (x / 4 * (columns * 128 >> 4) + (x % 4 * 32 >> 4)), x != 0);
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::pin(s);
    ptx::pin(o);
#pragma unroll
    for (int i = 0; i < keys / 2; ++i) {
        scores[(row + 8 * (i / 2 % 2)) * keys + i / 4 * 8 + 2 * (l % 4) + i % 2] = s[i];
    }
#pragma unroll
    for (int i = 0; i < columns / 2; ++i) {
        values[(row + 8 * (i / 2 % 2)) * columns + i / 4 * 8 + 2 * (l % 4) + i % 2] = o[i];
    }
}

template <int keys, int columns>
void expect_split_wgmma() {
    const int shared = 4 * tile_bytes(keys, columns, 4) + 1024;
    const auto function = wgmma_tf32_kernel<keys, columns>;
    PANTILE_CUDA_OK(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
    std::vector<double> s(64 * keys);
    std::vector<double> o(64 * columns);
    for (const bool a_high : {false, true}) {
        for (const bool b_high : {false, true}) {
            if (!a_high && !b_high) continue; // the product that is dropped
            const on_gpu<float> scores(std::vector<float>(s.size(), -1000.0F));
            const on_gpu<float> values(std::vector<float>(o.size(), -1000.0F));
            function<<<1, 128, shared>>>(a_high, b_high, scores.data(), values.data());
            PANTILE_CUDA_OK(cudaDeviceSynchronize());
            const auto got_s = scores.values();
            const auto got_o = values.values();
            for (std::size_t n = 0; n < s.size(); ++n) s[n] += static_cast<double>(got_s[n]);
            for (std::size_t n = 0; n < o.size(); ++n) o[n] += static_cast<double>(got_o[n]);
        }
    }
    // Sums of up to 64 products below 25, cut off at each of 8 steps: one tf32 product a pair would be off by 0.002 and
    // more.
    for (int i = 0; i < 64; ++i) {
        for (int j = 0; j < keys; ++j) {
            double sum = 0;
            for (int k = 0; k < columns; ++k) sum += static_cast<double>(long_number(i, k)) * long_number(j + 3, k);
            ASSERT_NEAR(s[static_cast<std::size_t>(i * keys + j)], sum, 5e-4) << i << ' ' << j;
        }
        for (int x = 0; x < columns; ++x) {
            double sum = 0;
            for (int j = 0; j < keys; ++j) sum += static_cast<double>(long_number(i, j)) * long_number(j + 8, x);
            ASSERT_NEAR(o[static_cast<std::size_t>(i * columns + x)], sum, 5e-4) << i << ' ' << x;
        }
    }
}

TEST(ptx, wgmma_of_split_floats) {
    PANTILE_NEEDS_DEVICE(90);
    expect_split_wgmma<32, 32>();
    expect_split_wgmma<32, 64>();
    expect_split_wgmma<64, 32>();
    expect_split_wgmma<64, 64>();
}

// ----------------------------------------------------------------------------------------------------- copy engine

__global__ void copy_kernel(const __grid_constant__ CUtensorMap map, int c0, int c1, int c2, int c3, __half* to) {
    __shared__ alignas(1024) char tile[32 * 128];
    __shared__ ptx::barrier done;
    if (threadIdx.x == 0) {
        ptx::initialise(done, 1);
        ptx::fence_initialised_barriers();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        ptx::prefetch_map(map);
        ptx::arrive_expecting(done, sizeof(tile));
        ptx::copy_box(tile, map, done, c0, c1, c2, c3);
    }
    ptx::wait(done, 0);
    for (int at = static_cast<int>(threadIdx.x); at < 32 * 64; at += static_cast<int>(blockDim.x)) {
        const int row = at / 64;
        const int column = at % 64;
        to[at] = *reinterpret_cast<__half*>(tile + chunk_offset<32>(row, column / 8) + column % 8 * 2);
    }
}

TEST(ptx, copy_engine_swizzles_and_fills_with_zeros) {
    PANTILE_NEEDS_DEVICE(90);
    const index_t batch = 2;
    const index_t heads = 3;
    const index_t length = 50;
    const index_t dim = 72; // the second panel holds 8 columns
    std::vector<__half> numbers(static_cast<std::size_t>(batch * heads * length * dim));
    for (std::size_t n = 0; n < numbers.size(); ++n) numbers[n] = __half(static_cast<float>(n % 2039) + 1.0F);
    const on_gpu<__half> from(numbers);
    const on_gpu<__half> to(std::vector<__half>(32 * 64, __half(-1.0F)));
    const layout bshd = {length * heads * dim, dim, heads * dim};
    const CUtensorMap map = make_tensor_map(from.data(), dtype::fp16, batch, heads, length, dim, bshd, 32);
    for (const int c0 : {0, 64}) {
        for (const int c1 : {0, 18, 32, 49, 64}) {
            copy_kernel<<<1, 64>>>(map, c0, c1, 2, 1, to.data());
            PANTILE_CUDA_OK(cudaDeviceSynchronize());
            const auto got = to.values();
            for (int row = 0; row < 32; ++row) {
                for (int column = 0; column < 64; ++column) {
                    const index_t i = c1 + row;
                    const index_t x = c0 + column;
                    const bool inside = i < length && x < dim;
                    const auto place = static_cast<std::size_t>(bshd.place(1, 2, i) + x);
                    const float expected = inside ? static_cast<float>(numbers[place]) : 0.0F;
                    ASSERT_EQ(static_cast<float>(got[static_cast<std::size_t>(row * 64 + column)]), expected);
                }
            }
        }
    }
}

// --------------------------------------------------------------------------------------------------------- barriers

/// One producer and three consumer warps pass numbers through a ring of two stages, each pausing at times of its own.
__global__ void ring_kernel(int rounds, int* sums) {
    __shared__ ptx::barrier full[2];
    __shared__ ptx::barrier empty[2];
    __shared__ int slot[2];
    if (threadIdx.x == 0) {
        for (int s = 0; s < 2; ++s) {
            ptx::initialise(full[s], 1);
            ptx::initialise(empty[s], 3);
        }
        ptx::fence_initialised_barriers();
    }
    __syncthreads();
    const int warp = static_cast<int>(threadIdx.x) / 32;
    unsigned noise = 12345U + static_cast<unsigned>(warp) * 977U + static_cast<unsigned>(blockIdx.x);
    int sum = 0;
    for (int n = 0; n < rounds; ++n) {
        const auto parity = static_cast<std::uint32_t>(n / 2 % 2);
        noise = noise * 1664525U + 1013904223U;
        if (threadIdx.x % 32 == 0) __nanosleep(noise >> 22);
        if (warp == 0) {
            ptx::wait(empty[n % 2], parity ^ 1);
            if (threadIdx.x == 0) {
                slot[n % 2] = n * n % 1001;
                ptx::arrive(full[n % 2]);
            }
        } else {
            ptx::wait(full[n % 2], parity);
            sum = sum * 3 % 100003 + slot[n % 2];
            __syncwarp();
            if (threadIdx.x % 32 == 0) ptx::arrive(empty[n % 2]);
        }
    }
    if (warp > 0) sums[blockIdx.x * 96 + threadIdx.x - 32] = sum;
}

TEST(ptx, barrier_ring_over_many_wraps) {
    PANTILE_NEEDS_DEVICE(90);
    const int rounds = 101;
    const on_gpu<int> sums(std::vector<int>(64 * 96, -1));
    ring_kernel<<<64, 128>>>(rounds, sums.data());
    PANTILE_CUDA_OK(cudaDeviceSynchronize());
    int expected = 0;
    for (int n = 0; n < rounds; ++n) expected = expected * 3 % 100003 + n * n % 1001;
    for (const int s : sums.values()) ASSERT_EQ(s, expected);
}

} // namespace
} // namespace pantile::inline v0::cuda
