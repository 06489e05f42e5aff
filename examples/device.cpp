// Attention on an NVIDIA GPU: device memory, a stream, the same shapes and options; then the same call on the CPU to compare.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <random>
#include <stdexcept>
#include <vector>

#include <cuda_runtime_api.h>
#include <pantile/attention.hpp>
#include <pantile/cuda.hpp>

namespace {

void check(cudaError_t status) {
    if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}

/// Device memory with a copy of `host`.
template <class T>
class device_memory {
  public:
    explicit device_memory(const std::vector<T>& host) {
        check(cudaMalloc(&data_, host.size() * sizeof(T)));
        check(cudaMemcpy(data_, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
    }
    device_memory(const device_memory&) = delete;
    device_memory& operator=(const device_memory&) = delete;
    ~device_memory() { (void)cudaFree(data_); }
    [[nodiscard]] T* data() const { return static_cast<T*>(data_); }

  private:
    void* data_ = nullptr;
};

int run() {
    // Batch 1, 1000 tokens, 8 query heads over 2 key/value heads, head dim 128, laid out as a projection leaves them.
    const pantile::index_t n = 1000;
    const pantile::index_t d = 128;
    std::mt19937 engine(1);
    std::normal_distribution<float> normal;
    const auto random = [&](pantile::index_t heads) {
        std::vector<pantile::bfloat16> x(static_cast<std::size_t>(n * heads * d));
        std::generate(x.begin(), x.end(), [&] { return pantile::bfloat16(normal(engine)); });
        return x;
    };
    const auto q = random(8);
    const auto k = random(2);
    const auto v = random(2);
    std::vector<float> out(q.size()), expected(q.size());

    const device_memory dq(q), dk(k), dv(v);
    const device_memory dout(out);
    const auto view = [&](const auto* data, pantile::index_t heads) { return pantile::bshd(data, 1, n, heads, d); };
    using pantile::on_device;
    const auto device_q = on_device(view(dq.data(), 8));
    const auto device_k = on_device(view(dk.data(), 2));
    const auto device_v = on_device(view(dv.data(), 2));

    cudaStream_t stream = nullptr;
    check(cudaStreamCreate(&stream));
    pantile::attention(device_q, device_k, device_v, on_device(pantile::bshd(dout.data(), 1, n, 8, d)), stream,
                       {.mask = pantile::causal()});
    check(cudaMemcpyAsync(out.data(), dout.data(), out.size() * sizeof(float), cudaMemcpyDeviceToHost, stream));
    check(cudaStreamSynchronize(stream));
    check(cudaStreamDestroy(stream));
    std::printf("%s\n", to_string(explain(device_q, device_k, device_v, {.mask = pantile::causal()})).c_str());

    pantile::attention(view(q.data(), 8), view(k.data(), 2), view(v.data(), 2),
                       pantile::bshd(expected.data(), 1, n, 8, d), {.mask = pantile::causal()});
    float worst = 0;
    for (std::size_t i = 0; i < out.size(); ++i) worst = std::max(worst, std::abs(out[i] - expected[i]));
    std::printf("largest difference between GPU and CPU: %.2g (bf16 inputs, fp32 out)\n", double{worst});
    return worst < 0.02F ? 0 : 1;
}

} // namespace

int main() {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::printf("device: no NVIDIA GPU here\n");
        return 77; // ctest takes it for "skipped"
    }
    try {
        return run();
    } catch (const std::exception& e) {
        std::fprintf(stderr, "device: %s\n", e.what());
        return 1;
    }
}
