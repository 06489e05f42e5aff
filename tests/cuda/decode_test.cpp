// Few query rows over many keys: masks, splits, and the workspace that the splits are merged in.

#include "judge.hpp"

#include <rapidcheck/gtest.h>

#include <cstdint>
#include <thread>

namespace pantile::test {
namespace {

attention_case few_rows(index_t group, index_t q_len, index_t k_len, index_t dim, bool causal) {
    attention_case c = case_of(q_len, k_len, dim, causal);
    c.q_heads = c.kv_heads * group;
    return c;
}

gpu_call decode_in(index_t splits) {
    gpu_call call;
    call.kernel = cuda_kernel::decode;
    call.key_splits = splits;
    return call;
}

TEST(decode, lengths_around_the_tile_edges_in_every_number_of_splits) {
    PANTILE_NEEDS_DEVICE(80);
    for (const index_t k_len : {1, 15, 16, 17, 64, 100, 700}) {
        for (const index_t splits : {1, 2, 5, 40}) {
            for (const bool causal : {false, true}) {
                const attention_case c = few_rows(4, 2, k_len, 128, causal);
                const auto in = make_inputs(c, dtype::bf16, data_kind::normal, 41);
                EXPECT_EQ(judge(c, in, dtype::bf16, dtype::bf16, decode_in(splits)), "")
                    << k_len << " keys in " << splits << " splits, causal " << causal;
            }
        }
    }
}

TEST(decode, every_head_dim_and_number_of_rows) {
    PANTILE_NEEDS_DEVICE(80);
    for (const index_t dim : {8, 64, 72, 128, 200, 256}) {
        for (const auto& [group, q_len] :
             {std::pair<index_t, index_t>{1, 1}, {3, 1}, {8, 2}, {16, 1}, {1, 16}, {17, 1}}) {
            attention_case c = few_rows(group, q_len, 333, dim, true);
            if (dim == 128) c.value_dim = 64;
            if (dim == 72) c.scale = -c.scale;
            for (const dtype out : {dtype::f16, dtype::f32}) {
                const auto in = make_inputs(c, dtype::f16, data_kind::normal, 43);
                if (out == dtype::f16) {
                    EXPECT_EQ(judge(c, in, dtype::f16, out, decode_in(3)), "") << dim << ' ' << group << ' ' << q_len;
                } else { // the same O, not yet rounded
                    const gpu_result wide = forward_on_gpu(c, in, dtype::f16, dtype::f32, decode_in(3));
                    const gpu_result narrow = forward_on_gpu(c, in, dtype::f16, dtype::f16, decode_in(3));
                    EXPECT_EQ(rounded(wide.out, dtype::f16).data, narrow.out.data);
                    EXPECT_EQ(wide.lse.data, narrow.lse.data);
                }
            }
        }
    }
}

// Windows, offsets and key lengths leave whole splits, or whole rows, without keys.
void any_mask_in_any_layout() {
    const auto below = [](index_t n) { return *rc::gen::inRange<index_t>(0, n); };
    attention_case c = few_rows(1 + below(5), 1 + below(3), 1 + below(600), 8 * (1 + below(32)), false);
    c.value_dim = *rc::gen::element<index_t>(index_t{c.head_dim}, 8, 96);
    if (below(2) == 0) c.left = below(300);
    if (below(2) == 0) c.right = below(100);
    c.align = *rc::gen::element(anchor::bottom_right, anchor::top_left, anchor::explicit_offset);
    if (c.align == anchor::explicit_offset) c.offset = below(900) - 150;
    if (below(2) == 0) c.key_lengths = {below(c.k_len + 1), below(c.k_len + 1)};
    gpu_call call = decode_in(below(50));
    call.inputs = *rc::gen::elementOf(device_inputs);
    call.outputs = *rc::gen::elementOf(device_outputs);
    const dtype t = *rc::gen::element(dtype::f16, dtype::bf16);
    const auto in = make_inputs(c, t, data_kind::normal, static_cast<std::uint64_t>(below(1 << 20)));
    const std::string fault = judge(c, in, t, t, call);
    if (!fault.empty()) RC_FAIL(fault);
}

TEST(decode, any_mask_in_any_layout) {
    PANTILE_NEEDS_DEVICE(80);
    EXPECT_TRUE(rc::check(any_mask_in_any_layout));
}

/// One decode call of 4 kv heads, again and again on the same tensors.
class repeated_decode {
  public:
    explicit repeated_decode(index_t k_len)
        : c_(few_rows(4, 1, k_len, 128, false)), q_(bits(c_.q_extent(), 1)), k_(bits(c_.k_extent(), 2)),
          v_(bits(c_.v_extent(), 3)), out_(std::vector<float>(elements(c_.out_extent()))) {}

    void operator()(cudaStream_t stream, index_t splits, std::span<std::byte> workspace) const {
        attention(q(), k(), v(), on_device(bhsd(out_.data(), c_.batch, c_.q_heads, c_.q_len, c_.value_dim)), stream,
                  options(splits, workspace));
    }
    [[nodiscard]] index_t workspace_bytes(index_t splits) const {
        return explain(q(), k(), v(), options(splits, {})).workspace_bytes;
    }
    void poison() const {
        ASSERT_EQ(cudaSuccess, cudaMemset(out_.data(), 0xff, elements(c_.out_extent()) * sizeof(float)));
    }
    /// Of the last call that its stream has finished.
    [[nodiscard]] std::vector<float> result() const { return out_.values(); }

