#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

namespace pantile::test {

/// Ends the test as skipped where no GPU of at least this compute capability (10 · major + minor) is.
#define PANTILE_NEEDS_DEVICE(capability)                                                                               \
    if (::pantile::test::compute_capability() < (capability)) {                                                        \
        GTEST_SKIP() << "needs a GPU of compute capability " << (capability) / 10.0 << " or later; this machine has "  \
                     << (::pantile::test::compute_capability() == 0                                                    \
                             ? std::string("none")                                                                     \
                             : std::to_string(::pantile::test::compute_capability()) + " / 10");                       \
    }

/// Of device 0; 0 without one.
inline int compute_capability() {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) return 0;
    int major = 0;
    int minor = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) != cudaSuccess) return 0;
    if (cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0) != cudaSuccess) return 0;
    return 10 * major + minor;
}

#define PANTILE_CUDA_OK(call) ASSERT_EQ(cudaSuccess, (call)) << cudaGetErrorString(cudaGetLastError())

/// Device memory that starts with the given bytes, for work on any stream: a copy from pageable memory may return before its
/// last bytes have arrived, and streams that do not block know nothing of it.
template <class T>
class on_gpu {
  public:
    explicit on_gpu(const std::vector<T>& from) : count_(from.size()) {
        EXPECT_EQ(cudaSuccess, cudaMalloc(reinterpret_cast<void**>(&data_), bytes() + 1));
        EXPECT_EQ(cudaSuccess, cudaMemcpy(data_, from.data(), bytes(), cudaMemcpyHostToDevice));
        EXPECT_EQ(cudaSuccess, cudaStreamSynchronize(cudaStreamLegacy));
    }
    on_gpu(const on_gpu&) = delete;
    on_gpu& operator=(const on_gpu&) = delete;
    ~on_gpu() { cudaFree(data_); }
    [[nodiscard]] T* data() const { return data_; }
    [[nodiscard]] std::vector<T> values() const {
        std::vector<T> v(count_);
        copy_to(v.data());
        return v;
    }
    void copy_to(T* to) const { EXPECT_EQ(cudaSuccess, cudaMemcpy(to, data_, bytes(), cudaMemcpyDeviceToHost)); }

  private:
    [[nodiscard]] std::size_t bytes() const { return count_ * sizeof(T); }
    std::size_t count_;
    T* data_ = nullptr;
};

} // namespace pantile::test
