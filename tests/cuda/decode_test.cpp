// Few query rows over many keys, in splits that the last block merges.

#include "judge.hpp"

#include <rapidcheck/gtest.h>

#include <cstdint>
#include <utility>

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
            for (const dtype out : {dtype::fp16, dtype::fp32}) {
                const auto in = make_inputs(c, dtype::fp16, data_kind::normal, 43);
                if (out == dtype::fp16) {
                    EXPECT_EQ(judge(c, in, dtype::fp16, out, decode_in(3)), "") << dim << ' ' << group << ' ' << q_len;
                } else { // the same O, not yet rounded
                    const gpu_result wide = forward_on_gpu(c, in, dtype::fp16, dtype::fp32, decode_in(3));
                    const gpu_result narrow = forward_on_gpu(c, in, dtype::fp16, dtype::fp16, decode_in(3));
                    EXPECT_EQ(rounded(wide.out, dtype::fp16).data, narrow.out.data);
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
    const dtype t = *rc::gen::element(dtype::fp16, dtype::bf16);
    const auto in = make_inputs(c, t, data_kind::normal, static_cast<std::uint64_t>(below(1 << 20)));
    const std::string fault = judge(c, in, t, t, call);
    if (!fault.empty()) RC_FAIL(fault);
}

TEST(decode, any_mask_in_any_layout) {
    PANTILE_NEEDS_DEVICE(80);
    EXPECT_TRUE(rc::check(any_mask_in_any_layout));
}

} // namespace
} // namespace pantile::test
