// What a call refuses, and in which words. Checks run before any work; those here need a device only because the choice
// of a kernel asks for one.

#include "device.hpp"

#include <pantile/cuda.hpp>

#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

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

// Kernels hold scale · log2(e) in fp32, or fp64 for fp64.
TEST(errors, scales_beyond_the_range_computed_in_are_refused) {
    const auto expect = [](auto number, double scale, const std::string& type) {
        using T = decltype(number);
        auto* memory = reinterpret_cast<T*>(0x1000000); // NOLINT(performance-no-int-to-ptr)
        const auto inputs = on_device(bhsd<const T>(memory, 1, 1, 2, 8));
        device_options o;
        o.scale = scale;
        try {
            attention(inputs, inputs, inputs, on_device(bhsd(memory + 4096, 1, 1, 2, 8)), nullptr, o);
            ADD_FAILURE() << scale << " was taken";
        } catch (const invalid_argument& e) {
            const std::string words = e.what();
            EXPECT_EQ(words.find("pantile: options.scale is "), 0U) << words;
            EXPECT_NE(words.find(type), std::string::npos) << words;
        }
    };
    for (const double scale : {3e38, -3e38, 1e39, 1e300}) {
        expect(float16(), scale, "fp32");
        expect(bfloat16(), scale, "fp32");
        expect(float(), scale, "fp32");
    }
    expect(double(), 1.5e308, "fp64");
    expect(double(), -1.5e308, "fp64");
}

// ------------------------------------------------------------------------------------------------------------ overlap
// Every pair of a call's arguments of which one is written, a byte in common. Refused before any device is asked for.

/// Of one call: name, first byte, and how to move it there.
struct movable {
    std::string name;
    std::function<void(std::byte*)> move;
    bool written;
    std::size_t bytes;
};
std::byte* place(int n) { return reinterpret_cast<std::byte*>(0x1000000 + n * 0x100000); } // NOLINT

/// Puts every two arguments into the same memory, the first bytes of one at the last of the other; calls, and takes the words
/// of the refusal, which must name both. Two that are only read may share.
template <class Call>
void expect_overlaps_are_refused(const std::vector<movable>& arguments, const Call& call) {
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        for (std::size_t j = 0; j < arguments.size(); ++j) {
            if (i == j || (!arguments[i].written && !arguments[j].written)) continue;
            for (std::size_t n = 0; n < arguments.size(); ++n) arguments[n].move(place(static_cast<int>(n)));
            arguments[i].move(place(static_cast<int>(j)) + arguments[j].bytes - 256);
            try {
                call();
                ADD_FAILURE() << arguments[i].name << " may overlap " << arguments[j].name;
            } catch (const invalid_argument& e) {
                for (const movable& m : {arguments[i], arguments[j]}) {
                    EXPECT_NE(std::string(e.what()).find(m.name), std::string::npos) << e.what() << " names " << m.name;
                }
            }
        }
    }
}

template <class View>
movable of(const std::string& name, View& view, bool written) {
    using T = std::remove_reference_t<decltype(*view.data)>;
    std::size_t count = 1;
    for (const index_t n : view.extent) count *= static_cast<std::size_t>(n);
    return {name, [&view](std::byte* to) { view.data = reinterpret_cast<T*>(to); }, written, count * sizeof(T)};
}
movable of_workspace(device_options& o) {
    return {"options.workspace", [&o](std::byte* to) { o.workspace = {to, 4096}; }, true, 4096};
}
/// 64 batches: a length each.
movable of_key_lengths(device_options& o) {
    return {"options.key_lengths", [&o](std::byte* to) { o.key_lengths = reinterpret_cast<const index_t*>(to); }, false,
            512};
}

struct call_views {
    device_view<const float> q = on_device(bhsd<const float>(nullptr, 64, 2, 3, 8));
    device_view<const float> k = on_device(bhsd<const float>(nullptr, 64, 1, 5, 8));
    device_view<const float> v = on_device(bhsd<const float>(nullptr, 64, 1, 5, 8));
    device_view<float> out = on_device(bhsd<float>(nullptr, 64, 2, 3, 8));
    device_row_view<float> lse{nullptr, {64, 2, 3}, {6, 3, 1}};
    device_row_view<float> max = lse;
    device_options options{};
    std::vector<movable> inputs() {
        return {of("q", q, false), of("k", k, false), of("v", v, false), of_key_lengths(options),
                of_workspace(options)};
    }
};

