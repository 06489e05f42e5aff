#include <cstring>
#include <vector>

#include <cuda_runtime_api.h>

#include <pantile/cuda.hpp>
#include <support/library_mask.hpp>

#include "backend.hpp"

namespace pantile::conformance {
namespace {

/// Device memory, or a cuda_error.
template <class T>
class device_memory {
  public:
    explicit device_memory(const T* from, std::size_t count) : bytes_(count * sizeof(T)) {
        require(cudaMalloc(reinterpret_cast<void**>(&data_), bytes_ + 1), "cudaMalloc");
        if (from != nullptr) require(cudaMemcpy(data_, from, bytes_, cudaMemcpyHostToDevice), "cudaMemcpy");
    }
    device_memory(const device_memory&) = delete;
    device_memory& operator=(const device_memory&) = delete;
    ~device_memory() { cudaFree(data_); }
    [[nodiscard]] T* data() const { return data_; }
    void copy_to(T* to) const { require(cudaMemcpy(to, data_, bytes_, cudaMemcpyDeviceToHost), "cudaMemcpy"); }

  private:
    static void require(cudaError_t status, const char* call) {
        if (status != cudaSuccess) throw cuda_error(std::string(call) + ": " + cudaGetErrorString(status));
    }
    std::size_t bytes_;
    T* data_ = nullptr;
};

/// A stored tensor's memory on the device, gaps and all.
template <class T>
class mirrored {
  public:
    explicit mirrored(test::stored<T>& host)
        : host_(host), origin_(host.view().data - host.memory().data()),
          memory_(host.memory().data(), host.memory().size()) {}
    [[nodiscard]] device_view<T> view() const {
        const tensor_view<T> v = host_.view();
        return {memory_.data() + origin_, v.extent, v.stride};
    }
    [[nodiscard]] device_row_view<T> rows() const {
        const row_view<T> v = host_.rows();
        return {memory_.data() + origin_, v.extent, v.stride};
    }
    void download() const { memory_.copy_to(host_.view().data - origin_); }

  private:
    test::stored<T>& host_;
    std::ptrdiff_t origin_;
    device_memory<T> memory_;
};

device_options options_of(const attention_case& c) {
    device_options o;
    o.mask = test::mask_of(c);
    o.scale = c.scale;
    o.softcap = c.softcap;
    return o;
}

template <class T>
results run(const attention_case& c, const attention_inputs& in, layout l) {
    using row = std::conditional_t<std::is_same_v<T, double>, double, float>;
    test::stored<T> q(in.q, l);
    test::stored<T> k(in.k, l);
    test::stored<T> v(in.v, l);
    test::stored<T> out(c.out_extent(), l);
    test::stored<row> lse(c.lse_extent(), layout::bhsd);
    const mirrored<T> gq(q);
    const mirrored<T> gk(k);
    const mirrored<T> gv(v);
    const mirrored<T> gout(out);
    const mirrored<row> glse(lse);
    const device_memory<index_t> lengths(c.key_lengths.data(), c.key_lengths.size());
    device_options o = options_of(c);
    if (!c.key_lengths.empty()) o.key_lengths = lengths.data();
    const device_memory<double> slopes(c.slopes.data(), c.slopes.size());
    const device_memory<double> sinks(c.sinks.data(), c.sinks.size());
    if (!c.slopes.empty()) o.slopes = {slopes.data(), c.slopes.size(), memory::device};
    if (!c.sinks.empty()) o.sinks = {sinks.data(), c.sinks.size(), memory::device};
    attention(device_view<const T>(gq.view()), gk.view(), gv.view(), gout.view(), glse.rows(), nullptr, o);
    gout.download(); // waits for the call
    glse.download();
    results r;
    r.out = out.values();
    r.lse = lse.values();
    if constexpr (sizeof(T) == 2) { // the matrix unit of 16-bit calls
        r.rounding = std::is_same_v<T, float16> ? test::p_rounding::to_float16 : test::p_rounding::to_bfloat16;
        r.sums = test::score_sums::cut_off;
    }
    if constexpr (std::is_same_v<T, float>) r.sums = test::score_sums::three_tf32;
    return r;
}

} // namespace

results run_on_cuda(const attention_case& c, const attention_inputs& in, dtype t, layout l, bool backward) {
    if (backward) throw unsupported("pantile: the CUDA machine has no backward pass");
    switch (t) {
    case dtype::fp64:
        return run<double>(c, in, l);
    case dtype::fp32:
        return run<float>(c, in, l);
    case dtype::fp16:
        return run<float16>(c, in, l);
    case dtype::bf16:
        return run<bfloat16>(c, in, l);
    case dtype::fp8:
        break;
    }
    return {};
}

} // namespace pantile::conformance
