// pantile's device calls behind a C interface, so that a script can time them in turn with other libraries in one process.

#include <pantile/cuda.hpp>

#include <exception>
#include <string>

#include <cuda_runtime_api.h>

namespace {

using pantile::bhsd;
using pantile::device_options;
using pantile::index_t;
using pantile::on_device;

template <class T>
void forward(const void* q, const void* k, const void* v, void* out, const index_t* sizes,
             const device_options& options, cudaStream_t stream) {
    const auto [batch, q_heads, kv_heads, q_len, k_len, dim] =
        std::array{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]};
    pantile::attention(on_device(bhsd(static_cast<const T*>(q), batch, q_heads, q_len, dim)),
                       on_device(bhsd(static_cast<const T*>(k), batch, kv_heads, k_len, dim)),
                       on_device(bhsd(static_cast<const T*>(v), batch, kv_heads, k_len, dim)),
                       on_device(bhsd(static_cast<T*>(out), batch, q_heads, q_len, dim)), stream, options);
}

std::string message; // of the last failure

/// Memory for every call to work in, as the other libraries have it from their caching allocators; calls come on one stream.
std::span<std::byte> workspace() {
    static const std::span<std::byte> kept = [] {
        constexpr std::size_t bytes = std::size_t{256} << 20;
        void* data = nullptr;
        if (cudaMalloc(&data, bytes) != cudaSuccess) return std::span<std::byte>{};
        return std::span<std::byte>{static_cast<std::byte*>(data), bytes};
    }();
    return kept;
}

} // namespace

/// Dense (batch, heads, length, dim) tensors in device memory; sizes: batch, q heads, kv heads, q_len, k_len, dim. type: 0
/// fp16, 1 bf16, 2 fp32, 3 fp64. kernel: a number of pantile::cuda_kernel. softcap 0, slopes and sinks (fp32, one a query head) null:
/// without. Returns null, or what went wrong.
extern "C" const char* pantile_bench_forward_with(int type, const void* q, const void* k, const void* v, void* out,
                                                  const index_t* sizes, int causal, int kernel, double softcap,
                                                  const float* slopes, const float* sinks, void* stream) {
    try {
        device_options options;
        options.softcap = softcap;
        options.slopes = slopes;
        options.sinks = sinks;
        if (causal != 0) options.mask = pantile::causal();
        options.kernel = static_cast<pantile::cuda_kernel>(kernel);
        options.workspace = workspace();
        const auto s = static_cast<cudaStream_t>(stream);
        if (type == 0) forward<pantile::float16>(q, k, v, out, sizes, options, s);
        if (type == 1) forward<pantile::bfloat16>(q, k, v, out, sizes, options, s);
        if (type == 2) forward<float>(q, k, v, out, sizes, options, s);
        if (type == 3) forward<double>(q, k, v, out, sizes, options, s);
    } catch (const std::exception& e) {
        message = e.what();
        return message.c_str();
    }
    return nullptr;
}

/// The same without features.
extern "C" const char* pantile_bench_forward(int type, const void* q, const void* k, const void* v, void* out,
                                             const index_t* sizes, int causal, int kernel, void* stream) {
    return pantile_bench_forward_with(type, q, k, v, out, sizes, causal, kernel, 0.0, nullptr, nullptr, stream);
}
