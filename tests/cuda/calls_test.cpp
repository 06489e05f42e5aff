// What calls may do to one another and to memory: races, streams, far offsets.

#include "judge.hpp"

#include <cfenv>
#include <thread>

namespace pantile::test {
namespace {

/// How many of `count` calls on the same inputs give other bits than the first. Each result is poisoned first.
template <class T>
int calls_that_differ(const attention_case& c, const gpu_call& call, int count) {
    const auto in = make_inputs(c, std::is_same_v<T, double> ? dtype::fp64 : dtype::bf16, data_kind::normal, 29);
    stored<T> q(in.q, layout::bshd);
    stored<T> k(in.k, layout::bshd);
    stored<T> v(in.v, layout::bshd);
    const uploaded<T> gq(q, 0);
    const uploaded<T> gk(k, 0);
    const uploaded<T> gv(v, 0);
    const auto elements = static_cast<std::size_t>(c.batch * c.q_heads * c.q_len * c.value_dim);
    const on_gpu<T> out(std::vector<T>(elements, T(-7.0F)));
    const auto bits = [&] {
        EXPECT_EQ(cudaSuccess, cudaMemset(out.data(), 0xff, elements * sizeof(T)));
        attention(device_view<const T>(gq.view()), gk.view(), gv.view(),
                  on_device(bhsd(out.data(), c.batch, c.q_heads, c.q_len, c.value_dim)), nullptr, options_of(c, call));
        std::vector<unsigned char> all(elements * sizeof(T));
        EXPECT_EQ(cudaSuccess, cudaMemcpy(all.data(), out.data(), all.size(), cudaMemcpyDeviceToHost));
        return all;
    };
    const auto first = bits();
    int different = 0;
    for (int n = 1; n < count; ++n) different += bits() != first ? 1 : 0;
    return different;
}

// One launch's blocks and warps meet in ever new orders; a missing barrier shows as bits that change.
TEST(forward_races, a_thousand_calls_give_the_same_bits) {
    PANTILE_NEEDS_DEVICE(80);
    struct setting {
        dtype type;
        cuda_kernel kernel;
        index_t q_len;
        index_t key_splits;
    };
    for (const setting& s : {setting{dtype::bf16, cuda_kernel::sm90, 520, 0},
                             {dtype::bf16, cuda_kernel::portable, 520, 0},
                             {dtype::bf16, cuda_kernel::decode, 2, 7},
                             {dtype::bf16, cuda_kernel::decode, 20, 7}, // more rows than fit one tile of 16
                             {dtype::fp32, cuda_kernel::sm90, 520, 0},
                             {dtype::fp32, cuda_kernel::portable, 150, 0},
                             {dtype::fp64, cuda_kernel::sm90, 520, 0},
                             {dtype::fp64, cuda_kernel::portable, 150, 3}}) {
        if (s.kernel == cuda_kernel::sm90 && compute_capability() != 90) continue;
        const attention_case c = case_of(s.q_len, 700, 128, true);
        gpu_call call;
        call.kernel = s.kernel;
        call.key_splits = s.key_splits;
        EXPECT_EQ(s.type == dtype::fp64   ? calls_that_differ<double>(c, call, 1000)
                  : s.type == dtype::fp32 ? calls_that_differ<float>(c, call, 1000)
                                          : calls_that_differ<bfloat16>(c, call, 1000),
                  0)
            << name(s.type) << ' ' << s.q_len;
    }
}

TEST(forward_streams, two_threads_on_their_own_streams) {
    PANTILE_NEEDS_DEVICE(80);
    const attention_case c = case_of(300, 1500, 128, true);
    const auto in = make_inputs(c, dtype::bf16, data_kind::normal, 19);
    std::vector<bfloat16> bits[3];
    for (int n = 0; n < 3; ++n) {
        const tensor<double>& from = n == 0 ? in.q : n == 1 ? in.k : in.v;
        for (const double x : from.data) bits[n].emplace_back(static_cast<float>(x));
    }
    const on_gpu<bfloat16> q(bits[0]);
    const on_gpu<bfloat16> k(bits[1]);
    const on_gpu<bfloat16> v(bits[2]);
    const gpu_result expected = forward_on_gpu(c, in, dtype::bf16, dtype::fp32, {});
    const auto work = [&] {
        cudaStream_t stream{};
        ASSERT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        const on_gpu<float> out(std::vector<float>(expected.out.data.size(), -1.0F));
        for (int i = 0; i < 20; ++i) {
            device_options o;
            o.mask = causal();
            o.key_splits = 0;
            attention(on_device(bhsd<const bfloat16>(q.data(), c.batch, c.q_heads, c.q_len, c.head_dim)),
                      on_device(bhsd<const bfloat16>(k.data(), c.batch, c.kv_heads, c.k_len, c.head_dim)),
                      on_device(bhsd<const bfloat16>(v.data(), c.batch, c.kv_heads, c.k_len, c.head_dim)),
                      on_device(bhsd(out.data(), c.batch, c.q_heads, c.q_len, c.head_dim)), stream, o);
        }
        ASSERT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
        const std::vector<float> got = out.values();
        std::size_t wrong = 0;
        for (std::size_t n = 0; n < got.size(); ++n)
            wrong += static_cast<double>(got[n]) != expected.out.data[n] ? 1 : 0;
        EXPECT_EQ(wrong, 0U) << "of " << got.size() << "; the first number is " << got[0];
        ASSERT_EQ(cudaSuccess, cudaStreamDestroy(stream));
    };
    std::thread first(work);
    std::thread second(work);
    first.join();
    second.join();
}

// Tensors whose elements lie more than 2^31 from their base. Only the rows read and written are touched.
TEST(forward_offsets, beyond_two_to_the_31_elements) {
    PANTILE_NEEDS_DEVICE(80);
    const attention_case c = case_of(130, 200, 64, true);
    const index_t reach = (index_t{1} << 31) + 4096; // from the first batch to the second
    std::size_t free = 0;
    std::size_t all = 0;
    ASSERT_EQ(cudaSuccess, cudaMemGetInfo(&free, &all));
    if (free < static_cast<std::size_t>(reach + (1 << 20)) * 4 * sizeof(bfloat16)) {
        GTEST_SKIP() << "needs four tensors that span 4 GB each; the device has " << free << " bytes free";
    }
    const auto in = make_inputs(c, dtype::bf16, data_kind::normal, 31);
    const gpu_result expected = forward_on_gpu(c, in, dtype::bf16, dtype::bf16, {});
    bfloat16* memory[4] = {};
    for (auto& m : memory) {
        ASSERT_EQ(cudaSuccess, cudaMalloc(reinterpret_cast<void**>(&m),
                                          static_cast<std::size_t>(reach + (1 << 20)) * sizeof(bfloat16)));
    }
    const auto far_view = [&](bfloat16* m, index_t heads, index_t length) {
        device_view<bfloat16> v = on_device(bhsd(m, c.batch, heads, length, c.head_dim));
        v.stride[0] = reach;
        return v;
    };
    const auto put = [&](bfloat16* m,
                         const tensor<double>& from) { // dense on the host, batches far apart on the device
        std::vector<bfloat16> bits;
        for (const double x : from.data) bits.emplace_back(static_cast<float>(x));
        const std::size_t half = bits.size() / 2;
        for (int b = 0; b < 2; ++b) {
            EXPECT_EQ(cudaSuccess, cudaMemcpy(m + b * reach, bits.data() + static_cast<std::size_t>(b) * half,
                                              half * sizeof(bfloat16), cudaMemcpyHostToDevice));
        }
    };
    put(memory[0], in.q);
    put(memory[1], in.k);
    put(memory[2], in.v);
    for (const cuda_kernel kernel : {cuda_kernel::portable, cuda_kernel::decode, cuda_kernel::sm90}) {
        if (kernel == cuda_kernel::sm90 && compute_capability() != 90) continue;
        put(memory[3], tensor<double>(c.out_extent()));
        device_options o = options_of(c, {});
        o.kernel = kernel;
        const auto q = far_view(memory[0], c.q_heads, c.q_len);
        const auto k = far_view(memory[1], c.kv_heads, c.k_len);
        const auto v = far_view(memory[2], c.kv_heads, c.k_len);
        attention(device_view<const bfloat16>(q), k, v, far_view(memory[3], c.q_heads, c.q_len), nullptr, o);
        std::vector<bfloat16> got(expected.out.data.size());
        const std::size_t half = got.size() / 2;
        for (int b = 0; b < 2; ++b) {
            ASSERT_EQ(cudaSuccess, cudaMemcpy(got.data() + static_cast<std::size_t>(b) * half, memory[3] + b * reach,
                                              half * sizeof(bfloat16), cudaMemcpyDeviceToHost));
        }
        for (std::size_t n = 0; n < got.size(); ++n) {
            ASSERT_NEAR(static_cast<double>(static_cast<float>(got[n])), expected.out.data[n], 0.03) << n;
        }
    }
    for (auto* m : memory) cudaFree(m);
}

/// The host splits the scale; whichever way the caller has it round, the bits are the same.
TEST(calls, rounding_of_the_caller_changes_nothing) {
    PANTILE_NEEDS_DEVICE(80);
    for (const dtype t : {dtype::fp32, dtype::fp64, dtype::bf16}) {
        attention_case c = case_of(70, 130, 64, true);
        c.scale = 0.1234567890123;
        const attention_inputs in = make_inputs(c, t, data_kind::normal, 3);
        const gpu_result usual = forward_on_gpu(c, in, t, t, {});
        for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
            std::fesetround(mode);
            const gpu_result other = forward_on_gpu(c, in, t, t, {});
            const int kept = std::fegetround();
            std::fesetround(FE_TONEAREST);
            EXPECT_EQ(kept, mode);
            EXPECT_EQ(other.out.data, usual.out.data);
            EXPECT_EQ(other.lse.data, usual.lse.data);
        }
    }
}

} // namespace
} // namespace pantile::test
