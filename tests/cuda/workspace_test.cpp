// The workspace of a call, which its blocks share and nobody zeroes: what it held before must not show, nor who came first.

#include "judge.hpp"

#include <ostream>
#include <string>
#include <thread>

namespace pantile::test {
namespace {

struct setting {
    std::string name;
    cuda_kernel kernel;
    index_t heads;
    index_t q_len;
    index_t k_len;
    index_t key_splits;
    int needed; ///< compute capability
};

std::ostream& operator<<(std::ostream& os, const setting& s) { return os << s.name; }

/// One call of two batches, four query heads a kv head, causal, again and again on the same tensors.
class repeated_call {
  public:
    explicit repeated_call(const setting& s)
        : setting_(s), c_(case_for(s)), q_(bits(c_.q_extent(), 1)), k_(bits(c_.k_extent(), 2)),
          v_(bits(c_.v_extent(), 3)), out_(std::vector<float>(elements(c_.out_extent()))),
          memory_(std::vector<std::byte>(bytes(), std::byte{0x5a})) {}

    void operator()(cudaStream_t stream, bool offers_workspace = true) const {
        attention(q(), k(), v(), on_device(bhsd(out_.data(), c_.batch, c_.q_heads, c_.q_len, c_.value_dim)), stream,
                  options(offers_workspace ? std::span<std::byte>{memory_.data(), bytes()} : std::span<std::byte>{}));
    }
    /// The result of one call that has the device to itself.
    [[nodiscard]] std::vector<float> alone() const {
        poison();
        (*this)(nullptr);
        return result();
    }
    void poison() const {
        EXPECT_EQ(cudaSuccess, cudaMemset(out_.data(), 0xff, elements(c_.out_extent()) * sizeof(float)));
    }
    [[nodiscard]] std::vector<float> result() const {
        EXPECT_EQ(cudaSuccess, cudaDeviceSynchronize()) << cudaGetErrorString(cudaGetLastError());
        return out_.values();
    }
    [[nodiscard]] std::byte* memory() const { return memory_.data(); }
    [[nodiscard]] std::size_t bytes() const {
        return static_cast<std::size_t>(explain(q(), k(), v(), options({})).workspace_bytes);
    }

  private:
    static attention_case case_for(const setting& s) {
        attention_case c = case_of(s.q_len, s.k_len, 128, true);
        c.q_heads = s.heads;
        c.kv_heads = s.heads / 4;
        return c;
    }
    static std::size_t elements(const extents& e) { return static_cast<std::size_t>(e[0] * e[1] * e[2] * e[3]); }
    static std::vector<bfloat16> bits(const extents& e, unsigned seed) {
        std::vector<bfloat16> all;
        for (std::size_t n = 0; n < elements(e); ++n) {
            seed = seed * 1664525U + 1013904223U;
            all.emplace_back(static_cast<float>(seed >> 8) / static_cast<float>(1 << 23) - 1.0F);
        }
        return all;
    }
    [[nodiscard]] device_view<const bfloat16> q() const {
        return on_device(bhsd<const bfloat16>(q_.data(), c_.batch, c_.q_heads, c_.q_len, c_.head_dim));
    }
    [[nodiscard]] device_view<const bfloat16> k() const {
        return on_device(bhsd<const bfloat16>(k_.data(), c_.batch, c_.kv_heads, c_.k_len, c_.head_dim));
    }
    [[nodiscard]] device_view<const bfloat16> v() const {
        return on_device(bhsd<const bfloat16>(v_.data(), c_.batch, c_.kv_heads, c_.k_len, c_.value_dim));
    }
    [[nodiscard]] device_options options(std::span<std::byte> workspace) const {
        device_options o = options_of(c_, {});
        o.kernel = setting_.kernel;
        o.key_splits = setting_.key_splits;
        o.workspace = workspace;
        return o;
    }