TEST(errors, arguments_of_a_call_may_not_overlap) {
    call_views t;
    std::vector<movable> all = t.inputs();
    all.push_back(of("out", t.out, true));
    all.push_back(of("lse", t.lse, true));
    expect_overlaps_are_refused(all, [&] { attention(t.q, t.k, t.v, t.out, t.lse, nullptr, t.options); });
}

TEST(errors, arguments_of_a_partial_call_may_not_overlap) {
    call_views t;
    std::vector<movable> all = t.inputs();
    all.push_back(of("part.out", t.out, true));
    all.push_back(of("part.max", t.max, true));
    all.push_back(of("part.sum", t.lse, true));
    expect_overlaps_are_refused(all, [&] {
        attention_partial(t.q, t.k, t.v, {t.out, t.max, t.lse}, nullptr, t.options);
    });
}

/// Two parts, and a third that is written.
struct part_views {
    device_partial_view<float> part[3];
    part_views() {
        const call_views shapes;
        for (auto& p : part) p = {shapes.out, shapes.lse, shapes.max};
    }
    std::vector<movable> tensors(int n, const std::string& prefix, bool written) {
        return {of(prefix + ".out", part[n].out, written), of(prefix + ".max", part[n].max, written),
                of(prefix + ".sum", part[n].sum, written)};
    }
};

TEST(errors, arguments_of_a_merge_may_not_overlap) {
    part_views t;
    std::vector<movable> all = t.tensors(0, "a", false);
    for (const movable& m : t.tensors(1, "b", false)) all.push_back(m);
    for (const movable& m : t.tensors(2, "part", true)) all.push_back(m);
    expect_overlaps_are_refused(all, [&] {
        merge(device_partial_view<const float>(t.part[0]), device_partial_view<const float>(t.part[1]), t.part[2],
              nullptr);
    });
    // In the memory of `a`, the same holds but for the places that are meant.
    all = t.tensors(0, "part", true);
    for (const movable& m : t.tensors(1, "b", false)) all.push_back(m);
    expect_overlaps_are_refused(all, [&] {
        merge(device_partial_view<const float>(t.part[0]), device_partial_view<const float>(t.part[1]), t.part[0],
              nullptr);
    });
}

TEST(errors, arguments_of_finish_may_not_overlap) {
    part_views t;
    std::vector<movable> all = t.tensors(0, "part", false);
    all.push_back(of("out", t.part[1].out, true));
    all.push_back(of("lse", t.part[1].sum, true));
    expect_overlaps_are_refused(
        all, [&] { finish(device_partial_view<const float>(t.part[0]), t.part[1].out, t.part[1].sum, nullptr); });
}

TEST(errors, overlap_is_told_in_these_words) {
    views t;
    t.out.data = t.memory;
    expect_refusal<invalid_argument>("pantile: out overlaps q: an output needs memory of its own",
                                     [&] { attention(t.q, t.k, t.v, t.out, nullptr); });
    t = {};
    device_options o;
    o.workspace = {reinterpret_cast<std::byte*>(t.out.data) + 512, 1 << 20};
    expect_refusal<invalid_argument>("pantile: options.workspace overlaps out: work memory must hold nothing else",
                                     [&] { attention(t.q, t.k, t.v, t.out, nullptr, o); });
}

// ----------------------------------------------------------------------------------------------------- CUDA's failures

