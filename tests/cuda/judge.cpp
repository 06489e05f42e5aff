#include "judge.hpp"

#include <cmath>
#include <limits>

namespace pantile::test {

p_rounding rounding_of(dtype t) {
    return t == dtype::fp16 ? p_rounding::to_float16 : t == dtype::bf16 ? p_rounding::to_bfloat16 : p_rounding::none;
}

score_sums sums_of(dtype t, cuda_kernel kernel) {
    if (t == dtype::fp16 || t == dtype::bf16) return score_sums::cut_off;
    return t == dtype::fp32 && kernel != cuda_kernel::ffma ? score_sums::three_tf32 : score_sums::rounded;
}

gpu_result forward_on_gpu(const attention_case& c, const attention_inputs& in, dtype t, dtype out,
                          const gpu_call& call) {
    if (t == dtype::fp64) return forward_on_gpu<double, double>(c, in, call);
    if (t == dtype::fp32) return forward_on_gpu<float, float>(c, in, call);
    if (t == dtype::fp16) {
        return out == dtype::fp32 ? forward_on_gpu<float16, float>(c, in, call)
                                  : forward_on_gpu<float16, float16>(c, in, call);
    }
    return out == dtype::fp32 ? forward_on_gpu<bfloat16, float>(c, in, call)
                              : forward_on_gpu<bfloat16, bfloat16>(c, in, call);
}

std::string judge(const attention_case& c, const attention_inputs& in, dtype t, dtype out, const gpu_call& call) {
    const attention_inputs stored_in = as_stored(in, call.inputs, t);
    const gpu_result result = forward_on_gpu(c, in, t, out, call);
    const forward_bounds bounds = bound_forward(c, stored_in, t, out, rounding_of(t), sums_of(t, call.kernel));
    const verdict good = within(result.out, result.lse, bounds);
    if (!good) return good.text;
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

void expect_visible_nan_shows(dtype t, const gpu_call& call) {
    const attention_case c = case_of(70, 70, 64, true);
    auto in = make_inputs(c, t, data_kind::normal, 17);
    in.k(0, 0, 20, 3) = std::numeric_limits<double>::quiet_NaN();
    const gpu_result r = forward_on_gpu(c, in, t, t, call);
    EXPECT_FALSE(std::isnan(r.lse(0, 0, 19)));
    EXPECT_TRUE(std::isnan(r.lse(0, 0, 20)));
    EXPECT_TRUE(std::isnan(r.out(0, 1, 69, 5)));
    EXPECT_FALSE(std::isnan(r.out(1, 0, 69, 5)));
}

void expect_key_lengths_are_clamped(dtype t, const gpu_call& call) {
    attention_case c = case_of(5, 200, 64, false);
    const auto in = make_inputs(c, t, data_kind::normal, 19);
    c.key_lengths = {0, c.k_len};
    const gpu_result in_range = forward_on_gpu(c, in, t, t, call);
    c.key_lengths = {-7, c.k_len + 100};
    const gpu_result clamped = forward_on_gpu(c, in, t, t, call);
    EXPECT_EQ(clamped.out.data, in_range.out.data);
    EXPECT_EQ(clamped.lse.data, in_range.lse.data);
}

void expect_same_bits(const attention_case& c, dtype t, dtype out, const gpu_call& call, int count) {
    const auto in = make_inputs(c, t, data_kind::normal, 11);
    const gpu_result first = forward_on_gpu(c, in, t, out, call);
    for (int i = 1; i < count; ++i) {
        const gpu_result again = forward_on_gpu(c, in, t, out, call);
        ASSERT_EQ(again.out.data, first.out.data);
        ASSERT_EQ(again.lse.data, first.lse.data);
    }
}

} // namespace pantile::test