    setting setting_;
    attention_case c_;
    on_gpu<bfloat16> q_, k_, v_;
    on_gpu<float> out_;
    on_gpu<std::byte> memory_;
};

class workspace : public testing::TestWithParam<setting> {};
INSTANTIATE_TEST_SUITE_P(of, workspace,
                         testing::Values(setting{"2_splits", cuda_kernel::decode, 8, 1, 700, 2, 80},
                                         setting{"33_splits", cuda_kernel::decode, 8, 1, 9000, 33, 80},
                                         setting{"60_splits", cuda_kernel::decode, 8, 2, 3000, 60, 80},
                                         setting{"a_counter_of_row_tiles", cuda_kernel::sm90, 24, 600, 650, 0, 90}),
                         [](const auto& info) { return info.param.name; });

TEST_P(workspace, may_hold_anything) {
    PANTILE_NEEDS_DEVICE(GetParam().needed);
    const repeated_call call(GetParam());
    const std::size_t bytes = call.bytes();
    ASSERT_GE(bytes, 256U);
    const std::vector<float> first = call.alone();
    for (int n = 0; n < 300; ++n) {
        // Zeros, ones, what the last call left, and the end of that moved to where counters stand.
        if (n % 4 < 2) {
            ASSERT_EQ(cudaSuccess, cudaMemset(call.memory(), n % 4 == 0 ? 0 : 0xff, bytes));
        } else if (n % 4 == 3) {
            ASSERT_EQ(cudaSuccess,
                      cudaMemcpy(call.memory(), call.memory() + bytes - 128, 128, cudaMemcpyDeviceToDevice));
        }
        ASSERT_EQ(call.alone(), first) << "call " << n;
    }
}

// Without a wait between them.
TEST_P(workspace, serves_call_after_call) {
    PANTILE_NEEDS_DEVICE(GetParam().needed);
    const repeated_call call(GetParam());
    const std::vector<float> first = call.alone();
    for (int round = 0; round < 20; ++round) {
        call.poison();
        for (int n = 0; n < 50; ++n) call(nullptr);
        ASSERT_EQ(call.result(), first) << "round " << round;
    }
}

TEST_P(workspace, is_its_stream_s_own) {
    PANTILE_NEEDS_DEVICE(GetParam().needed);
    const auto work = [](bool offers_workspace) {
        cudaStream_t stream{};
        ASSERT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        const repeated_call call(GetParam());
        const std::vector<float> first = call.alone();
        for (int round = 0; round < 20; ++round) {
            for (int n = 0; n < 25; ++n) call(stream, offers_workspace);
            ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
            ASSERT_EQ(call.result(), first) << "round " << round;
        }
        ASSERT_EQ(cudaSuccess, cudaStreamDestroy(stream));
    };
    std::thread one(work, true);
    std::thread other(work, false);
    one.join();
    other.join();
}

TEST_P(workspace, serves_a_captured_call_again_and_again) {
    PANTILE_NEEDS_DEVICE(GetParam().needed);
    const repeated_call call(GetParam());
    const std::vector<float> expected = call.alone();
    cudaStream_t stream{};
    cudaGraph_t graph{};
    cudaGraphExec_t ready{};
    ASSERT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    ASSERT_EQ(cudaSuccess, cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    call(stream);
    ASSERT_EQ(cudaSuccess, cudaStreamEndCapture(stream, &graph));
    ASSERT_EQ(cudaSuccess, cudaGraphInstantiate(&ready, graph, 0));
    for (int n = 0; n < 50; ++n) {
        call.poison();
        ASSERT_EQ(cudaSuccess, cudaDeviceSynchronize());
        ASSERT_EQ(cudaSuccess, cudaGraphLaunch(ready, stream));
        ASSERT_EQ(cudaSuccess, cudaGraphLaunch(ready, stream));
        ASSERT_EQ(call.result(), expected) << "launch " << n;
    }
    ASSERT_EQ(cudaSuccess, cudaGraphExecDestroy(ready));
    ASSERT_EQ(cudaSuccess, cudaGraphDestroy(graph));
    ASSERT_EQ(cudaSuccess, cudaStreamDestroy(stream));
}

} // namespace
} // namespace pantile::test
