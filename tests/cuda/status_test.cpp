// How a failed call of the CUDA runtime is reported.

#include "status.hpp"

#include <gtest/gtest.h>

#include <string>

namespace pantile::inline v0::cuda {
namespace {

TEST(status, success_is_silent) { EXPECT_NO_THROW(check(cudaSuccess, "cudaMalloc")); }

TEST(status, a_failure_names_the_call_and_has_the_runtime_s_words) {
    try {
        check(cudaErrorMemoryAllocation, "cudaMalloc");
        FAIL();
    } catch (const cuda_error& e) {
        EXPECT_EQ(std::string(e.what()), "pantile: cudaMalloc: out of memory (cudaErrorMemoryAllocation)");
    }
}

// The runtime remembers the last failure of a thread. It may be one of the caller's that the caller has not looked at.
TEST(status, what_the_runtime_remembers_is_left_alone) {
    cudaGetLastError();
    if (cudaGetLastError() != cudaSuccess) GTEST_SKIP() << "without a driver the runtime remembers nothing else";
    const cudaError_t stale = cudaSetDevice(-1);
    ASSERT_NE(stale, cudaSuccess);
    EXPECT_NO_THROW(check(cudaSuccess, "cudaMalloc"));
    EXPECT_THROW(check(cudaErrorMemoryAllocation, "cudaMalloc"), cuda_error);
    EXPECT_EQ(cudaGetLastError(), stale);
}

} // namespace
} // namespace pantile::inline v0::cuda
