// Soft caps, ALiBi and sinks on a GPU, each kernel forced, against the exact answer within the error rule; and the numbers that hang
// on how a row's reference is chosen.

#include "judge.hpp"

#include <cmath>
#include <limits>
#include <string>

namespace pantile::test {
namespace {

struct forced {
    cuda_kernel kernel;
    dtype type;
    int needed; ///< compute capability
};
const forced every_kernel[] = {
    {cuda_kernel::portable, dtype::fp16, 80}, {cuda_kernel::portable, dtype::bf16, 80},
    {cuda_kernel::decode, dtype::fp16, 80},   {cuda_kernel::decode, dtype::bf16, 80},
    {cuda_kernel::sm90, dtype::fp16, 90},     {cuda_kernel::sm90, dtype::bf16, 90},
    {cuda_kernel::portable, dtype::fp32, 80}, {cuda_kernel::decode, dtype::fp32, 80},
    {cuda_kernel::ffma, dtype::fp32, 80},     {cuda_kernel::sm90, dtype::fp32, 90},
    {cuda_kernel::portable, dtype::fp64, 80}, {cuda_kernel::decode, dtype::fp64, 80},
    {cuda_kernel::sm90, dtype::fp64, 90},
};
std::string name_of_kernel(const forced& f) {
    const char* kernel = f.kernel == cuda_kernel::portable ? "portable"
                         : f.kernel == cuda_kernel::decode ? "decode"
                         : f.kernel == cuda_kernel::ffma   ? "ffma"
                                                           : "sm90";
    return std::string(kernel) + "_" + name(f.type);
}

class cuda_features : public testing::TestWithParam<forced> {
  protected:
    static gpu_call forced_call() {
        gpu_call call;
        call.kernel = GetParam().kernel;
        return call;
    }
    static void expect_right(const attention_case& c, const gpu_call& call, const std::string& what,
                             data_kind kind = data_kind::normal) {
        const dtype t = GetParam().type;
        EXPECT_EQ(judge(c, make_inputs(c, t, kind, 23), t, t, call), "") << what;
    }
    static attention_case featured(attention_case c, bool cap, bool slopes, bool sinks) {
        if (cap) c.softcap = 1.5;
        for (index_t h = 0; h < c.q_heads; ++h) {
            if (slopes) c.slopes.push_back(std::exp2(-2.0 * static_cast<double>(h + 1)));
            if (sinks) c.sinks.push_back(static_cast<double>(h) - 1.0);
        }
        return c;
    }
};
INSTANTIATE_TEST_SUITE_P(each, cuda_features, testing::ValuesIn(every_kernel),
                         [](const auto& info) { return name_of_kernel(info.param); });

TEST_P(cuda_features, each_and_all_together) {
    PANTILE_NEEDS_DEVICE(GetParam().needed);
    for (const index_t dim : {64, 128, 256}) {
        for (int on = 1; on < 8; ++on) {
            for (const bool causal : {false, true}) {
                const attention_case c =
                    featured(case_of(70, 201, dim, causal), (on & 1) != 0, (on & 2) != 0, (on & 4) != 0);
                expect_right(c, forced_call(),
                             "dim " + std::to_string(dim) + " features " + std::to_string(on) + " causal " +
                                 std::to_string(static_cast<int>(causal)));
            }
        }
    }
}

TEST_P(cuda_features, caps_far_below_and_far_above_the_logits) {
    PANTILE_NEEDS_DEVICE(GetParam().needed);
    for (const double cap : {1e-3, 0.3, 30.0, 1e4, 1e30}) {
        attention_case c = case_of(40, 130, 64, true);
        c.softcap = cap;
        expect_right(c, forced_call(), "cap " + std::to_string(cap));
        expect_right(c, forced_call(), "large logits, cap " + std::to_string(cap), data_kind::large_logits);
    }
}

TEST_P(cuda_features, any_scale_window_and_offset) {
    PANTILE_NEEDS_DEVICE(GetParam().needed);
    for (const double scale : {-0.2, 0.0, 0.7}) {
        attention_case c = featured(case_of(90, 150, 64, false), true, true, true);
        c.scale = scale;
        c.left = 40;
        c.right = 9;
        expect_right(c, forced_call(), "scale " + std::to_string(scale));
        c.align = anchor::explicit_offset;
        c.offset = -30;
        expect_right(c, forced_call(), "rows without keys, scale " + std::to_string(scale));
    }
}

TEST_P(cuda_features, slopes_and_sinks_follow_their_heads_and_lengths) {
    PANTILE_NEEDS_DEVICE(GetParam().needed);
    attention_case c = case_of(3, 700, 128, true);
    c.q_heads = 8;
    c.key_lengths = {0, 555};
    c = featured(c, false, true, true);
    expect_right(c, forced_call(), "few rows");
    c.q_len = 1;
    expect_right(c, forced_call(), "one row");
}

TEST_P(cuda_features, one_part_of_a_split_carries_the_sink) {
    PANTILE_NEEDS_DEVICE(GetParam().needed);
    const dtype t = GetParam().type;
    attention_case c = featured(case_of(5, 900, 64, false), true, true, true);
    gpu_call call = forced_call();
    if (call.kernel != cuda_kernel::sm90) {
        call.key_splits = 3;
        expect_right(c, call, "split by the library");
        call.key_splits = 0;
    }
    const attention_inputs in = make_inputs(c, t, data_kind::normal, 29);
    const gpu_result r = t == dtype::fp64   ? merged_on_gpu<double>(c, in, call, 400)
                         : t == dtype::fp32 ? merged_on_gpu<float>(c, in, call, 400)
                         : t == dtype::fp16 ? merged_on_gpu<float16>(c, in, call, 400)
                                            : merged_on_gpu<bfloat16>(c, in, call, 400);
    const dtype wide = t == dtype::fp64 ? dtype::fp64 : dtype::fp32;
    const verdict v =
        within(rounded(r.out, t), r.lse, bound_forward(c, in, t, t, rounding_of(t), sums_of(t, call.kernel)));
    EXPECT_TRUE(v) << v.text << " in " << name(wide);
}

// Exponents from 2^31 on differ by more than any exponential can tell, and half a unit of a rounded reference would pass 127.
TEST_P(cuda_features, huge_logits) {
    PANTILE_NEEDS_DEVICE(GetParam().needed);
    const dtype t = GetParam().type;
    attention_case c = case_of(40, 40, 64, false);
    c.batch = c.q_heads = c.kv_heads = 1;
    const double size = t == dtype::fp16 ? 20000.0 : 133120.0;
    attention_inputs in = make_inputs(c, t, data_kind::zeros, 1);
    for (tensor<double>* x : {&in.q, &in.k}) {
        for (double& n : x->data) n = size;
    }
    for (double& n : in.v.data) n = t == dtype::fp16 ? 1.0 : size;
    const gpu_result r = forward_on_gpu(c, in, t, t, forced_call());
    const double lse = size * size * 8.0 + std::log(40.0);
    const double want = in.v.data[0];
    for (const double x : r.out.data) ASSERT_NEAR(x, want, want * 2.0 * unit_roundoff(t));
    for (const double x : r.lse.data) ASSERT_NEAR(x, lse, lse * 1e-6);
}

// Rows that look at themselves: values of ±20000 and more, so that one logit of each row leads by far.
TEST_P(cuda_features, huge_logits_of_both_signs) {
    PANTILE_NEEDS_DEVICE(GetParam().needed);
    const dtype t = GetParam().type;
    attention_case c = case_of(40, 40, 64, false);
    c.batch = c.q_heads = c.kv_heads = 1;
    attention_inputs in = make_inputs(c, t, data_kind::normal, 31);
    in.q.for_each([&](index_t b, index_t h, index_t i, index_t x) {
        const double size = 20000.0 + 18000.0 * std::fabs(std::sin(static_cast<double>(i * 64 + x)));
        in.q(b, h, i, x) = in.k(b, h, i, x) = rounded(in.q(b, h, i, x) < 0 ? -size : size, t);
    });
    EXPECT_EQ(judge(c, in, t, t, forced_call()), "");
}

// In fp16 the reference stands 14 binades below the maximum: many light keys count beside a heavy one.
TEST_P(cuda_features, many_light_keys_beside_a_heavy_one) {
    PANTILE_NEEDS_DEVICE(GetParam().needed);
    const dtype t = GetParam().type;
    constexpr index_t keys = index_t{1} << 20;
    attention_case c = case_of(256, keys, 64, false);
    c.batch = c.q_heads = c.kv_heads = 1;
    c.scale = 1.0;
    attention_inputs in;
    in.q = tensor<double>(c.q_extent());
    in.k = tensor<double>(c.k_extent());
    in.v = tensor<double>(c.v_extent());
    for (index_t i = 0; i < c.q_len; ++i) in.q(0, 0, i, 0) = 1.0;
    in.k(0, 0, 0, 0) = 17.5;
    for (index_t j = 1; j < keys; ++j) {
        for (index_t x = 0; x < 64; ++x) in.v(0, 0, j, x) = 1.0;
    }
    const gpu_result r = forward_on_gpu(c, in, t, t, forced_call());
    const double light = static_cast<double>(keys - 1);
    const double want = light / (light + std::exp(17.5));
    // Matrix units cut their sums off, 16 keys at a time: 65536 times here.
    for (const double x : r.out.data) ASSERT_NEAR(x, want, want * 0.015);
}

} // namespace
} // namespace pantile::test
