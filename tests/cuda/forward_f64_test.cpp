// What the fp64 kernels do and no other: Hopper's own, and references that lag behind the maxima. forward_wide_test.cpp has
// the portable one among the others.

#include "judge.hpp"

#include <support/generators.hpp>

#include <rapidcheck/gtest.h>

#include <limits>

namespace pantile::test {
namespace {

gpu_call on(cuda_kernel kernel) {
    gpu_call call;
    call.kernel = kernel;
    return call;
}
std::string judged(const attention_case& c, const attention_inputs& in, const gpu_call& call) {
    return judge(c, in, dtype::fp64, dtype::fp64, call);
}

TEST(f64_on_hopper, lengths_around_the_tile_edges) {
    PANTILE_NEEDS_DEVICE(90);
    for (const index_t dim : {64, 128, 256}) {
        for (const index_t length : {1, 17, 33, 64, 65, 130, 200}) {
            for (const bool causal : {false, true}) {
                const attention_case c = case_of(length, length, dim, causal);
                EXPECT_EQ(judged(c, make_inputs(c, dtype::fp64, data_kind::normal, 7), on(cuda_kernel::sm90)), "")
                    << "dim " << dim << " length " << length << " causal " << causal;
            }
        }
    }
}

TEST(f64_on_hopper, every_padded_head_dim) {
    PANTILE_NEEDS_DEVICE(90);
    for (const index_t dim : {2, 8, 40, 64, 66, 96, 128, 136, 192, 256}) {
        attention_case c = case_of(70, 130, dim, true);
        EXPECT_EQ(judged(c, make_inputs(c, dtype::fp64, data_kind::normal, 3), on(cuda_kernel::sm90)), "") << dim;
        c.value_dim = 72; // of its own
        EXPECT_EQ(judged(c, make_inputs(c, dtype::fp64, data_kind::uniform, 4), on(cuda_kernel::sm90)), "") << dim;
    }
}

TEST(f64_on_hopper, numbers_that_break_careless_kernels) {
    PANTILE_NEEDS_DEVICE(90);
    for (const index_t dim : {64, 256}) {
        for (const data_kind kind : data_kinds) {
            const attention_case c = case_of(40, 150, dim, true);
            EXPECT_EQ(judged(c, make_inputs(c, dtype::fp64, kind, 5), on(cuda_kernel::sm90)), "")
                << dim << ' ' << name(kind);
        }
    }
}

TEST(f64_on_hopper, any_problem) {
    PANTILE_NEEDS_DEVICE(90);
    EXPECT_TRUE(rc::check([] {
        size_limits most;
        most.batch = 2;
        most.kv_heads = 2;
        most.length = 150;
        most.dim = 256;
        attention_case c = *any_served_case(most);
        c.head_dim = core::max(c.head_dim / 2 * 2, 2); // what the copy engine can read
        c.value_dim = core::max(c.value_dim / 2 * 2, 2);
        c.k_len = core::max(c.k_len, 1);
        for (index_t& n : c.key_lengths) n = core::min(n, c.k_len);
        gpu_call call = on(cuda_kernel::sm90);
        call.inputs = *rc::gen::element(layout::bhsd, layout::bshd);
        call.outputs = *rc::gen::elementOf(device_outputs);
        const auto in =
            make_inputs(c, dtype::fp64, *any_data_kind(), static_cast<std::uint64_t>(*rc::gen::inRange(0, 1 << 20)));
        const std::string fault = judged(c, in, call);
        if (!fault.empty()) RC_FAIL(fault);
    }));
}

TEST(f64_on_hopper, visible_nan_shows) {
    PANTILE_NEEDS_DEVICE(90);
    expect_visible_nan_shows(dtype::fp64, on(cuda_kernel::sm90));
}

// The ring of tiles wraps many times, and its order of refills depends on which warp is late.
TEST(f64_on_hopper, same_bits_every_time) {
    PANTILE_NEEDS_DEVICE(90);
    for (const index_t dim : {64, 96, 128, 192, 256}) {
        expect_same_bits(case_of(140, 700, dim, true), dtype::fp64, dtype::fp64, on(cuda_kernel::sm90), 30);
    }
}

// A cache beyond its key length, and keys before a window, may hold anything.
TEST(f64_on_hopper, what_lies_beyond_the_visible_keys_never_matters) {
    PANTILE_NEEDS_DEVICE(90);
    for (const index_t dim : {64, 128, 192, 256}) {
        attention_case c = case_of(9, 400, dim, true);
        c.key_lengths = {37, 260};
        constexpr index_t left = 21;
        c.left = left;
        auto in = make_inputs(c, dtype::fp64, data_kind::normal, 13);
        const gpu_result clean = forward_on_gpu(c, in, dtype::fp64, dtype::fp64, on(cuda_kernel::sm90));
        for (index_t b = 0; b < c.batch; ++b) {
            const index_t end = c.key_lengths[static_cast<std::size_t>(b)];
            const index_t begin = core::max(end - c.q_len - left, 0);
            for (index_t h = 0; h < c.kv_heads; ++h) {
                for (index_t j = 0; j < c.k_len; ++j) {
                    if (j >= begin && j < end) continue;
                    for (index_t x = 0; x < dim; ++x) {
                        in.k(b, h, j, x) = std::numeric_limits<double>::quiet_NaN();
                        in.v(b, h, j, x) = std::numeric_limits<double>::infinity();
                    }
                }
            }
        }
        const gpu_result poisoned = forward_on_gpu(c, in, dtype::fp64, dtype::fp64, on(cuda_kernel::sm90));
        EXPECT_EQ(poisoned.out.data, clean.out.data) << dim;
        EXPECT_EQ(poisoned.lse.data, clean.lse.data) << dim;
    }
}

class f64_references : public testing::TestWithParam<cuda_kernel> {};
INSTANTIATE_TEST_SUITE_P(each, f64_references, testing::Values(cuda_kernel::portable, cuda_kernel::sm90),
                         [](const auto& info) { return info.param == cuda_kernel::sm90 ? "sm90" : "portable"; });

// Maxima that rise and fall by less and by more than the slack, within a tile and over many, up to exponents that vanish.
TEST_P(f64_references, follow_maxima_that_wander) {
    PANTILE_NEEDS_DEVICE(GetParam() == cuda_kernel::sm90 ? 90 : 80);
    for (const double step : {0.1, 1.0, 5.0, 40.0, 900.0, 3000.0}) {
        const attention_case c = case_of(40, 330, 64, false);
        auto in = make_inputs(c, dtype::fp64, data_kind::normal, 31);
        // Logit of key j: step · (a triangle wave of j, of its own period in each head), on top of noise.
        for (index_t b = 0; b < c.batch; ++b) {
            for (index_t h = 0; h < c.q_heads; ++h) {
                for (index_t i = 0; i < c.q_len; ++i) in.q(b, h, i, 0) = 1.0 + 0.01 * static_cast<double>(i);
            }
            for (index_t h = 0; h < c.kv_heads; ++h) {
                const index_t period = 7 + 46 * h + 20 * b;
                for (index_t j = 0; j < c.k_len; ++j) {
                    const index_t place = j % (2 * period);
                    in.k(b, h, j, 0) =
                        step * static_cast<double>(place < period ? place : 2 * period - place) / c.scale;
                }
            }
        }
        EXPECT_EQ(judged(c, in, on(GetParam())), "") << step;
    }
}

// Logits of 2^20 to 2^70: beyond 2^40 a reference is no multiple of the table's steps.
TEST_P(f64_references, have_any_size) {
    PANTILE_NEEDS_DEVICE(GetParam() == cuda_kernel::sm90 ? 90 : 80);
    for (const int size : {10, 19, 21, 35}) {
        const attention_case c = case_of(70, 150, 64, true);
        auto in = make_inputs(c, dtype::fp64, data_kind::normal, 37);
        for (double& x : in.q.data) x = std::ldexp(x, size);
        for (double& x : in.k.data) x = std::ldexp(x, size);
        EXPECT_EQ(judged(c, in, on(GetParam())), "") << size;
    }
}

} // namespace
} // namespace pantile::test
