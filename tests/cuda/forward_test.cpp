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

p_rounding rounding_of(dtype t) {
    return t == dtype::f16 ? p_rounding::to_float16 : t == dtype::bf16 ? p_rounding::to_bfloat16 : p_rounding::none;
}

gpu_result forward_on_gpu(const attention_case& c, const attention_inputs& in, dtype t, dtype out,
                          const gpu_call& call) {
    if (t == dtype::f64) return forward_on_gpu<double, double>(c, in, call);
    if (t == dtype::f32) return forward_on_gpu<float, float>(c, in, call);
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
        return t == dtype::f64   ? stored<double>(x, l).values()
               : t == dtype::f32 ? stored<float>(x, l).values()
               : t == dtype::f16 ? stored<float16>(x, l).values()
                                 : stored<bfloat16>(x, l).values();
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

/// How many of `count` calls on the same inputs give other bits than the first. Each result is poisoned first.
template <class T>
int calls_that_differ(const attention_case& c, const gpu_call& call, int count) {
    const auto in = make_inputs(c, std::is_same_v<T, double> ? dtype::f64 : dtype::bf16, data_kind::normal, 29);
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

// ------------------------------------------------------------------------------------------------- fp32 and fp64

struct wide_kernel {
    dtype type;
    cuda_kernel kernel;
};
class wide_kernels : public testing::TestWithParam<wide_kernel> {
  protected:
    static gpu_call call() {
        gpu_call c;
        c.kernel = GetParam().kernel;
        return c;
    }
};
INSTANTIATE_TEST_SUITE_P(
    each, wide_kernels,
    testing::Values(wide_kernel{dtype::f32, cuda_kernel::portable}, wide_kernel{dtype::f32, cuda_kernel::decode},
                    wide_kernel{dtype::f32, cuda_kernel::ffma}, wide_kernel{dtype::f64, cuda_kernel::portable},
                    wide_kernel{dtype::f64, cuda_kernel::decode}),
    [](const auto& info) {
        return std::string(name(info.param.type)) + (info.param.kernel == cuda_kernel::portable ? "_portable"
                                                     : info.param.kernel == cuda_kernel::decode ? "_decode"
                                                                                                : "_ffma");
    });

TEST_P(wide_kernels, lengths_around_the_tile_edges) {
    PANTILE_NEEDS_DEVICE(80);
    for (const index_t dim : {64, 128, 256}) {
        for (const index_t length : {1, 15, 17, 64, 65, 130}) {
            for (const bool causal : {false, true}) {
                const attention_case c = case_of(length, length, dim, causal);
                const auto in = make_inputs(c, GetParam().type, data_kind::normal, 7);
                EXPECT_EQ(judge(c, in, GetParam().type, GetParam().type, call()), "")
                    << "dim " << dim << " length " << length << " causal " << causal;
            }
        }
    }
}

TEST_P(wide_kernels, every_padded_head_dim) {
    PANTILE_NEEDS_DEVICE(80);
    for (const index_t dim : {1, 8, 40, 64, 72, 96, 128, 136, 192, 200, 256}) {
        attention_case c = case_of(130, 201, dim, true);
        EXPECT_EQ(
            judge(c, make_inputs(c, GetParam().type, data_kind::normal, 3), GetParam().type, GetParam().type, call()),
            "")
            << "dim " << dim;
        c.value_dim = 72; // of its own
        EXPECT_EQ(
            judge(c, make_inputs(c, GetParam().type, data_kind::uniform, 4), GetParam().type, GetParam().type, call()),
            "")
            << "dim " << dim << ", value dim 72";
    }
}

TEST_P(wide_kernels, numbers_that_break_careless_kernels) {
    PANTILE_NEEDS_DEVICE(80);
    for (const data_kind kind : data_kinds) {
        const attention_case c = case_of(150, 300, 64, true);
        EXPECT_EQ(judge(c, make_inputs(c, GetParam().type, kind, 5), GetParam().type, GetParam().type, call()), "")
            << name(kind);
    }
}

TEST_P(wide_kernels, any_problem_in_any_layout) {
    PANTILE_NEEDS_DEVICE(80);
    EXPECT_TRUE(rc::check([] {
        size_limits most;
        most.batch = 2;
        most.kv_heads = 2;
        most.length = 200;
        most.dim = 150;
        const attention_case c = *any_case(most);
        gpu_call call = wide_kernels::call();
        call.inputs = *rc::gen::elementOf(device_inputs);
        call.outputs = *rc::gen::elementOf(device_outputs);
        call.key_splits = *rc::gen::inRange<index_t>(0, 5);
        call.shift = *rc::gen::element<index_t>(0, 0, 1, 4);
        const auto in = make_inputs(c, GetParam().type, *any_data_kind(),
                                    static_cast<std::uint64_t>(*rc::gen::inRange(0, 1 << 20)));
        const std::string fault = judge(c, in, GetParam().type, GetParam().type, call);
        if (!fault.empty()) RC_FAIL(fault);
    }));
}

TEST_P(wide_kernels, same_bits_every_time) {
    PANTILE_NEEDS_DEVICE(80);
    const attention_case c = case_of(100, 300, 128, true);
    const auto in = make_inputs(c, GetParam().type, data_kind::normal, 11);
    const gpu_result first = forward_on_gpu(c, in, GetParam().type, GetParam().type, call());
    for (int i = 0; i < 50; ++i) {
        const gpu_result again = forward_on_gpu(c, in, GetParam().type, GetParam().type, call());
        ASSERT_EQ(again.out.data, first.out.data);
        ASSERT_EQ(again.lse.data, first.lse.data);
    }
}

TEST_P(wide_kernels, visible_nan_shows) {
    PANTILE_NEEDS_DEVICE(80);
    const attention_case c = case_of(70, 70, 64, true);
    auto in = make_inputs(c, GetParam().type, data_kind::normal, 17);
    in.k(0, 0, 20, 3) = std::numeric_limits<double>::quiet_NaN();
    const gpu_result r = forward_on_gpu(c, in, GetParam().type, GetParam().type, call());
    EXPECT_FALSE(std::isnan(r.lse(0, 0, 19)));
    EXPECT_TRUE(std::isnan(r.lse(0, 0, 20)));
    EXPECT_TRUE(std::isnan(r.out(0, 1, 69, 5)));
    EXPECT_FALSE(std::isnan(r.out(1, 0, 69, 5)));
}

// ------------------------------------------------------------------------------------------------ partial results

TEST(partial_on_gpu, halves_merge_to_the_whole) {
    PANTILE_NEEDS_DEVICE(80);
    EXPECT_TRUE(rc::check([] {
        size_limits most;
        most.batch = 2;
        most.kv_heads = 2;
        most.length = 200;
        most.dim = 140;
        most.empty = false;
        attention_case c = *any_case(most);
        c.key_lengths.clear(); // a cut would have to shorten them too
        gpu_call call;
        call.outputs = *rc::gen::elementOf(device_outputs);
        call.kernel = *rc::gen::element(cuda_kernel::automatic, cuda_kernel::portable, cuda_kernel::decode);
        call.key_splits = *rc::gen::inRange<index_t>(0, 4);
        const index_t cut = *rc::gen::inRange<index_t>(0, c.k_len + 1);
        const dtype t = *rc::gen::element(dtype::f64, dtype::f32, dtype::f16, dtype::bf16);
        const auto in = make_inputs(c, t, data_kind::normal, static_cast<std::uint64_t>(cut));
        const gpu_result r = t == dtype::f64   ? merged_on_gpu<double>(c, in, call, cut)
                             : t == dtype::f32 ? merged_on_gpu<float>(c, in, call, cut)
                             : t == dtype::f16 ? merged_on_gpu<float16>(c, in, call, cut)
                                               : merged_on_gpu<bfloat16>(c, in, call, cut);
        // A 16-bit call's parts are fp32: they are judged as its 16-bit output would be.
        const forward_bounds bounds = bound_forward(c, in, t, t, rounding_of(t));
        const verdict o = within(r.out, bounds.out, "out");
        if (!o) RC_FAIL(o.text);
        const verdict l = within(r.lse, bounds.lse, "lse");
        if (!l) RC_FAIL(l.text);
        RC_ASSERT(r.gaps_untouched);
    }));
}

// --------------------------------------------------------------------------------------------------------- races

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
                             {dtype::f32, cuda_kernel::portable, 150, 0},
                             {dtype::f64, cuda_kernel::portable, 150, 3}}) {
        if (s.kernel == cuda_kernel::sm90 && compute_capability() != 90) continue;
        const attention_case c = case_of(s.q_len, 700, 128, true);
        gpu_call call;
        call.kernel = s.kernel;
        call.key_splits = s.key_splits;
        EXPECT_EQ(s.type == dtype::f64   ? calls_that_differ<double>(c, call, 1000)
                  : s.type == dtype::f32 ? calls_that_differ<float>(c, call, 1000)
                                         : calls_that_differ<bfloat16>(c, call, 1000),
                  0)
            << name(s.type) << ' ' << s.q_len;
    }
}

// -------------------------------------------------------------------------------------------------------- streams

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

// Row tiles one after the other in one block: each begins while the one before it ends, so lengths from one key tile to a
// few, more row tiles than blocks, and rows without keys among them.
TEST(forward_hopper, many_short_row_tiles) {
    PANTILE_NEEDS_DEVICE(90);
    gpu_call call;
    call.kernel = cuda_kernel::sm90;
    for (const index_t dim : {64, 128, 256}) {
        for (const index_t k_len : {70, 128, 300}) {
            attention_case c = case_of(520, k_len, dim, true);
            c.q_heads = 16; // 2 · 16 · 5 row tiles, more than blocks
            c.kv_heads = 8;
            if (k_len == 128) c.left = 40;
            const auto in = make_inputs(c, dtype::bf16, data_kind::normal, 37);
            EXPECT_EQ(judge(c, in, dtype::bf16, dtype::bf16, call), "") << "dim " << dim << " keys " << k_len;
        }
    }
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