  private:
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
    static device_options options(index_t splits, std::span<std::byte> workspace) {
        device_options o;
        o.key_splits = splits;
        o.workspace = workspace;
        return o;
    }
    attention_case c_;
    on_gpu<bfloat16> q_, k_, v_;
    on_gpu<float> out_;
};

std::span<std::byte> all_of(const on_gpu<std::byte>& memory, index_t bytes) {
    return {memory.data(), static_cast<std::size_t>(bytes)};
}

// The last block of a kv head merges; who that is, and what the workspace held, must not show.
TEST(decode, a_workspace_may_hold_anything) {
    PANTILE_NEEDS_DEVICE(80);
    const repeated_decode long_keys(9000);
    const repeated_decode short_keys(700);
    const index_t bytes = core::max(long_keys.workspace_bytes(60), short_keys.workspace_bytes(60));
    const on_gpu<std::byte> memory(std::vector<std::byte>(static_cast<std::size_t>(bytes)));
    for (const repeated_decode* call : {&long_keys, &short_keys}) {
        for (const index_t splits : {2, 7, 33, 60}) {
            std::vector<float> first;
            for (int n = 0; n < 300; ++n) {
                // 0, ones, what the last call left, and its parts moved to where the counters stand.
                if (n % 4 < 2) {
                    ASSERT_EQ(cudaSuccess, cudaMemset(memory.data(), n % 4 == 0 ? 0 : 0xff, 4096));
                } else if (n % 4 == 3) {
                    ASSERT_EQ(cudaSuccess,
                              cudaMemcpy(memory.data(), memory.data() + 4096, 2048, cudaMemcpyDeviceToDevice));
                }
                call->poison();
                (*call)(nullptr, splits, all_of(memory, bytes));
                const std::vector<float> now = call->result();
                if (n == 0) first = now;
                ASSERT_EQ(now, first) << "call " << n << ", " << splits << " splits";
            }
        }
    }
}

// Without a wait between them, and with both calls' parts in the same memory.
TEST(decode, calls_may_follow_each_other_at_once) {
    PANTILE_NEEDS_DEVICE(80);
    const repeated_decode a(5000);
    const repeated_decode b(1200);
    const index_t bytes = core::max(a.workspace_bytes(33), b.workspace_bytes(12));
    const on_gpu<std::byte> memory(std::vector<std::byte>(static_cast<std::size_t>(bytes), std::byte{0x5a}));
    a(nullptr, 33, all_of(memory, bytes));
    const std::vector<float> first_a = a.result();
    b(nullptr, 12, all_of(memory, bytes));
    const std::vector<float> first_b = b.result();
    for (int round = 0; round < 20; ++round) {
        a.poison();
        b.poison();
        for (int n = 0; n < 25; ++n) {
            a(nullptr, 33, all_of(memory, bytes));
            b(nullptr, 12, all_of(memory, bytes));
        }
        ASSERT_EQ(a.result(), first_a);
        ASSERT_EQ(b.result(), first_b);
    }
}

TEST(decode, two_threads_on_their_own_streams) {
    PANTILE_NEEDS_DEVICE(80);
    const auto work = [](bool offers_workspace) {
        cudaStream_t stream{};
        ASSERT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        const repeated_decode call(6000);
        const index_t bytes = call.workspace_bytes(33);
        const on_gpu<std::byte> memory(std::vector<std::byte>(static_cast<std::size_t>(bytes), std::byte{0xa5}));
        const auto workspace = offers_workspace ? all_of(memory, bytes) : std::span<std::byte>{};
        call(stream, 33, workspace);
        ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
        const std::vector<float> first = call.result();
        for (int round = 0; round < 20; ++round) {
            for (int n = 0; n < 25; ++n) call(stream, 33, workspace);
            ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
            ASSERT_EQ(call.result(), first);
        }
        ASSERT_EQ(cudaSuccess, cudaStreamDestroy(stream));
    };
    std::thread first(work, true);
    std::thread second(work, false);
    first.join();
    second.join();
}

TEST(decode, a_captured_call_may_run_again) {
    PANTILE_NEEDS_DEVICE(80);
    const repeated_decode call(6000);
    const index_t bytes = call.workspace_bytes(33);
    const on_gpu<std::byte> memory(std::vector<std::byte>(static_cast<std::size_t>(bytes), std::byte{0xa5}));
    call(nullptr, 33, all_of(memory, bytes));
    const std::vector<float> expected = call.result();
    cudaStream_t stream{};
    cudaGraph_t graph{};
    cudaGraphExec_t ready{};
    ASSERT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    ASSERT_EQ(cudaSuccess, cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    call(stream, 33, all_of(memory, bytes));
    ASSERT_EQ(cudaSuccess, cudaStreamEndCapture(stream, &graph));
    ASSERT_EQ(cudaSuccess, cudaGraphInstantiate(&ready, graph, 0));
    for (int n = 0; n < 50; ++n) {
        call.poison();
        ASSERT_EQ(cudaSuccess, cudaDeviceSynchronize());
        ASSERT_EQ(cudaSuccess, cudaGraphLaunch(ready, stream));
        ASSERT_EQ(cudaSuccess, cudaGraphLaunch(ready, stream));
        ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
        ASSERT_EQ(call.result(), expected) << "launch " << n;
    }
    ASSERT_EQ(cudaSuccess, cudaGraphExecDestroy(ready));
    ASSERT_EQ(cudaSuccess, cudaGraphDestroy(graph));
    ASSERT_EQ(cudaSuccess, cudaStreamDestroy(stream));
}

} // namespace
} // namespace pantile::test
