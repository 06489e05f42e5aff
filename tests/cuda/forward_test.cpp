// Whole forward calls on a GPU against the exact answer, within the error rule.

#include "run.hpp"

#include <support/error_rule.hpp>
#include <support/generators.hpp>

#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

namespace pantile::test {
namespace {

// Layouts that the device serves: the last dim contiguous.
const std::vector<layout> device_inputs = {layout::bhsd,
                                           layout::bshd,
                                           layout::padded,
                                           layout::reversed,
                                           layout::broadcast_batch,
                                           layout::broadcast_heads,
                                           layout::broadcast_length};
const std::vector<layout> device_outputs = {layout::bhsd, layout::bshd, layout::padded, layout::reversed};

p_rounding rounding_of(dtype t) { return t == dtype::f16 ? p_rounding::to_float16 : p_rounding::to_bfloat16; }

gpu_result forward_on_gpu(const attention_case& c, const attention_inputs& in, dtype t, dtype out,
                          const gpu_call& call) {
    if (t == dtype::f16) {
        return out == dtype::f32 ? forward_on_gpu<float16, float>(c, in, call)
                                 : forward_on_gpu<float16, float16>(c, in, call);
    }
    return out == dtype::f32 ? forward_on_gpu<bfloat16, float>(c, in, call)
                             : forward_on_gpu<bfloat16, bfloat16>(c, in, call);
}

/// The inputs as the layout stores them: where it broadcasts, one index stands for all.
attention_inputs as_stored(const attention_inputs& in, layout l, dtype t) {
    const auto through = [l, t](const tensor<double>& x) {
        return t == dtype::f16 ? stored<float16>(x, l).values() : stored<bfloat16>(x, l).values();
    };
    return {through(in.q), through(in.k), through(in.v), in.dout};
}

/// The verdict on one call; empty: all is well.
std::string judge(const attention_case& c, const attention_inputs& in, dtype t, dtype out, const gpu_call& call) {
    const attention_inputs stored_in = as_stored(in, call.inputs, t);
    const gpu_result result = forward_on_gpu(c, in, t, out, call);
    const forward_bounds bounds = bound_forward(c, stored_in, t, out, rounding_of(t));
    const verdict o = within(result.out, bounds.out, "out");
    if (!o) return o.text;
    const verdict l = within(result.lse, bounds.lse, "lse");
    if (!l) return l.text;
    return result.gaps_untouched ? "" : "memory between the outputs' elements was written";
}

attention_case case_of(index_t q_len, index_t k_len, index_t dim, bool causal) {
    attention_case c;
    c.batch = 2;
    c.q_heads = 4;
    c.kv_heads = 2;
    c.q_len = q_len;
    c.k_len = k_len;
    c.head_dim = c.value_dim = dim;
    if (causal) c.right = 0;
    c.scale = 1.0 / std::sqrt(static_cast<double>(dim));
    return c;
}

class forward_kernels : public testing::TestWithParam<cuda_kernel> {
  protected:
    static int needed() { return GetParam() == cuda_kernel::sm90 ? 90 : 80; }
};
INSTANTIATE_TEST_SUITE_P(each, forward_kernels,
                         testing::Values(cuda_kernel::portable, cuda_kernel::decode, cuda_kernel::sm90),
                         [](const auto& info) {
                             return std::string(info.param == cuda_kernel::portable ? "portable"
                                                : info.param == cuda_kernel::decode ? "decode"
                                                                                    : "sm90");
                         });

TEST_P(forward_kernels, lengths_around_the_tile_edges) {
    PANTILE_NEEDS_DEVICE(needed());
    gpu_call call;
    call.kernel = GetParam();
    for (const index_t dim : {64, 128, 256}) {
        for (const index_t length : {1, 63, 64, 65, 128, 177, 193, 352}) {
            for (const bool causal : {false, true}) {
                const attention_case c = case_of(length, length, dim, causal);
                const auto in = make_inputs(c, dtype::bf16, data_kind::normal, 7);
                EXPECT_EQ(judge(c, in, dtype::bf16, dtype::bf16, call), "")
                    << "dim " << dim << " length " << length << " causal " << causal;
            }
        }
    }
}

TEST_P(forward_kernels, every_padded_head_dim_in_both_types) {
    PANTILE_NEEDS_DEVICE(needed());
    gpu_call call;
    call.kernel = GetParam();
    for (const dtype t : {dtype::f16, dtype::bf16}) {
        for (const index_t dim : {8, 40, 64, 72, 96, 128, 136, 192, 200, 256}) {
            for (const bool causal : {false, true}) {
                const attention_case c = case_of(130, 201, dim, causal);
                const auto in = make_inputs(c, t, data_kind::normal, 3);
                EXPECT_EQ(judge(c, in, t, t, call), "") << name(t) << " dim " << dim << " causal " << causal;
            }
        }
    }
}

// An fp32 output is the same O, not yet rounded. (The error rule has no room for the rounding of P in it.)
TEST_P(forward_kernels, wide_output_rounds_to_the_narrow_one) {
    PANTILE_NEEDS_DEVICE(needed());
    gpu_call call;
    call.kernel = GetParam();
    for (const dtype t : {dtype::f16, dtype::bf16}) {
        const attention_case c = case_of(130, 201, 72, true);
        const auto in = make_inputs(c, t, data_kind::normal, 3);
        const gpu_result wide = forward_on_gpu(c, in, t, dtype::f32, call);
        const gpu_result narrow = forward_on_gpu(c, in, t, t, call);
        EXPECT_EQ(rounded(wide.out, t).data, narrow.out.data);
        EXPECT_EQ(wide.lse.data, narrow.lse.data);
    }
}

TEST_P(forward_kernels, numbers_that_break_careless_kernels) {
    PANTILE_NEEDS_DEVICE(needed());
    gpu_call call;
    call.kernel = GetParam();
    for (const dtype t : {dtype::f16, dtype::bf16}) {
        for (const data_kind kind : data_kinds) {
            const attention_case c = case_of(150, 300, 64, true);
            EXPECT_EQ(judge(c, make_inputs(c, t, kind, 5), t, t, call), "") << name(t) << ' ' << name(kind);
        }
    }
}

TEST_P(forward_kernels, any_problem_in_any_layout) {
    PANTILE_NEEDS_DEVICE(needed());
    EXPECT_TRUE(rc::check([] {
        size_limits most;
        most.batch = 2;
        most.kv_heads = 2;
        most.length = 300;
        most.dim = 200;
        attention_case c = *any_case(most);
        gpu_call call;
        call.kernel = GetParam();
        call.inputs = *rc::gen::elementOf(device_inputs);
        call.outputs = *rc::gen::elementOf(device_outputs);
        if (call.kernel == cuda_kernel::sm90) { // what the copy engine can read
            c.head_dim = core::max(c.head_dim / 8 * 8, 8);
            c.value_dim = core::max(c.value_dim / 8 * 8, 8);
            c.k_len = core::max(c.k_len, 1);
            for (index_t& n : c.key_lengths) n = core::min(n, c.k_len);
            call.inputs = *rc::gen::element(layout::bhsd, layout::bshd);
        } else {
            call.key_splits = *rc::gen::inRange<index_t>(0, 5);
            call.shift = *rc::gen::element<index_t>(0, 0, 1, 8);
        }
        const dtype t = *rc::gen::element(dtype::f16, dtype::bf16);
        const auto in = make_inputs(c, t, *any_data_kind(), static_cast<std::uint64_t>(*rc::gen::inRange(0, 1 << 20)));
        const std::string fault = judge(c, in, t, t, call);
        if (!fault.empty()) RC_FAIL(fault);
    }));
}

TEST_P(forward_kernels, same_bits_every_time) {
    PANTILE_NEEDS_DEVICE(needed());
    gpu_call call;
    call.kernel = GetParam();
    const attention_case c = case_of(700, 900, 128, true);
    const auto in = make_inputs(c, dtype::bf16, data_kind::normal, 11);
    const gpu_result first = forward_on_gpu(c, in, dtype::bf16, dtype::f32, call);
    for (int i = 0; i < 50; ++i) {
        const gpu_result again = forward_on_gpu(c, in, dtype::bf16, dtype::f32, call);
        ASSERT_EQ(again.out.data, first.out.data);
        ASSERT_EQ(again.lse.data, first.lse.data);
    }
}

// A cache beyond its key length, or keys beyond the mask, may hold anything.
TEST_P(forward_kernels, what_lies_beyond_the_visible_keys_never_matters) {
    PANTILE_NEEDS_DEVICE(needed());
    gpu_call call;
    call.kernel = GetParam();
    attention_case c = case_of(5, 400, 128, true);
    c.key_lengths = {37, 260};
    auto in = make_inputs(c, dtype::bf16, data_kind::normal, 13);
    const gpu_result clean = forward_on_gpu(c, in, dtype::bf16, dtype::bf16, call);
    for (index_t b = 0; b < c.batch; ++b) {
        for (index_t h = 0; h < c.kv_heads; ++h) {
            for (index_t j = c.key_lengths[static_cast<std::size_t>(b)]; j < c.k_len; ++j) {
                for (index_t x = 0; x < c.head_dim; ++x) {
                    in.k(b, h, j, x) = std::numeric_limits<double>::quiet_NaN();
                    in.v(b, h, j, x) = std::numeric_limits<double>::infinity();
                }
            }
        }
    }
    const gpu_result poisoned = forward_on_gpu(c, in, dtype::bf16, dtype::bf16, call);
    EXPECT_EQ(poisoned.out.data, clean.out.data);
    EXPECT_EQ(poisoned.lse.data, clean.lse.data);
}

TEST_P(forward_kernels, visible_nan_shows) {
    PANTILE_NEEDS_DEVICE(needed());
    gpu_call call;
    call.kernel = GetParam();
    const attention_case c = case_of(70, 70, 64, true);
    auto in = make_inputs(c, dtype::f16, data_kind::normal, 17);
    in.k(0, 0, 20, 3) = std::numeric_limits<double>::quiet_NaN();
    const gpu_result r = forward_on_gpu(c, in, dtype::f16, dtype::f16, call);
    EXPECT_FALSE(std::isnan(r.lse(0, 0, 19)));
    EXPECT_TRUE(std::isnan(r.lse(0, 0, 20)));
    EXPECT_TRUE(std::isnan(r.out(0, 1, 69, 5)));
    EXPECT_FALSE(std::isnan(r.out(1, 0, 69, 5)));
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
    const gpu_result expected = forward_on_gpu(c, in, dtype::bf16, dtype::f32, {});
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
        for (std::size_t n = 0; n < got.size(); ++n) ASSERT_EQ(static_cast<double>(got[n]), expected.out.data[n]);
        ASSERT_EQ(cudaSuccess, cudaStreamDestroy(stream));
    };
    std::thread first(work);
    std::thread second(work);
    first.join();
    second.join();
}

TEST(forward_decode, one_row_over_long_keys) {
    PANTILE_NEEDS_DEVICE(80);
    for (const index_t group : {1, 4, 7}) {
        for (const index_t q_len : {1, 3}) {
            attention_case c = case_of(q_len, 5000, 128, true);
            c.q_heads = c.kv_heads * group;
            const auto in = make_inputs(c, dtype::f16, data_kind::normal, 23);
            EXPECT_EQ(judge(c, in, dtype::f16, dtype::f16, {}), "") << "group " << group << " rows " << q_len;
        }
    }
}

} // namespace
} // namespace pantile::test