// What a failed call of the caller's left behind is neither ours to report nor to clear.
TEST(errors, a_stale_error_of_the_caller_stays_the_caller_s) {
    PANTILE_NEEDS_DEVICE(80);
    const on_gpu<float> memory(std::vector<float>(8 * 4096, 1.0F));
    const auto tensor = [&](int n, index_t length) {
        return on_device(bhsd(memory.data() + n * 4096, 1, 1, length, 8));
    };
    const auto rows = [&](int n) {
        return device_row_view<float>{memory.data() + n * 4096 + 2048, {1, 1, 4}, {4, 4, 1}};
    };
    const auto part = [&](int n) { return device_partial_view<float>{tensor(n, 4), rows(n), rows(n + 1)}; };
    const auto call = [&](device_options o) {
        attention(device_view<const float>(tensor(0, 4)), tensor(1, 300), tensor(2, 300), tensor(3, 4), rows(3),
                  nullptr, o);
    };
    const auto leave_an_error = [] {
        cudaGetLastError();
        cudaDeviceProp p{};
        ASSERT_EQ(cudaGetDeviceProperties(&p, 100), cudaErrorInvalidDevice);
    };
    const auto expect_it_is_left = [] {
        EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
        EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
    };
    for (const cuda_kernel kernel :
         {cuda_kernel::portable, cuda_kernel::decode, cuda_kernel::ffma, cuda_kernel::sm90}) {
        if (kernel == cuda_kernel::sm90 && compute_capability() != 90) continue;
        for (const index_t splits : {1, 3}) {
            if (kernel == cuda_kernel::sm90 && splits > 1) continue;
            device_options o;
            o.kernel = kernel;
            o.key_splits = splits;
            leave_an_error();
            EXPECT_NO_THROW(call(o)) << static_cast<int>(kernel) << ' ' << splits;
            expect_it_is_left();
        }
    }
    leave_an_error();
    EXPECT_NO_THROW(static_cast<void>(explain(device_view<const float>(tensor(0, 4)), tensor(1, 300), tensor(2, 300))));
    expect_it_is_left();
    leave_an_error();
    EXPECT_NO_THROW(merge(device_partial_view<const float>(part(0)), part(2), part(4), nullptr));
    expect_it_is_left();
    leave_an_error();
    EXPECT_NO_THROW(finish(device_partial_view<const float>(part(0)), tensor(3, 4), rows(4), nullptr));
    expect_it_is_left();
}

// A reset device has forgotten what kernels were allowed; the next call sees to it. In a process of its own: the reset takes
// everybody's memory.
TEST(errors_death, calls_go_on_after_a_reset_of_the_device) {
    PANTILE_NEEDS_DEVICE(80);
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const auto call_reset_and_call = [] {
        for (int turn = 0; turn < 2; ++turn) {
            {
                const on_gpu<bfloat16> memory(std::vector<bfloat16>(4 * 16384));
                const auto tensor = [&](int n) { return on_device(bhsd(memory.data() + n * 16384, 1, 1, 128, 128)); };
                attention(device_view<const bfloat16>(tensor(0)), tensor(1), tensor(2), tensor(3), nullptr);
                if (cudaDeviceSynchronize() != cudaSuccess) std::exit(1);
            }
            if (cudaDeviceReset() != cudaSuccess) std::exit(2);
        }
        std::exit(0);
    };
    EXPECT_EXIT(call_reset_and_call(), testing::ExitedWithCode(0), "");
}

TEST(errors, a_failure_of_ours_is_told_with_the_runtime_s_words) {
    PANTILE_NEEDS_DEVICE(80);
    views t; // more splits than memory: the workspace fails before anything is read
    t.q = on_device(bhsd<const float16>(t.memory, 2, 4, 100'000, 64));
    t.k = on_device(bhsd<const float16>(t.memory + 100'000'000, 2, 2, 100'000, 64));
    t.v = on_device(bhsd<const float16>(t.memory + 200'000'000, 2, 2, 100'000, 64));
    t.out = on_device(bhsd(t.memory + 300'000'000, 2, 4, 100'000, 64));
    device_options o;
    o.kernel = cuda_kernel::portable;
    o.key_splits = 60'000;
    for (const bool stale : {false, true}) {
        cudaDeviceProp p{};
        EXPECT_EQ(cudaGetDeviceProperties(&p, stale ? 100 : 0), stale ? cudaErrorInvalidDevice : cudaSuccess);
        expect_refusal<cuda_error>("pantile: cudaMallocAsync(workspace): out of memory (cudaErrorMemoryAllocation)",
                                   [&] { attention(t.q, t.k, t.v, t.out, nullptr, o); });
        cudaGetLastError();
    }
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
