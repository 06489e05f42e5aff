// What becomes of each field of a C struct; statuses, messages and memory that is not there.
#include <array>
#include <new>
#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pantile/c_translation.hpp>
#include <pantile/error.hpp>
#include <support/guarded_new.hpp>

#include "c_tensor.hpp"

namespace pantile::test {
namespace {

using testing::HasSubstr;

options translated(const pantile_options* o) {
    static const std::array<float, 96> numbers{};
    const pantile_tensor q = in_c(bhsd<const float>(numbers.data(), 2, 1, 3, 4));
    return c_interface::to_inputs(&q, &q, &q, o).o;
}

void expect_equal(const head_numbers& a, const head_numbers& b) {
    EXPECT_EQ(a.ref(), b.ref());
    EXPECT_EQ(a.size(), b.size());
    EXPECT_EQ(a.where(), b.where());
}

void expect_equal(const options& a, const options& b) {
    const auto& [mask, scale, softcap, slopes, sinks, key_lengths, accumulate, threads, isa, plan, kernel, key_splits,
                 workspace] = a;
    EXPECT_EQ(mask.left, b.mask.left);
    EXPECT_EQ(mask.right, b.mask.right);
    EXPECT_EQ(mask.align, b.mask.align);
    EXPECT_EQ(mask.offset, b.mask.offset);
    EXPECT_EQ(scale, b.scale);
    EXPECT_EQ(softcap, b.softcap);
    expect_equal(slopes, b.slopes);
    expect_equal(sinks, b.sinks);
    EXPECT_EQ(key_lengths.ref(), b.key_lengths.ref());
    EXPECT_EQ(key_lengths.size(), b.key_lengths.size());
    EXPECT_EQ(key_lengths.where(), b.key_lengths.where());
    EXPECT_EQ(accumulate, b.accumulate);
    EXPECT_EQ(threads, b.threads);
    EXPECT_EQ(isa, b.isa);
    EXPECT_EQ(plan, b.plan);
    EXPECT_EQ(kernel, b.kernel);
    EXPECT_EQ(key_splits, b.key_splits);
    EXPECT_EQ(workspace.data(), b.workspace.data());
    EXPECT_EQ(workspace.size(), b.workspace.size());
}

TEST(c_translation, no_options_and_zeros_are_the_defaults) {
    const options defaults;
    expect_equal(translated(nullptr), defaults);
    const pantile_options written = PANTILE_OPTIONS_INIT;
    expect_equal(translated(&written), defaults);
    pantile_options zeros = {};
    zeros.size = sizeof zeros;
    expect_equal(translated(&zeros), defaults);
    EXPECT_EQ(std::memcmp(&written, &zeros, sizeof zeros), 0);
    // A caller who was compiled before there were soft caps, slopes and sinks: none of them is read.
    pantile_options before;
    std::memset(&before, 0x5a, sizeof before);
    std::memcpy(&before, &zeros, offsetof(pantile_options, softcap));
    before.size = offsetof(pantile_options, softcap);
    ASSERT_EQ(before.size, 144U);
    before.threads = 3;
    options three;
    three.threads = 3;
    expect_equal(translated(&before), three);
    // A caller who has nothing but the size: what lies behind it is not read.
    pantile_options garbage;
    std::memset(&garbage, 0x5a, sizeof garbage);
    garbage.size = sizeof(size_t);
    expect_equal(translated(&garbage), defaults);
}

TEST(c_translation, every_option_arrives) {
    std::array<std::int64_t, 2> lengths{1, 2};
    const std::array<double, 2> slopes{0.5, 0.25};
    const std::array<float, 1> sinks{-1.0F};
    std::array<std::byte, 64> workspace{};
    pantile_options c = PANTILE_OPTIONS_INIT;
    c.mask = {5, 6, PANTILE_EXPLICIT_OFFSET, -7};
    c.has_scale = 1;
    c.scale = -0.25;
    c.softcap = 30;
    c.slopes = {slopes.data(), 2, PANTILE_FP64, PANTILE_HOST};
    c.sinks = {sinks.data(), 1, PANTILE_FP32, PANTILE_HOST};
    c.key_lengths = {lengths.data(), 2, 64, PANTILE_HOST};
    c.accumulate = 1;
    c.threads = 3;
    c.isa = PANTILE_ISA_AVX2;
    c.plan = {16, 32, 1};
    c.kernel = PANTILE_KERNEL_SM90;
    c.key_splits = 4;
    c.workspace = workspace.data();
    c.workspace_bytes = 48;
    options o;
    o.mask = {5, 6, alignment::explicit_offset, -7};
    o.scale = -0.25;
    o.softcap = 30;
    o.slopes = slopes;
    o.sinks = sinks;
    o.key_lengths = lengths;
    o.accumulate = true;
    o.threads = 3;
    o.isa = isa::avx2;
    o.plan = tile_plan{16, 32, 1};
    o.kernel = cuda_kernel::sm90;
    o.key_splits = 4;
    o.workspace = std::span(workspace).first(48);
    expect_equal(translated(&c), o);

    // One field at a time: none needs another, and none stands for another.
    const auto alone = [&](auto set_in_c, auto set) {
        pantile_options one = PANTILE_OPTIONS_INIT;
        options expected;
        set_in_c(one);
        set(expected);
        expect_equal(translated(&one), expected);
    };
    alone([](auto& x) { x.has_scale = 1; }, [](auto& x) { x.scale = 0.0; });
    alone([](auto& x) { x.accumulate = 1; }, [](auto& x) { x.accumulate = true; });
    alone([](auto& x) { x.threads = 2; }, [](auto& x) { x.threads = 2; });
    alone([](auto& x) { x.key_splits = 9; }, [](auto& x) { x.key_splits = 9; });
    alone([](auto& x) { x.plan.row_tile = 8; }, [](auto& x) { x.plan = tile_plan{8, 0, 0}; });
    alone([](auto& x) { x.plan.key_tile = 8; }, [](auto& x) { x.plan = tile_plan{0, 8, 0}; });
    alone([](auto& x) { x.plan.key_splits = 8; }, [](auto& x) { x.plan = tile_plan{0, 0, 8}; });
    alone([](auto& x) { x.mask = pantile_causal(PANTILE_BOTTOM_RIGHT); }, [](auto& x) { x.mask = causal(); });
    alone([](auto& x) { x.mask = pantile_causal(PANTILE_TOP_LEFT); },
          [](auto& x) { x.mask = causal(alignment::top_left); });
    alone([](auto& x) { x.mask = pantile_window(3, PANTILE_UNBOUNDED, PANTILE_TOP_LEFT); },
          [](auto& x) { x.mask = window(3, unbounded, alignment::top_left); });
    alone([](auto& x) { x.mask = pantile_at_offset(pantile_window(3, 4, PANTILE_TOP_LEFT), 5); },
          [](auto& x) { x.mask = window(3, 4).at_offset(5); });
    alone([](auto& x) { x.mask = pantile_at_offset({}, 5); }, [](auto& x) { x.mask = full().at_offset(5); });
    alone([](auto& x) { x.softcap = 0.5; }, [](auto& x) { x.softcap = 0.5; });
    alone([](auto& x) { x.softcap = -1; }, [](auto& x) { x.softcap = -1; }); // which the call refuses
    alone(
        [&](auto& x) {
            x.slopes = {sinks.data(), 1, PANTILE_FP32, PANTILE_HOST};
        },
        [&](auto& x) { x.slopes = sinks; });
    alone(
        [&](auto& x) {
            x.sinks = {slopes.data(), 2, PANTILE_FP64, PANTILE_HOST};
        },
        [&](auto& x) { x.sinks = slopes; });
    alone(
        [&](auto& x) {
            x.slopes = {slopes.data(), 2, PANTILE_FP64, PANTILE_DEVICE};
        },
        [&](auto& x) { x.slopes = on_device(std::span(slopes)); });
    alone(
        [&](auto& x) {
            x.sinks = {sinks.data(), PANTILE_ONE_A_HEAD, PANTILE_FP32, PANTILE_DEVICE};
        },
        [&](auto& x) { x.sinks = sinks.data(); });
    std::array<std::int32_t, 2> narrow{1, 2};
    alone(
        [&](auto& x) {
            x.key_lengths = {narrow.data(), 2, 32, PANTILE_HOST};
        },
        [&](auto& x) { x.key_lengths = narrow; });
    alone(
        [&](auto& x) {
            x.key_lengths = {narrow.data(), 2, 32, PANTILE_DEVICE};
        },
        [&](auto& x) { x.key_lengths = on_device(std::span<std::int32_t>(narrow)); });
    alone(
        [&](auto& x) {
            x.key_lengths = {narrow.data(), PANTILE_ONE_A_BATCH, 32, PANTILE_DEVICE};
        },
        [&](auto& x) { x.key_lengths = narrow.data(); });
}

void expect_equal(const head_gradients& a, const head_gradients& b) {
    EXPECT_EQ(a.data, b.data);
    EXPECT_EQ(a.type, b.type);
    EXPECT_EQ(a.where, b.where);
    EXPECT_EQ(a.count, b.count);
    EXPECT_EQ(a.wanted, b.wanted);
}

TEST(c_translation, every_gradient_arrives) {
    float narrow[3] = {};
    double wide[2] = {};
    const auto tensor = [&](int n) { return in_c(bhsd(narrow + n, 1, 1, 1, 1)); };
    pantile_gradients c = {sizeof c,
                           tensor(0),
                           tensor(1),
                           tensor(2),
                           {wide, 2, PANTILE_FP64, PANTILE_HOST},
                           {narrow, 3, PANTILE_FP32, PANTILE_DEVICE}};
    const gradients g = c_interface::to_gradients(&c);
    EXPECT_TRUE(g.dq.wanted && g.dk.wanted && g.dv.wanted);
    EXPECT_EQ(g.dq.data, narrow);
    EXPECT_EQ(g.dk.data, narrow + 1);
    EXPECT_EQ(g.dv.data, narrow + 2);
    expect_equal(g.dslopes, wide);
    expect_equal(g.dsinks, {narrow, 3, memory::device});
    c.dslopes.memory = PANTILE_DEVICE;
    expect_equal(c_interface::to_gradients(&c).dslopes, {wide, 2, memory::device});
    // A count of 0 is wanted, and none of the right size unless there are no heads.
    c.dsinks.count = 0;
    expect_equal(c_interface::to_gradients(&c).dsinks, {narrow, 0, memory::device});
    // Not given; and what a caller has who was compiled before they were there.
    c.dslopes = {};
    expect_equal(c_interface::to_gradients(&c).dslopes, {});
    std::memset(&c.dslopes, 0x5a, sizeof c.dslopes);
    std::memset(&c.dsinks, 0x5a, sizeof c.dsinks);
    c.size = offsetof(pantile_gradients, dslopes);
    ASSERT_EQ(c.size, 272U);
    const gradients before = c_interface::to_gradients(&c);
    EXPECT_EQ(before.dv.data, narrow + 2);
    expect_equal(before.dslopes, {});
    expect_equal(before.dsinks, {});
}

TEST(c_translation, numbers_of_enumerations) {
    const auto option = [](auto set) {
        pantile_options o = PANTILE_OPTIONS_INIT;
        set(o);
        return translated(&o);
    };
    constexpr isa sets[] = {isa::automatic, isa::baseline, isa::avx2, isa::avx512, isa::amx};
    constexpr cuda_kernel kernels[] = {cuda_kernel::automatic, cuda_kernel::portable, cuda_kernel::decode,
                                       cuda_kernel::sm90, cuda_kernel::ffma};
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(option([i](auto& o) { o.isa = i; }).isa, sets[i]);
        EXPECT_EQ(option([i](auto& o) { o.kernel = i; }).kernel, kernels[i]);
    }
    constexpr dtype types[] = {dtype::fp32, dtype::fp64, dtype::fp16, dtype::bf16};
    float x = 0;
    for (int i = 0; i < 4; ++i) {
        pantile_tensor t = pantile_bhs(&x, i, 2, 3, 4);
        const tensor_ref made = c_interface::to_tensor(&t, "t", 3);
        EXPECT_EQ(made.type, types[i]);
        EXPECT_EQ(made.where, memory::host);
        t = pantile_on_device(t);
        EXPECT_EQ(c_interface::to_tensor(&t, "t", 3).where, memory::device);
    }
}

void expect_same_tensor(const pantile_tensor& a, const pantile_tensor& b) {
    EXPECT_EQ(std::memcmp(&a, &b, sizeof a), 0);
}

TEST(c_translation, layouts) {
    double x = 0;
    expect_same_tensor(pantile_bshd(&x, PANTILE_FP64, 2, 3, 4, 5), in_c(bshd(&x, 2, 3, 4, 5)));
    expect_same_tensor(pantile_bhsd(&x, PANTILE_FP64, 2, 3, 4, 5), in_c(bhsd(&x, 2, 3, 4, 5)));
    expect_same_tensor(pantile_bhs(&x, PANTILE_FP64, 2, 3, 4), in_c(bhs(&x, 2, 3, 4)));
    const std::int64_t extent[] = {2, 3, 4, 5}, stride[] = {-9, 0, 7, 3};
    expect_same_tensor(pantile_strided(&x, PANTILE_FP64, extent, stride),
                       in_c(strided(&x, {2, 3, 4, 5}, {-9, 0, 7, 3})));
    EXPECT_EQ(pantile_strided(&x, PANTILE_FP64, nullptr, stride).rank, 0);
    EXPECT_EQ(pantile_strided(&x, PANTILE_FP64, extent, nullptr).rank, 0);
    // Sizes that no memory has: refused by the call, not here.
    const std::int64_t huge = std::int64_t{1} << 62;
    EXPECT_EQ(pantile_bhsd(&x, PANTILE_FP64, huge, huge, huge, huge).extent[3], huge);
}

TEST(c_translation, traffic_and_tiles_there_and_back) {
    index_t n = 0;
    const auto next = [&] { return core::transfers{++n, ++n}; };
    const core::traffic t{next(), next(), next(), next(), next(), next(), next(),
                          next(), next(), next(), next(), next(), next(), next()};
    EXPECT_EQ(c_interface::from_c(c_interface::to_c(t)), t);
    EXPECT_EQ(c_interface::to_c(t).dprobabilities.writes, 28);
    EXPECT_EQ(c_interface::from_c(c_interface::to_c(tile_plan{1, 2, 3})), (tile_plan{1, 2, 3}));
}

TEST(c_status, each_exception_has_its_own) {
    const auto status = [](auto thrown) { return c_interface::guarded([&] { throw thrown; }); };
    EXPECT_EQ(c_interface::guarded([] {}), PANTILE_OK);
    EXPECT_EQ(status(invalid_argument("a")), PANTILE_INVALID_ARGUMENT);
    EXPECT_STREQ(pantile_message(), "a");
    EXPECT_EQ(status(unsupported("b")), PANTILE_UNSUPPORTED);
    EXPECT_STREQ(pantile_message(), "b");
    EXPECT_EQ(status(cuda_error("c")), PANTILE_CUDA_ERROR);
    EXPECT_STREQ(pantile_message(), "c");
    EXPECT_EQ(status(std::bad_alloc()), PANTILE_OUT_OF_MEMORY);
    EXPECT_STREQ(pantile_message(), "pantile: out of memory");
    EXPECT_EQ(status(std::logic_error("e")), PANTILE_INTERNAL_ERROR);
    EXPECT_STREQ(pantile_message(), "e");
    EXPECT_EQ(status(7), PANTILE_INTERNAL_ERROR);
    EXPECT_STREQ(pantile_message(), "pantile: an unknown exception");
    EXPECT_EQ(status(invalid_argument(std::string(5000, 'x'))), PANTILE_INVALID_ARGUMENT);
    EXPECT_EQ(pantile_message(), std::string(1023, 'x'));
    EXPECT_EQ(c_interface::guarded([] {}), PANTILE_OK);
    EXPECT_EQ(pantile_message(), std::string(1023, 'x')) << "a call that succeeds leaves it";
}

TEST(c_status, a_message_is_its_threads_own) {
    EXPECT_EQ(pantile_merge(nullptr, nullptr, nullptr), PANTILE_INVALID_ARGUMENT);
    EXPECT_STREQ(pantile_message(), "pantile: a is NULL");
    std::string before, after;
    std::thread([&] {
        before = pantile_message();
        EXPECT_EQ(pantile_finish(nullptr, nullptr), PANTILE_INVALID_ARGUMENT);
        after = pantile_message();
    }).join();
    EXPECT_EQ(before, "");
    EXPECT_EQ(after, "pantile: part is NULL");
    EXPECT_STREQ(pantile_message(), "pantile: a is NULL");
}

TEST(c_status, names) {
    EXPECT_STREQ(pantile_status_name(PANTILE_OK), "PANTILE_OK");
    EXPECT_STREQ(pantile_status_name(PANTILE_INVALID_ARGUMENT), "PANTILE_INVALID_ARGUMENT");
    EXPECT_STREQ(pantile_status_name(PANTILE_UNSUPPORTED), "PANTILE_UNSUPPORTED");
    EXPECT_STREQ(pantile_status_name(PANTILE_CUDA_ERROR), "PANTILE_CUDA_ERROR");
    EXPECT_STREQ(pantile_status_name(PANTILE_OUT_OF_MEMORY), "PANTILE_OUT_OF_MEMORY");
    EXPECT_STREQ(pantile_status_name(PANTILE_INTERNAL_ERROR), "PANTILE_INTERNAL_ERROR");
    EXPECT_STREQ(pantile_status_name(6), "an unknown status");
    EXPECT_STREQ(pantile_status_name(-1), "an unknown status");
    EXPECT_EQ(pantile_version(), PANTILE_VERSION);
}

TEST(c_status, memory_that_is_not_there_is_a_status) {
    if (!new_is_guarded()) GTEST_SKIP() << "a sanitizer has an operator new of its own";
    const std::vector<float> x = random_numbers<float>(1024 * 64, 1);
    std::vector<float> out(x.size(), 3.0F);
    const pantile_tensor q = pantile_bhsd(x.data(), PANTILE_FP32, 1, 1, 1024, 64);
    pantile_results r = {sizeof r, pantile_bhsd(out.data(), PANTILE_FP32, 1, 1, 1024, 64), {}};
    pantile_status status = PANTILE_OK;
    std::thread([&] { // a thread that has no work memory yet
        const refused_memory none;
        status = pantile_attention(&q, &q, &q, &r, nullptr);
    })
        .join();
    EXPECT_EQ(status, PANTILE_OUT_OF_MEMORY);
    EXPECT_EQ(out, std::vector<float>(x.size(), 3.0F));
}

/// What a caller may hand to the formatter: texts that have no end, and buffers of every size.
TEST(c_explanation, texts_of_any_capacity) {
    pantile_explanation e = {};
    e.size = sizeof e;
    std::memset(e.machine, 'm', sizeof e.machine);
    std::memset(e.note, 'n', sizeof e.note);
    size_t needed = 0;
    ASSERT_EQ(pantile_explanation_text(&e, nullptr, 0, &needed), PANTILE_OK);
    std::vector<char> whole(needed);
    ASSERT_EQ(pantile_explanation_text(&e, whole.data(), whole.size(), nullptr), PANTILE_OK);
    EXPECT_EQ(std::strlen(whole.data()) + 1, needed);
    EXPECT_THAT(whole.data(), HasSubstr(std::string(16, 'm') + ", "));
    EXPECT_THAT(whole.data(), HasSubstr("note       " + std::string(256, 'n')));
    for (size_t capacity = 1; capacity < needed; ++capacity) {
        std::vector<char> text(capacity + 1, '#');
        ASSERT_EQ(pantile_explanation_text(&e, text.data(), capacity, &needed), PANTILE_OK);
        EXPECT_EQ(std::string(text.data()), std::string(whole.data(), capacity - 1));
        EXPECT_EQ(text.back(), '#');
        EXPECT_EQ(needed, whole.size());
    }
    EXPECT_EQ(pantile_explanation_text(&e, nullptr, 1, nullptr), PANTILE_INVALID_ARGUMENT);
    EXPECT_STREQ(pantile_message(), "pantile: text is NULL, but capacity is 1");
    EXPECT_EQ(pantile_explanation_text(nullptr, nullptr, 0, nullptr), PANTILE_INVALID_ARGUMENT);
    EXPECT_STREQ(pantile_message(), "pantile: explanation is NULL");
}

/// No text that the library gives is cut by an array of the C struct.
TEST(c_explanation, texts_fit) {
    char small[4];
    c_interface::copy_text("abc", small);
    EXPECT_STREQ(small, "abc");
    c_interface::copy_text("abcd", small);
    EXPECT_STREQ(small, "abc");
}

} // namespace
} // namespace pantile::test
