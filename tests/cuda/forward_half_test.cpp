// Whole forward calls in fp16 and bf16 on a GPU against the exact answer, within the error rule.

#include "judge.hpp"

#include <support/generators.hpp>

#include <rapidcheck/gtest.h>

#include <limits>

namespace pantile::test {
namespace {

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
    for (const dtype t : {dtype::fp16, dtype::bf16}) {
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
    for (const dtype t : {dtype::fp16, dtype::bf16}) {
        const attention_case c = case_of(130, 201, 72, true);
        const auto in = make_inputs(c, t, data_kind::normal, 3);
        const gpu_result wide = forward_on_gpu(c, in, t, dtype::fp32, call);
        const gpu_result narrow = forward_on_gpu(c, in, t, t, call);
        EXPECT_EQ(rounded(wide.out, t).data, narrow.out.data);
        EXPECT_EQ(wide.lse.data, narrow.lse.data);
    }
}

TEST_P(forward_kernels, numbers_that_break_careless_kernels) {
    PANTILE_NEEDS_DEVICE(needed());
    gpu_call call;
    call.kernel = GetParam();
    for (const dtype t : {dtype::fp16, dtype::bf16}) {
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
        attention_case c = *any_served_case(most);
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
        const dtype t = *rc::gen::element(dtype::fp16, dtype::bf16);
        const auto in = make_inputs(c, t, *any_data_kind(), static_cast<std::uint64_t>(*rc::gen::inRange(0, 1 << 20)));
        const std::string fault = judge(c, in, t, t, call);
        if (!fault.empty()) RC_FAIL(fault);
    }));
}

TEST_P(forward_kernels, same_bits_every_time) {
    PANTILE_NEEDS_DEVICE(needed());
    gpu_call call;
    call.kernel = GetParam();
    expect_same_bits(case_of(700, 900, 128, true), dtype::bf16, dtype::fp32, call, 50);
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

TEST_P(forward_kernels, key_lengths_are_clamped) {
    PANTILE_NEEDS_DEVICE(needed());
    gpu_call call;
    call.kernel = GetParam();
    expect_key_lengths_are_clamped(dtype::bf16, call);
}

TEST_P(forward_kernels, visible_nan_shows) {
    PANTILE_NEEDS_DEVICE(needed());
    gpu_call call;
    call.kernel = GetParam();
    expect_visible_nan_shows(dtype::fp16, call);
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
            const auto in = make_inputs(c, dtype::fp16, data_kind::normal, 23);
            EXPECT_EQ(judge(c, in, dtype::fp16, dtype::fp16, {}), "") << "group " << group << " rows " << q_len;
        }
    }
}

} // namespace
} // namespace pantile::test
