// The checks of soft caps, slopes, sinks and their gradients: what is refused, in which words, and what is taken.
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <pantile/core/check.hpp>
#include <pantile/error.hpp>
#include <pantile/options.hpp>
#include <pantile/results.hpp>

namespace pantile::inline v0::core {
namespace {

constexpr index_t batch = 3, q_heads = 4, kv_heads = 2;

template <class F>
std::string refusal_of(F f) {
    try {
        f();
    } catch (const invalid_argument& e) {
        return e.what();
    }
    return "";
}

/// The problem of q (3, 4, 5, 8), k and v (3, 2, 6, 8) with these options. The checks read none of their numbers.
problem checked(const options& o, dtype type = dtype::fp32, memory here = memory::host, index_t batches = batch,
                index_t heads = q_heads) {
    static std::byte numbers[1];
    const auto tensor = [&](const char* name, index_t h, index_t length) {
        tensor_ref t;
        t.data = numbers;
        t.type = type;
        t.where = here;
        t.rank = 4;
        const index_t extent[] = {batches, h, length, 8};
        for (int i = 0; i < 4; ++i) t.extent[i] = extent[i];
        return describe(name, t);
    };
    return check_inputs(tensor("q", heads, 5), tensor("k", heads == 0 ? 0 : kv_heads, 6),
                        tensor("v", heads == 0 ? 0 : kv_heads, 6), describe(o), here);
}
std::string refusal(const options& o, dtype type = dtype::fp32, memory here = memory::host) {
    return refusal_of([&] { (void)checked(o, type, here); });
}

TEST(check_softcap, refuses_what_is_no_cap) {
    const auto text = [](const char* cap, const char* type) {
        return std::string("pantile: options.softcap is ") + cap +
               ": it must be at least 0 (0: off), and softcap · log2(e) finite in " + type;
    };
    EXPECT_EQ(refusal({.softcap = -1.0}), text("-1", "fp32"));
    EXPECT_EQ(refusal({.softcap = -1e-300}, dtype::fp64), text("-1e-300", "fp64"));
    EXPECT_EQ(refusal({.softcap = std::nan("")}, dtype::bf16), text("nan", "fp32"));
    EXPECT_EQ(refusal({.softcap = HUGE_VAL}, dtype::fp64), text("inf", "fp64"));
    EXPECT_EQ(refusal({.softcap = -HUGE_VAL}), text("-inf", "fp32"));
    for (const dtype narrow : {dtype::fp32, dtype::fp16, dtype::bf16}) {
        EXPECT_EQ(refusal({.softcap = 2.3587e38}, narrow), text("2.3587e+38", "fp32"));
        EXPECT_EQ(refusal({.softcap = 2.3586e38}, narrow), "");
    }
    EXPECT_EQ(refusal({.softcap = 2.3587e38}, dtype::fp64), "");
    EXPECT_EQ(refusal({.softcap = 1.2461e308}, dtype::fp64), text("1.2461e+308", "fp64"));
    EXPECT_EQ(refusal({.softcap = 1.246e308}, dtype::fp64), "");
    for (const double fine : {0.0, -0.0, 30.0, 5e-324}) EXPECT_EQ(refusal({.softcap = fine}), "") << fine;
    EXPECT_EQ(checked({.softcap = 30.0}).features.softcap, 30.0);
    EXPECT_EQ(checked({}).features.softcap, 0.0);
}

/// Slopes and sinks alike: `set` puts numbers into the option of this name.
struct option_of_heads {
    std::string name;
    std::string also; ///< what the text says of counts beside one a query head
    std::function<void(options&, const head_numbers&)> set;
    std::function<const head_numbers_ref&(const problem&)> get;
};
const option_of_heads both[] = {{"pantile: options.slopes", ", or one a batch and query head",
                                 [](options& o, const head_numbers& n) { o.slopes = n; },
                                 [](const problem& p) -> const head_numbers_ref& { return p.features.slopes; }},
                                {"pantile: options.sinks", "", [](options& o, const head_numbers& n) { o.sinks = n; },
                                 [](const problem& p) -> const head_numbers_ref& { return p.features.sinks; }}};

std::string refusal(const option_of_heads& x, const head_numbers& n, dtype type = dtype::fp32,
                    memory here = memory::host) {
    options o;
    x.set(o, n);
    return refusal(o, type, here);
}

TEST(check_heads_of, refuses_another_count) {
    const std::vector<float> many(40, 0.5F);
    for (const option_of_heads& x : both) {
        for (const std::size_t count : {1, 2, 3, 5, 6, 8, 11, 12, 13, 16}) {
            if (count == batch * q_heads && !x.also.empty()) continue;
            const std::string text = x.name + " has " + std::to_string(count) +
                                     " entries, q.heads is 4: there must be one a query head" + x.also;
            EXPECT_EQ(refusal(x, {many.data(), count}), text);
            EXPECT_EQ(refusal(x, {many.data(), count, memory::device}, dtype::fp32, memory::device), text);
        }
        EXPECT_EQ(refusal(x, {many.data(), 4}), "");
        EXPECT_EQ(refusal(x, {many.data(), 4, memory::device}, dtype::fp32, memory::device), "");
        // On the host it must be known how many may be read.
        EXPECT_EQ(refusal(x, {many.data(), static_cast<std::size_t>(-1)}),
                  x.name + " has -1 entries, q.heads is 4: there must be one a query head" + x.also);
    }
    EXPECT_EQ(refusal(both[0], {many.data(), 12}), "");
    EXPECT_EQ(refusal(both[0], {many.data(), 12, memory::device}, dtype::fp32, memory::device), "");
}

TEST(check_heads_of, refuses_memory_of_another_place) {
    const std::vector<float> numbers(4);
    for (const option_of_heads& x : both) {
        const std::string of_the_device = x.name + " is device memory, q is host memory: they must lie together (a "
                                                   "bare pointer means device memory: give a range, or a pointer and "
                                                   "a count)";
        EXPECT_EQ(refusal(x, numbers.data()), of_the_device);
        EXPECT_EQ(refusal(x, on_device(std::span(numbers))), of_the_device);
        EXPECT_EQ(refusal(x, numbers, dtype::fp32, memory::device),
                  x.name + " is host memory, q is device memory: they must lie together (say of device memory that it "
                           "is: on_device(…))");
        EXPECT_EQ(refusal(x, numbers.data(), dtype::fp32, memory::device), "");
        EXPECT_EQ(refusal(x, on_device(std::span(numbers)), dtype::fp32, memory::device), "");
    }
}

TEST(check_heads_of, refuses_numbers_that_are_not_there) {
    const double* const null = nullptr;
    for (const option_of_heads& x : both) {
        EXPECT_EQ(refusal(x, {null, 4}), x.name + " has 4 entries, but its data is null");
        EXPECT_EQ(refusal(x, {null, 4, memory::device}, dtype::fp32, memory::device),
                  x.name + " has 4 entries, but its data is null");
        EXPECT_EQ(refusal(x, {null, 0}), "");
        EXPECT_EQ(refusal(x, null), "");
    }
}

/// Each number is looked at, in the precision computed in, whatever its own type.
TEST(check_heads_of, refuses_numbers_that_are_not_finite) {
    const auto text = [](const option_of_heads& x, int at, const char* number, const char* type) {
        return x.name + "[" + std::to_string(at) + "] is " + number + ": it must be finite, also times log2(e) in " +
               type + (x.also.empty() ? ", or minus infinity (no sink)" : "");
    };
    for (const option_of_heads& x : both) {
        for (int at = 0; at < 4; ++at) {
            std::vector<double> numbers{1, -2, 0, 4e-320};
            const auto with = [&](double n, dtype type) {
                numbers[static_cast<std::size_t>(at)] = n;
                return refusal(x, numbers, type);
            };
            EXPECT_EQ(with(std::nan(""), dtype::fp64), text(x, at, "nan", "fp64"));
            EXPECT_EQ(with(HUGE_VAL, dtype::fp16), text(x, at, "inf", "fp32"));
            EXPECT_EQ(with(-2.3587e38, dtype::fp32), text(x, at, "-2.3587e+38", "fp32"));
            EXPECT_EQ(with(-2.3586e38, dtype::fp32), "");
            EXPECT_EQ(with(2.3587e38, dtype::fp64), "");
            EXPECT_EQ(with(1.25e308, dtype::fp64), text(x, at, "1.25e+308", "fp64"));
            EXPECT_EQ(with(-HUGE_VAL, dtype::fp32), x.also.empty() ? "" : text(x, at, "-inf", "fp32"));
        }
        const std::vector<float> narrow{1, 2, 3, NAN};
        EXPECT_EQ(refusal(x, narrow), text(x, 3, "nan", "fp32"));
        // On a device the call itself reads them.
        EXPECT_EQ(refusal(x, on_device(std::span(narrow)), dtype::fp32, memory::device), "");
    }
    std::vector<float> of_batches(12, 1.0F);
    of_batches[11] = HUGE_VALF;
    EXPECT_EQ(refusal(both[0], of_batches), text(both[0], 11, "inf", "fp32"));
}

TEST(check_heads_of, tells_the_problem_where_they_are) {
    const std::vector<float> narrow{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    const std::vector<double> wide{1, 2, 3, 4};
    const problem p = checked({.slopes = narrow, .sinks = wide});
    EXPECT_EQ(p.features.slopes, (head_numbers_ref{narrow.data(), nullptr, q_heads}));
    EXPECT_EQ(p.features.slopes(2, 1), 10.0);
    EXPECT_EQ(p.features.sinks, (head_numbers_ref{nullptr, wide.data(), 0}));
    EXPECT_EQ(p.features.sinks(2, 1), 2.0);
    const problem one_a_head = checked({.slopes = wide});
    EXPECT_EQ(one_a_head.features.slopes, (head_numbers_ref{nullptr, wide.data(), 0}));
    EXPECT_FALSE(one_a_head.features.sinks.given());
    // One batch: one a query head and one a batch and query head are the same, which has gradients.
    EXPECT_EQ(checked({.slopes = wide}, dtype::fp32, memory::host, 1).features.slopes.batch_stride, 0);
    // No batch, no heads: no numbers.
    EXPECT_EQ(checked({.slopes = wide}, dtype::fp32, memory::host, 0).features.slopes.batch_stride, 0);
    EXPECT_FALSE(checked({.slopes = std::vector<float>{}}, dtype::fp32, memory::host, 2, 0).features.slopes.given());
    const problem device =
        checked({.slopes = on_device(std::span(narrow)), .sinks = wide.data()}, dtype::fp32, memory::device);
    EXPECT_EQ(device.features.slopes.batch_stride, q_heads);
    EXPECT_EQ(device.features.sinks.wide, wide.data());
}

TEST(check_heads_of, tells_check_memory_what_is_read) {
    const std::vector<float> narrow(12);
    const std::vector<double> wide(4);
    const auto memory_with = [](const options& o) { return memory_of(o, checked(o)); };
    const option_memory all = memory_with({.slopes = narrow, .sinks = wide});
    EXPECT_EQ(all.slopes.data(), narrow.data());
    EXPECT_EQ(all.slopes_count, 12);
    EXPECT_EQ(all.sinks.data(), wide.data());
    EXPECT_EQ(all.sinks_count, 4);
    EXPECT_EQ(memory_with({.slopes = wide}).slopes_count, 4);
    EXPECT_EQ(memory_with({}).slopes_count + memory_with({}).sinks_count, 0);
    // Of device memory, where a count may not be known.
    const options o{.slopes = narrow.data(), .sinks = narrow.data()};
    const option_memory device = memory_of(o, checked(o, dtype::fp32, memory::device));
    EXPECT_EQ(device.slopes_count, 4);
    EXPECT_EQ(device.sinks_count, 4);
}

/// Gradients against the numbers that they belong to.
std::string gradients_refusal(const head_gradients& g, const head_numbers_ref& numbers, memory here = memory::host) {
    problem p;
    p.batch = batch;
    p.q_heads = q_heads;
    return refusal_of([&] {
        (void)check_head_gradients("dsinks", "options.sinks", g.data, g.type, g.where, g.count, g.wanted, numbers, p,
                                   here);
    });
}

TEST(check_head_gradients, refuses_what_cannot_be_written) {
    std::vector<float> numbers(16);
    const head_numbers_ref given{numbers.data(), nullptr, 0}, of_batches{numbers.data(), nullptr, 4};
    const auto first = [&](std::size_t n, memory where = memory::host) {
        return head_gradients(numbers.data(), n, where);
    };
    EXPECT_EQ(gradients_refusal(first(4), {}), "pantile: dsinks is wanted, but options.sinks is not given");
    EXPECT_EQ(
        gradients_refusal(first(4), of_batches),
        "pantile: dsinks is wanted, but options.sinks has one number a batch and query head: gradients are summed "
        "over batches");
    EXPECT_EQ(
        gradients_refusal(first(12), of_batches),
        "pantile: dsinks is wanted, but options.sinks has one number a batch and query head: gradients are summed "
        "over batches");
    EXPECT_EQ(gradients_refusal(first(4, memory::device), given),
              "pantile: dsinks is device memory, q is host memory: they must lie together (a bare pointer means device "
              "memory: give a range, or a pointer and a count)");
    EXPECT_EQ(
        gradients_refusal(first(4), given, memory::device),
        "pantile: dsinks is host memory, q is device memory: they must lie together (say of device memory that it "
        "is: on_device(…))");
    for (const std::size_t n : {0, 3, 5, 12}) {
        EXPECT_EQ(gradients_refusal(first(n), given), "pantile: dsinks has " + std::to_string(n) +
                                                          " entries, q.heads is 4: there must be one a query head");
    }
    EXPECT_EQ(gradients_refusal(head_gradients(static_cast<double*>(nullptr), 4), given),
              "pantile: dsinks.data is null, but it has entries");
    head_gradients half = first(4); // what only a binding can make
    half.type = dtype::fp16;
    EXPECT_EQ(gradients_refusal(half, given), "pantile: dsinks is fp16: it must be fp32 or fp64");
    EXPECT_EQ(gradients_refusal(first(4), given), "");
    EXPECT_EQ(gradients_refusal(first(4, memory::device), given, memory::device), "");
    EXPECT_EQ(gradients_refusal({}, {}), ""); // not wanted
    EXPECT_EQ(gradients_refusal({}, of_batches), "");
}

TEST(check_head_gradients, gives_what_is_written) {
    std::vector<double> numbers(4);
    problem p;
    p.q_heads = q_heads;
    const head_numbers_ref given{nullptr, numbers.data(), 0};
    const argument a = check_head_gradients("dslopes", "options.slopes", numbers.data(), dtype::fp64, memory::host, 4,
                                            true, given, p, memory::host);
    EXPECT_STREQ(a.name, "dslopes");
    EXPECT_EQ(a.data, numbers.data());
    EXPECT_EQ(a.rank, 1);
    EXPECT_EQ(a.extent[0], 4);
    EXPECT_EQ(a.element_bytes, 8);
    EXPECT_FALSE(a.empty());
    const argument none = check_head_gradients("dslopes", "options.slopes", nullptr, dtype::fp32, memory::host, 0,
                                               false, given, p, memory::host);
    EXPECT_TRUE(none.empty());
    EXPECT_NO_THROW(check_memory(&none, 1, &a, 1)); // nothing is written
}

} // namespace
} // namespace pantile::inline v0::core
