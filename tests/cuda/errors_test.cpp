// What a call refuses, and in which words. Checks run before any work; those here need a device only because the choice
// of a kernel asks for one.

#include "device.hpp"

#include <pantile/cuda.hpp>

namespace pantile::test {
namespace {

/// Views over memory that is never read: refused calls do not launch.
struct views {
    float16* memory = reinterpret_cast<float16*>(0x1000000); // NOLINT(performance-no-int-to-ptr)
    device_view<const float16> q = on_device(bhsd<const float16>(memory, 2, 4, 10, 64));
    device_view<const float16> k = on_device(bhsd<const float16>(memory + 100000, 2, 2, 20, 64));
    device_view<const float16> v = on_device(bhsd<const float16>(memory + 200000, 2, 2, 20, 64));
    device_view<float16> out = on_device(bhsd(memory + 300000, 2, 4, 10, 64));
};

template <class Error, class Call>
void expect_refusal(const std::string& words, Call call) {
    try {
        call();
        FAIL() << "nothing was thrown; expected: " << words;
    } catch (const Error& e) {
        EXPECT_EQ(std::string(e.what()), words);
    }
}

TEST(errors, shapes_are_checked_before_any_device_is_asked_for) {
    views t;
    t.k.extent[3] = 72;
    expect_refusal<invalid_argument>("pantile: k.head_dim is 72, q.head_dim is 64: they must be equal",
                                     [&] { attention(t.q, t.k, t.v, t.out, nullptr); });
}

TEST(errors, last_dim_must_be_contiguous) {
    views t;
    t.v.stride[3] = 2;
    expect_refusal<unsupported>("pantile: the stride of v's last dim is 2: the CUDA machine needs 1",
                                [&] { attention(t.q, t.k, t.v, t.out, nullptr); });
}

TEST(errors, dims_beyond_256_are_unsupported) {
    PANTILE_NEEDS_DEVICE(80);
    views t;
    for (auto* view : {&t.q, &t.k}) view->extent[3] = 264;
    expect_refusal<unsupported>("pantile: the CUDA machine serves head and value dims up to 256, and this call has 264",
                                [&] { attention(t.q, t.k, t.v, t.out, nullptr); });
}

TEST(errors, outputs_may_not_overlap_inputs) {
    PANTILE_NEEDS_DEVICE(80);
    views t;
    t.out.data = t.memory;
    expect_refusal<invalid_argument>("pantile: out overlaps q: an output needs memory of its own",
                                     [&] { attention(t.q, t.k, t.v, t.out, nullptr); });
}

TEST(errors, a_workspace_that_is_too_small_is_refused) {
    PANTILE_NEEDS_DEVICE(80);
    views t;
    device_options o;
    o.key_splits = 2;
    std::byte some[1];
    o.workspace = some;
    expect_refusal<invalid_argument>(
        "pantile: options.workspace has 1 bytes: this call needs 42240 (explain(...).workspace_bytes)",
        [&] { attention(t.q, t.k, t.v, t.out, nullptr, o); });
    EXPECT_EQ(explain(t.q, t.k, t.v, o).workspace_bytes, 42240);
}

TEST(errors, without_a_device_the_runtime_speaks) {
    if (compute_capability() != 0) GTEST_SKIP() << "this machine has a GPU";
    const views t;
    EXPECT_THROW(attention(t.q, t.k, t.v, t.out, nullptr), cuda_error);
}

} // namespace
} // namespace pantile::test
