// Whole forward calls in fp32 and fp64 on a GPU against the exact answer, within the error rule.

#include "judge.hpp"

#include <support/generators.hpp>

#include <rapidcheck/gtest.h>

namespace pantile::test {
namespace {

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
    static bool on_hopper() { return GetParam().kernel == cuda_kernel::sm90; }
    static int needed() { return on_hopper() ? 90 : 80; }
};
INSTANTIATE_TEST_SUITE_P(
    each, wide_kernels,
    testing::Values(wide_kernel{dtype::fp32, cuda_kernel::portable}, wide_kernel{dtype::fp32, cuda_kernel::decode},
                    wide_kernel{dtype::fp32, cuda_kernel::ffma}, wide_kernel{dtype::fp32, cuda_kernel::sm90},
                    wide_kernel{dtype::fp64, cuda_kernel::portable}, wide_kernel{dtype::fp64, cuda_kernel::decode}),
    [](const auto& info) {
        return std::string(name(info.param.type)) + (info.param.kernel == cuda_kernel::portable ? "_portable"
                                                     : info.param.kernel == cuda_kernel::decode ? "_decode"
                                                     : info.param.kernel == cuda_kernel::sm90   ? "_sm90"
                                                                                                : "_ffma");
    });

TEST_P(wide_kernels, lengths_around_the_tile_edges) {
    PANTILE_NEEDS_DEVICE(needed());
    for (const index_t dim : {64, 128, 192, 256}) {
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
    PANTILE_NEEDS_DEVICE(needed());
    for (const index_t dim : {1, 8, 40, 64, 72, 96, 128, 136, 192, 200, 256}) {
        attention_case c = case_of(130, 201, dim, true);
        EXPECT_EQ(
            judge(c, make_inputs(c, GetParam().type, data_kind::normal, 3), GetParam().type, GetParam().type, call()),
            "")
            << "dim " << dim;
        for (const index_t value_dim : {72, 128}) { // of its own
            c.value_dim = value_dim;
            EXPECT_EQ(judge(c, make_inputs(c, GetParam().type, data_kind::uniform, 4), GetParam().type, GetParam().type,
                            call()),
                      "")
                << "dim " << dim << ", value dim " << value_dim;
        }
    }
}

TEST_P(wide_kernels, numbers_that_break_careless_kernels) {
    PANTILE_NEEDS_DEVICE(needed());
    for (const data_kind kind : data_kinds) {
        for (const index_t dim : {64, 256}) {
            const attention_case c = case_of(dim == 64 ? 150 : 70, dim == 64 ? 300 : 150, dim, true);
            EXPECT_EQ(judge(c, make_inputs(c, GetParam().type, kind, 5), GetParam().type, GetParam().type, call()), "")
                << name(kind) << ", dim " << dim;
        }
    }
}

TEST_P(wide_kernels, any_problem_in_any_layout) {
    PANTILE_NEEDS_DEVICE(needed());
    EXPECT_TRUE(rc::check([] {
        size_limits most;
        most.batch = 2;
        most.kv_heads = 2;
        most.length = 200;
        most.dim = 256;
        attention_case c = *any_served_case(most);
        gpu_call call = wide_kernels::call();
        call.inputs = *rc::gen::elementOf(device_inputs);
        call.outputs = *rc::gen::elementOf(device_outputs);
        if (on_hopper()) {
            c.head_dim = core::max(c.head_dim, 1);
            c.value_dim = core::max(c.value_dim, 1);
            c.k_len = core::max(c.k_len, 1);
            for (index_t& n : c.key_lengths) n = core::min(n, c.k_len);
        } else {
            call.key_splits = *rc::gen::inRange<index_t>(0, 5);
        }
        call.shift = *rc::gen::element<index_t>(0, 0, 1, 4);
        const auto in = make_inputs(c, GetParam().type, *any_data_kind(),
                                    static_cast<std::uint64_t>(*rc::gen::inRange(0, 1 << 20)));
        const std::string fault = judge(c, in, GetParam().type, GetParam().type, call);
        if (!fault.empty()) RC_FAIL(fault);
    }));
}

// More row tiles than blocks on any GPU of today, of one to three key tiles.
TEST_P(wide_kernels, many_row_tiles) {
    PANTILE_NEEDS_DEVICE(needed());
    for (const index_t dim : {64, 160}) {
        attention_case c = case_of(300, 70, dim, true);
        c.q_heads = 50;
        c.kv_heads = 25;
        c.right = 25;
        EXPECT_EQ(
            judge(c, make_inputs(c, GetParam().type, data_kind::normal, 23), GetParam().type, GetParam().type, call()),
            "")
            << "dim " << dim;
    }
}

// The same, most of them without keys.
TEST_P(wide_kernels, many_row_tiles_without_keys) {
    PANTILE_NEEDS_DEVICE(needed());
    for (const index_t dim : {64, 256}) {
        attention_case c = case_of(1100, 40, dim, true);
        c.q_heads = c.kv_heads = 20;
        EXPECT_EQ(
            judge(c, make_inputs(c, GetParam().type, data_kind::normal, 31), GetParam().type, GetParam().type, call()),
            "")
            << "dim " << dim;
    }
}

TEST_P(wide_kernels, partial_results_merge_to_the_whole) {
    PANTILE_NEEDS_DEVICE(needed());
    for (const index_t dim : {40, 128, 192, 256}) {
        attention_case c = case_of(130, 201, dim, true);
        if (dim == 192) c.value_dim = 128;
        const auto in = make_inputs(c, GetParam().type, data_kind::normal, 29);
        const gpu_result r = GetParam().type == dtype::fp64 ? merged_on_gpu<double>(c, in, call(), 77)
                                                            : merged_on_gpu<float>(c, in, call(), 77);
        const verdict good =
            within(r.out, r.lse, bound_forward(c, in, GetParam().type, GetParam().type, p_rounding::none));
        EXPECT_TRUE(good) << good.text << " dim " << dim;
        EXPECT_TRUE(r.gaps_untouched);
    }
}

TEST_P(wide_kernels, same_bits_every_time) {
    PANTILE_NEEDS_DEVICE(needed());
    for (const index_t dim : {128, 256}) {
        expect_same_bits(case_of(100, 300, dim, true), GetParam().type, GetParam().type, call(), 50);
    }
}

TEST_P(wide_kernels, key_lengths_are_clamped) {
    PANTILE_NEEDS_DEVICE(needed());
    expect_key_lengths_are_clamped(GetParam().type, call());
}

TEST_P(wide_kernels, visible_nan_shows) {
    PANTILE_NEEDS_DEVICE(needed());
    expect_visible_nan_shows(GetParam().type, call());
}

// Parts of the keys, merged and finished on a stream.
TEST(partial_on_gpu, halves_merge_to_the_whole) {
    PANTILE_NEEDS_DEVICE(80);
    EXPECT_TRUE(rc::check([] {
        size_limits most;
        most.batch = 2;
        most.kv_heads = 2;
        most.length = 200;
        most.dim = 140;
        most.empty = false;
        attention_case c = *any_served_case(most);
        c.key_lengths.clear(); // a cut would have to shorten them too
        gpu_call call;
        call.outputs = *rc::gen::elementOf(device_outputs);
        call.kernel = *rc::gen::element(cuda_kernel::automatic, cuda_kernel::portable, cuda_kernel::decode);
        call.key_splits = *rc::gen::inRange<index_t>(0, 4);
        const index_t cut = *rc::gen::inRange<index_t>(0, c.k_len + 1);
        const dtype t = *rc::gen::element(dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16);
        const auto in = make_inputs(c, t, data_kind::normal, static_cast<std::uint64_t>(cut));
        const gpu_result r = t == dtype::fp64   ? merged_on_gpu<double>(c, in, call, cut)
                             : t == dtype::fp32 ? merged_on_gpu<float>(c, in, call, cut)
                             : t == dtype::fp16 ? merged_on_gpu<float16>(c, in, call, cut)
                                                : merged_on_gpu<bfloat16>(c, in, call, cut);
        // A 16-bit call's parts are fp32: they are judged as its 16-bit output would be.
        const forward_bounds bounds = bound_forward(c, in, t, t, rounding_of(t), sums_of(t, call.kernel));
        const verdict good = within(r.out, r.lse, bounds);
        if (!good) RC_FAIL(good.text);
        RC_ASSERT(r.gaps_untouched);
    }));
}

} // namespace
} // namespace pantile::test
