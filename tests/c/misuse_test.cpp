// Misuse through C: the C++ function's text where C++ can be misused so, and a text of C's own where it cannot. Nothing is
// written.
#include <functional>

#include <gtest/gtest.h>

#include <pantile/error.hpp>

#include "c_tensor.hpp"

namespace pantile::test {
namespace {

/// Calls to spoil: q (2, 4, 5, 8), k (2, 2, 6, 8), v (2, 2, 6, 3), the same in C++ and in C.
class c_misuse : public testing::Test {
  protected:
    std::vector<float> memory = std::vector<float>(8192, -7.0F);
    float* at(index_t n) { return memory.data() + n; }

    tensor_ref q = bhsd<const float>(at(0), 2, 4, 5, 8);
    tensor_ref k = bhsd<const float>(at(400), 2, 2, 6, 8);
    tensor_ref v = bhsd<const float>(at(600), 2, 2, 6, 3);
    tensor_ref dout = bhsd<const float>(at(700), 2, 4, 5, 3);
    tensor_ref out = bhsd(at(1000), 2, 4, 5, 3);
    tensor_ref lse = bhs(at(1200), 2, 4, 5);
    tensor_ref dq = bhsd(at(2000), 2, 4, 5, 8);
    tensor_ref dk = bhsd(at(2400), 2, 2, 6, 8);
    tensor_ref dv = bhsd(at(2700), 2, 2, 6, 3);
    partial_ref a = part_at(3000), b = part_at(3400), part = part_at(3800);
    options o;
    pantile_options c = PANTILE_OPTIONS_INIT;
    // Of the gradients, not wanted unless a test asks for them.
    head_gradients dslopes, dsinks;

    partial_ref part_at(index_t n) {
        return {bhsd(at(n), 2, 4, 5, 3), bhs(at(n + 200), 2, 4, 5), bhs(at(n + 300), 2, 4, 5)};
    }

    static std::string text_of(const std::function<void()>& f) {
        try {
            f();
        } catch (const invalid_argument& e) {
            return e.what();
        }
        return "no error";
    }
    /// Each call in both languages: the same text, or none.
    void compare(const char* what, const std::function<void()>& in_cpp, const std::function<pantile_status()>& in_c) {
        const std::vector<float> before = memory;
        const std::string text = text_of(in_cpp);
        EXPECT_NE(text, "no error") << what;
        EXPECT_EQ(in_c(), PANTILE_INVALID_ARGUMENT) << what;
        EXPECT_EQ(pantile_message(), text) << what;
        EXPECT_EQ(memory, before) << "written before the error: " << text;
    }
    pantile_status forward_in_c() {
        const pantile_tensor cq = in_c(q), ck = in_c(k), cv = in_c(v);
        const pantile_results r = {sizeof r, in_c(out), in_c(lse)};
        return pantile_attention(&cq, &ck, &cv, &r, &c);
    }
    pantile_status backward_in_c() {
        const pantile_tensor cq = in_c(q), ck = in_c(k), cv = in_c(v), co = in_c(out), cl = in_c(lse);
        const pantile_loss_gradients from = {sizeof from, in_c(dout)};
        const pantile_gradients to = {sizeof to, in_c(dq), in_c(dk), in_c(dv), heads_in_c(dslopes), heads_in_c(dsinks)};
        return pantile_attention_backward(&cq, &ck, &cv, &co, &cl, &from, &to, &c);
    }
    pantile_status explain_in_c(decltype(pantile_explain)* by) {
        const pantile_tensor cq = in_c(q), ck = in_c(k), cv = in_c(v);
        pantile_explanation e = {};
        e.size = sizeof e;
        return by(&cq, &ck, &cv, &c, &e);
    }
    void forward(const char* what = "") {
        compare(
            what,
            [&] {
                erased::attention(q, k, v, {result_ref<4>(out), result_ref<3>(lse)}, o);
            },
            [&] { return forward_in_c(); });
    }
    void backward(const char* what = "") {
        compare(
            what,
            [&] {
                erased::attention_backward(q, k, v, out, lse, {dout},
                                           {result_ref<4>(dq), result_ref<4>(dk), result_ref<4>(dv), dslopes, dsinks},
                                           o);
            },
            [&] { return backward_in_c(); });
    }
    void partial(const char* what = "") {
        compare(
            what, [&] { erased::attention_partial(q, k, v, part, o); },
            [&] {
                const pantile_tensor cq = in_c(q), ck = in_c(k), cv = in_c(v);
                const pantile_partial p = in_c(part);
                return pantile_attention_partial(&cq, &ck, &cv, &p, &c);
            });
    }
    void merge_parts(const char* what = "") {
        compare(
            what, [&] { erased::merge(a, b, part); },
            [&] {
                const pantile_partial ca = in_c(a), cb = in_c(b), cp = in_c(part);
                return pantile_merge(&ca, &cb, &cp);
            });
    }
    void finish_part(const char* what = "") {
        compare(
            what,
            [&] {
                erased::finish(part, {result_ref<4>(out), result_ref<3>(lse)});
            },
            [&] {
                const pantile_partial cp = in_c(part);
                const pantile_results r = {sizeof r, in_c(out), in_c(lse)};
                return pantile_finish(&cp, &r);
            });
    }
    /// A text of C's own.
    void refused(const std::string& text) {
        const std::vector<float> before = memory;
        EXPECT_EQ(forward_in_c(), PANTILE_INVALID_ARGUMENT) << text;
        EXPECT_EQ(pantile_message(), text);
        EXPECT_EQ(memory, before);
        c = PANTILE_OPTIONS_INIT;
    }
};

/// `x` with one thing changed, for the time of f().
template <class T, class F>
void with(T& x, const T& changed, const F& f) {
    const T before = x;
    x = changed;
    f();
    x = before;
}

TEST_F(c_misuse, the_calls_to_spoil_are_valid) {
    EXPECT_EQ(forward_in_c(), PANTILE_OK) << pantile_message();
    EXPECT_EQ(backward_in_c(), PANTILE_OK) << pantile_message();
    EXPECT_EQ(explain_in_c(pantile_explain), PANTILE_OK) << pantile_message();
    EXPECT_EQ(explain_in_c(pantile_explain_backward), PANTILE_OK) << pantile_message();
}

/// Each tensor of each call, spoilt in each way that C++ knows.
TEST_F(c_misuse, tensors_give_the_texts_of_cpp) {
    struct spoilt {
        const char* name;
        tensor_ref* tensor;
        std::function<void()> call;
    };
    const auto f = [this] { forward(); };
    const auto w = [this] { backward(); };
    const auto p = [this] { partial(); };
    const auto m = [this] { merge_parts(); };
    const auto e = [this] { finish_part(); };
    const std::vector<spoilt> all = {{"q", &q, f},
                                     {"k", &k, f},
                                     {"v", &v, f},
                                     {"out", &out, f},
                                     {"lse", &lse, f},
                                     {"q", &q, w},
                                     {"k", &k, w},
                                     {"v", &v, w},
                                     {"out", &out, w},
                                     {"lse", &lse, w},
                                     {"dout", &dout, w},
                                     {"dq", &dq, w},
                                     {"dk", &dk, w},
                                     {"dv", &dv, w},
                                     {"q", &q, p},
                                     {"part.out", &part.out, p},
                                     {"max", &part.max, p},
                                     {"sum", &part.sum, p},
                                     {"a.out", &a.out, m},
                                     {"a.max", &a.max, m},
                                     {"a.sum", &a.sum, m},
                                     {"b.out", &b.out, m},
                                     {"b.max", &b.max, m},
                                     {"b.sum", &b.sum, m},
                                     {"p.out", &part.out, m},
                                     {"p.max", &part.max, m},
                                     {"p.sum", &part.sum, m},
                                     {"f.out", &part.out, e},
                                     {"f.max", &part.max, e},
                                     {"f.sum", &part.sum, e},
                                     {"out", &out, e},
                                     {"lse", &lse, e}};
    for (const spoilt& s : all) {
        SCOPED_TRACE(s.name);
        const auto change = [&](auto spoil) {
            tensor_ref t = *s.tensor;
            spoil(t);
            with(*s.tensor, t, s.call);
        };
        for (int axis = 0; axis < s.tensor->rank; ++axis) {
            change([&](tensor_ref& t) { t.extent[axis] = -1; });
            change([&](tensor_ref& t) { t.extent[axis] += axis == 1 && t.extent[1] == 4 ? 1 : 5; });
            change([&](tensor_ref& t) { t.stride[axis] = index_t{1} << 50; });
        }
        change([](tensor_ref& t) { t.data = nullptr; });
        change([](tensor_ref& t) { t.where = memory::device; });
        change([](tensor_ref& t) { t.type = dtype::bf16; });
    }
}

TEST_F(c_misuse, options_give_the_texts_of_cpp) {
    const auto both = [this](auto set_in_c, auto set) {
        set_in_c(c);
        set(o);
        forward();
        backward();
        partial();
        compare(
            "explain", [&] { (void)erased::explain(q, k, v, o); }, [&] { return explain_in_c(pantile_explain); });
        compare(
            "explain_backward", [&] { (void)erased::explain_backward(q, k, v, o); },
            [&] { return explain_in_c(pantile_explain_backward); });
        c = PANTILE_OPTIONS_INIT;
        o = {};
    };
    const auto same = [&](auto set) { both(set, set); };
    same([](auto& x) { x.threads = -1; });
    same([](auto& x) { x.key_splits = -1; });
    both([](auto& x) { x.plan.row_tile = -1; }, [](auto& x) { x.plan = tile_plan{-1, 0, 0}; });
    both(
        [](auto& x) {
            x.plan.key_splits = 2;
            x.key_splits = 3;
        },
        [](auto& x) {
            x.plan = tile_plan{0, 0, 2};
            x.key_splits = 3;
        });
    both([](auto& x) { x.mask = pantile_window(-1, 0, PANTILE_TOP_LEFT); },
         [](auto& x) { x.mask = window(-1, 0, alignment::top_left); });
    both([](auto& x) { x.mask = pantile_window(0, -2, PANTILE_BOTTOM_RIGHT); },
         [](auto& x) { x.mask = window(0, -2); });
    both([](auto& x) { x.mask = pantile_at_offset({}, INT64_MAX); },
         [](auto& x) { x.mask = full().at_offset(INT64_MAX); });
    const double infinity = std::numeric_limits<double>::infinity();
    for (const double scale : {infinity, 1e300}) {
        both(
            [&](auto& x) {
                x.has_scale = 1;
                x.scale = scale;
            },
            [&](auto& x) { x.scale = scale; });
    }
    const std::int64_t lengths[] = {3, 9};
    both([&](auto& x) { x.key_lengths = {lengths, 2, 64, PANTILE_HOST}; }, [&](auto& x) { x.key_lengths = lengths; });
    both(
        [&](auto& x) {
            x.key_lengths = {lengths, 1, 64, PANTILE_HOST};
        },
        [&](auto& x) { x.key_lengths = std::span(lengths).first(1); });
    both(
        [&](auto& x) {
            x.key_lengths = {lengths, 2, 64, PANTILE_DEVICE};
        },
        [&](auto& x) { x.key_lengths = on_device(std::span<const std::int64_t>(lengths)); });
}

/// Soft caps, slopes and sinks: as C++ refuses them, in every function.
TEST_F(c_misuse, features_give_the_texts_of_cpp) {
    const auto both = [this](auto set_in_c, auto set) {
        set_in_c(c);
        set(o);
        forward();
        backward();
        partial();
        compare(
            "explain", [&] { (void)erased::explain(q, k, v, o); }, [&] { return explain_in_c(pantile_explain); });
        compare(
            "explain_backward", [&] { (void)erased::explain_backward(q, k, v, o); },
            [&] { return explain_in_c(pantile_explain_backward); });
        c = PANTILE_OPTIONS_INIT;
        o = {};
    };
    for (const double cap : {-1.0, 3e38, std::numeric_limits<double>::quiet_NaN()}) {
        both([&](auto& x) { x.softcap = cap; }, [&](auto& x) { x.softcap = cap; });
    }
    const float narrow[] = {1, 2, std::numeric_limits<float>::quiet_NaN(), 4, 5};
    const double wide[] = {1, 2, 3, std::numeric_limits<double>::infinity(), 5};
    for (const std::int64_t count : {1, 3, 4, 5}) {
        const auto n = static_cast<std::size_t>(count);
        both(
            [&](auto& x) {
                x.slopes = {narrow, count, PANTILE_FP32, PANTILE_HOST};
            },
            [&](auto& x) { x.slopes = std::span(narrow).first(n); });
        both(
            [&](auto& x) {
                x.sinks = {wide, count, PANTILE_FP64, PANTILE_HOST};
            },
            [&](auto& x) { x.sinks = std::span(wide).first(n); });
    }
    both(
        [&](auto& x) {
            x.slopes = {wide, 4, PANTILE_FP64, PANTILE_DEVICE};
        },
        [&](auto& x) { x.slopes = on_device(std::span(wide).first(4)); });
    both(
        [&](auto& x) {
            x.sinks = {narrow, PANTILE_ONE_A_HEAD, PANTILE_FP32, PANTILE_DEVICE};
        },
        [&](auto& x) { x.sinks = &narrow[0]; });
    // Work memory over them, and outputs, of which explain knows nothing.
    c.slopes = {at(5000), 4, PANTILE_FP32, PANTILE_HOST};
    o.slopes = {at(5000), 4};
    c.workspace = at(5000);
    c.workspace_bytes = 8;
    o.workspace = std::as_writable_bytes(std::span(at(5000), 2));
    forward();
    backward();
    partial();
    c = PANTILE_OPTIONS_INIT;
    o = {};
    c.sinks = {lse.data, 4, PANTILE_FP32, PANTILE_HOST};
    o.sinks = {static_cast<const float*>(lse.data), 4};
    forward("sinks that are lse");
}

TEST_F(c_misuse, gradients_of_heads_give_the_texts_of_cpp) {
    const float numbers[] = {1, 2, 3, 4, 5, 6, 7, 8};
    const auto wanted = [&](const head_gradients& slopes, const head_gradients& sinks) {
        dslopes = slopes;
        dsinks = sinks;
        backward();
        dslopes = dsinks = {};
    };
    const auto first = [&](std::size_t n, pantile::memory where = pantile::memory::host) {
        return head_gradients(at(5000), n, where);
    };
    wanted(first(4), {}); // without the options
    wanted({}, first(4));
    c.slopes = {numbers, 8, PANTILE_FP32, PANTILE_HOST};
    o.slopes = numbers;
    wanted(first(4), {}); // one a batch and query head
    c.slopes = {numbers, 4, PANTILE_FP32, PANTILE_HOST};
    o.slopes = std::span(numbers).first(4);
    c.sinks = c.slopes;
    o.sinks = o.slopes;
    for (const std::size_t n : {0, 3, 5, 8}) {
        wanted(first(n), {});
        wanted({}, first(n));
    }
    wanted(first(4, pantile::memory::device), {});
    wanted({}, first(4, pantile::memory::device));
    wanted(first(4), first(4)); // over one another
    wanted({}, head_gradients(static_cast<float*>(dk.data), 4));
    wanted(head_gradients(static_cast<float*>(q.data), 4), {});
}

TEST_F(c_misuse, ranks) {
    const auto refused_rank = [this](tensor_ref& t, int rank, const char* text) {
        tensor_ref other = t;
        other.rank = rank;
        with(t, other, [&] { refused(text); });
    };
    refused_rank(q, 3, "pantile: q.rank is 3: it must be 4");
    refused_rank(k, 0, "pantile: k.rank is 0: it must be 4");
    refused_rank(v, 2, "pantile: v.rank is 2: it must be 4");
    refused_rank(out, 3, "pantile: out.rank is 3: it must be 4");
    refused_rank(out, 0, "pantile: out.rank is 0: it must be 4");
    pantile_tensor four = in_c(out);
    const pantile_tensor cq = in_c(q), ck = in_c(k), cv = in_c(v);
    const pantile_results r = {sizeof r, in_c(out), four};
    EXPECT_EQ(pantile_attention(&cq, &ck, &cv, &r, nullptr), PANTILE_INVALID_ARGUMENT);
    EXPECT_STREQ(pantile_message(), "pantile: lse.rank is 4: it must be 3");
    pantile_partial p = in_c(part);
    p.out.rank = 1000000;
    EXPECT_EQ(pantile_merge(&p, &p, &p), PANTILE_INVALID_ARGUMENT);
    EXPECT_STREQ(pantile_message(), "pantile: a.out.rank is 1000000: it must be 4");
    p = in_c(part);
    p.sum.rank = -1;
    EXPECT_EQ(pantile_finish(&p, &r), PANTILE_INVALID_ARGUMENT);
    EXPECT_STREQ(pantile_message(), "pantile: part.sum.rank is -1: it must be 3");
}

TEST_F(c_misuse, what_only_c_can_say) {
    std::int64_t lengths[] = {3, 6};
    const auto option = [this](auto set, const char* text) {
        set(c);
        refused(std::string("pantile: options.") + text);
    };
    option([](auto& x) { x.size = 0; }, "size is 0: it must be sizeof(pantile_options)");
    option([](auto& x) { x.size = 7; }, "size is 7: it must be sizeof(pantile_options)");
    option([](auto& x) { x.size = 4097; }, "size is 4097: it must be sizeof(pantile_options)");
    option([](auto& x) { x.size = SIZE_MAX; }, "size is 18446744073709551615: it must be sizeof(pantile_options)");
    option([](auto& x) { x.reserved = 1; }, "reserved is 1: it must be 0");
    option([](auto& x) { x.accumulate = 2; }, "accumulate is 2: it must be 0 or 1");
    option([](auto& x) { x.has_scale = -1; }, "has_scale is -1: it must be 0 or 1");
    option([](auto& x) { x.scale = 0.5; }, "scale is 0.5, but options.has_scale is 0");
    option([](auto& x) { x.isa = 5; },
           "isa is 5: it must be PANTILE_ISA_AUTOMATIC (0), PANTILE_ISA_BASELINE (1), PANTILE_ISA_AVX2 (2), "
           "PANTILE_ISA_AVX512 (3) or PANTILE_ISA_AMX (4)");
    option([](auto& x) { x.isa = 256; },
           "isa is 256: it must be PANTILE_ISA_AUTOMATIC (0), PANTILE_ISA_BASELINE (1), PANTILE_ISA_AVX2 (2), "
           "PANTILE_ISA_AVX512 (3) or PANTILE_ISA_AMX (4)");
    option([](auto& x) { x.kernel = -1; }, "kernel is -1: it must be PANTILE_KERNEL_AUTOMATIC (0), "
                                           "PANTILE_KERNEL_PORTABLE (1), PANTILE_KERNEL_DECODE (2), "
                                           "PANTILE_KERNEL_SM90 (3) or PANTILE_KERNEL_FFMA (4)");
    option([](auto& x) { x.mask.align = 4; },
           "mask.align is 4: it must be PANTILE_NO_MASK (0), PANTILE_BOTTOM_RIGHT (1), PANTILE_TOP_LEFT (2) or "
           "PANTILE_EXPLICIT_OFFSET (3)");
    option([](auto& x) { x.mask.left = 5; },
           "mask is {5, 0, PANTILE_NO_MASK, 0}: say by mask.align where row 0 stands (PANTILE_BOTTOM_RIGHT, "
           "PANTILE_TOP_LEFT or PANTILE_EXPLICIT_OFFSET), or leave all of it 0");
    option([](auto& x) { x.key_lengths.count = 2; }, "key_lengths.data is NULL, but its count is 2");
    option(
        [&](auto& x) {
            x.key_lengths = {lengths, 2, 0, PANTILE_HOST};
        },
        "key_lengths.bits is 0: it must be 32 or 64");
    option(
        [&](auto& x) {
            x.key_lengths = {lengths, 0, 64, PANTILE_HOST};
        },
        "key_lengths has 0 entries, q.batch is 2: there must be one a batch");
    option(
        [&](auto& x) {
            x.key_lengths = {lengths, PANTILE_ONE_A_BATCH, 64, PANTILE_HOST};
        },
        "key_lengths.count is -1: it must be at least 0, or in device memory PANTILE_ONE_A_BATCH (-1)");
    option(
        [&](auto& x) {
            x.key_lengths = {lengths, -2, 64, PANTILE_DEVICE};
        },
        "key_lengths.count is -2: it must be at least 0, or in device memory PANTILE_ONE_A_BATCH (-1)");
    option(
        [&](auto& x) {
            x.key_lengths = {lengths, 2, 64, 2};
        },
        "key_lengths.memory is 2: it must be PANTILE_HOST (0) or PANTILE_DEVICE (1)");
    const double numbers[4] = {};
    const auto both = [&](auto set, const std::string& text) {
        option([&](auto& x) { set(x.slopes); }, ("slopes" + text).c_str());
        option([&](auto& x) { set(x.sinks); }, ("sinks" + text).c_str());
    };
    both([](auto& x) { x.count = 4; }, ".data is NULL, but its count is 4");
    both([](auto& x) { x.count = -1; }, ".data is NULL, but its count is -1");
    both(
        [&](auto& x) {
            x = {numbers, 4, 4, PANTILE_HOST};
        },
        ".dtype is 4: it must be PANTILE_FP32 (0), PANTILE_FP64 (1), PANTILE_FP16 (2) or PANTILE_BF16 (3)");
    for (const std::int32_t narrow : {PANTILE_FP16, PANTILE_BF16}) {
        both(
            [&](auto& x) {
                x = {numbers, 4, narrow, PANTILE_HOST};
            },
            ".dtype is " + std::to_string(narrow) + ": it must be PANTILE_FP32 (0) or PANTILE_FP64 (1)");
    }
    both(
        [&](auto& x) {
            x = {numbers, 4, PANTILE_FP64, 2};
        },
        ".memory is 2: it must be PANTILE_HOST (0) or PANTILE_DEVICE (1)");
    both(
        [&](auto& x) {
            x = {numbers, 0, PANTILE_FP64, PANTILE_HOST};
        },
        " has 0 entries, q.heads is 4: there must be one a query head");
    both(
        [&](auto& x) {
            x = {numbers, PANTILE_ONE_A_HEAD, PANTILE_FP64, PANTILE_HOST};
        },
        ".count is -1: it must be at least 0, or in device memory PANTILE_ONE_A_HEAD (-1)");
    both(
        [&](auto& x) {
            x = {numbers, -2, PANTILE_FP64, PANTILE_DEVICE};
        },
        ".count is -2: it must be at least 0, or in device memory PANTILE_ONE_A_HEAD (-1)");
    option([](auto& x) { x.workspace_bytes = 10; }, "workspace is NULL, but options.workspace_bytes is 10");
    option(
        [&](auto& x) {
            x.workspace = lengths;
            x.workspace_bytes = -1;
        },
        "workspace_bytes is -1: it must be at least 0");
}

TEST_F(c_misuse, tensors_that_only_c_can_make) {
    const pantile_tensor good = in_c(q), ck = in_c(k), cv = in_c(v);
    const pantile_results r = {sizeof r, in_c(out), {}};
    const auto with_q = [&](auto spoil) {
        pantile_tensor t = good;
        spoil(t);
        EXPECT_EQ(pantile_attention(&t, &ck, &cv, &r, nullptr), PANTILE_INVALID_ARGUMENT);
        return std::string(pantile_message());
    };
    EXPECT_EQ(with_q([](auto& t) { t.dtype = -1; }),
              "pantile: q.dtype is -1: it must be PANTILE_FP32 (0), PANTILE_FP64 (1), "
              "PANTILE_FP16 (2) or PANTILE_BF16 (3)");
    EXPECT_EQ(with_q([](auto& t) { t.dtype = 4; }),
              "pantile: q.dtype is 4: it must be PANTILE_FP32 (0), PANTILE_FP64 (1), "
              "PANTILE_FP16 (2) or PANTILE_BF16 (3)");
    EXPECT_EQ(with_q([](auto& t) { t.memory = 2; }),
              "pantile: q.memory is 2: it must be PANTILE_HOST (0) or PANTILE_DEVICE (1)");
    EXPECT_EQ(with_q([](auto& t) { t.reserved = 3; }), "pantile: q.reserved is 3: it must be 0");
}

/// Gradients of heads that only C can ask for.
TEST_F(c_misuse, gradients_of_heads_that_only_c_can_name) {
    const pantile_tensor cq = in_c(q), ck = in_c(k), cv = in_c(v), co = in_c(out), cl = in_c(lse);
    const pantile_loss_gradients from = {sizeof from, in_c(dout)};
    const auto text = [&](auto spoil) {
        pantile_gradients to = {sizeof to, in_c(dq), in_c(dk), in_c(dv), {}, {}};
        spoil(to);
        EXPECT_EQ(pantile_attention_backward(&cq, &ck, &cv, &co, &cl, &from, &to, &c), PANTILE_INVALID_ARGUMENT);
        return std::string(pantile_message());
    };
    EXPECT_EQ(text([](auto& to) { to.dslopes.count = 4; }), "pantile: dslopes.data is NULL, but its count is 4");
    EXPECT_EQ(text([](auto& to) { to.dsinks.count = -1; }), "pantile: dsinks.data is NULL, but its count is -1");
    EXPECT_EQ(text([&](auto& to) {
                  to.dsinks = {at(5000), -1, PANTILE_FP32, PANTILE_HOST};
              }),
              "pantile: dsinks.count is -1: it must be at least 0");
    EXPECT_EQ(text([&](auto& to) {
                  to.dslopes = {at(5000), 4, PANTILE_BF16, PANTILE_HOST};
              }),
              "pantile: dslopes.dtype is 3: it must be PANTILE_FP32 (0) or PANTILE_FP64 (1)");
    EXPECT_EQ(text([](auto& to) { to.dslopes.dtype = -1; }),
              "pantile: dslopes.dtype is -1: it must be PANTILE_FP32 (0), PANTILE_FP64 (1), PANTILE_FP16 (2) or "
              "PANTILE_BF16 (3)");
    EXPECT_EQ(text([](auto& to) { to.dsinks.memory = 7; }),
              "pantile: dsinks.memory is 7: it must be PANTILE_HOST (0) or PANTILE_DEVICE (1)");
    EXPECT_EQ(memory, std::vector<float>(8192, -7.0F));
}

/// Every pointer of every function, null.
TEST_F(c_misuse, null_pointers) {
    const pantile_tensor cq = in_c(q), ck = in_c(k), cv = in_c(v), co = in_c(out), cl = in_c(lse);
    const pantile_results r = {sizeof r, co, cl};
    const pantile_loss_gradients from = {sizeof from, in_c(dout)};
    const pantile_gradients to = {sizeof to, in_c(dq), in_c(dk), in_c(dv), {}, {}};
    const pantile_partial ca = in_c(a), cb = in_c(b), cp = in_c(part);
    pantile_explanation e = {};
    e.size = sizeof e;
    const auto is_null = [](pantile_status status, const char* name) {
        EXPECT_EQ(status, PANTILE_INVALID_ARGUMENT);
        EXPECT_EQ(pantile_message(), "pantile: " + std::string(name) + " is NULL");
    };
    is_null(pantile_attention(nullptr, &ck, &cv, &r, &c), "q");
    is_null(pantile_attention(&cq, nullptr, &cv, &r, &c), "k");
    is_null(pantile_attention(&cq, &ck, nullptr, &r, &c), "v");
    is_null(pantile_attention(&cq, &ck, &cv, nullptr, &c), "results");
    is_null(pantile_attention_backward(nullptr, &ck, &cv, &co, &cl, &from, &to, &c), "q");
    is_null(pantile_attention_backward(&cq, &ck, &cv, nullptr, &cl, &from, &to, &c), "out");
    is_null(pantile_attention_backward(&cq, &ck, &cv, &co, nullptr, &from, &to, &c), "lse");
    is_null(pantile_attention_backward(&cq, &ck, &cv, &co, &cl, nullptr, &to, &c), "loss_gradients");
    is_null(pantile_attention_backward(&cq, &ck, &cv, &co, &cl, &from, nullptr, &c), "gradients");
    is_null(pantile_attention_partial(&cq, nullptr, &cv, &cp, &c), "k");
    is_null(pantile_attention_partial(&cq, &ck, &cv, nullptr, &c), "part");
    is_null(pantile_merge(nullptr, &cb, &cp), "a");
    is_null(pantile_merge(&ca, nullptr, &cp), "b");
    is_null(pantile_merge(&ca, &cb, nullptr), "part");
    is_null(pantile_finish(nullptr, &r), "part");
    is_null(pantile_finish(&cp, nullptr), "results");
    is_null(pantile_explain(nullptr, &ck, &cv, &c, &e), "q");
    is_null(pantile_explain(&cq, &ck, &cv, &c, nullptr), "explanation");
    is_null(pantile_explain_backward(&cq, &ck, nullptr, &c, &e), "v");
    is_null(pantile_explain_backward(&cq, &ck, &cv, &c, nullptr), "explanation");
    EXPECT_EQ(memory, std::vector<float>(8192, -7.0F));
}

/// The sizes of all structs, by their names.
TEST_F(c_misuse, sizes) {
    const pantile_tensor cq = in_c(q), ck = in_c(k), cv = in_c(v), co = in_c(out), cl = in_c(lse);
    const pantile_results r = {0, co, cl};
    const pantile_loss_gradients from = {sizeof from, in_c(dout)}, bad_from = {1, in_c(dout)};
    const pantile_gradients bad_to = {2, in_c(dq), in_c(dk), in_c(dv), {}, {}};
    pantile_partial bad_part = in_c(a);
    bad_part.size = 3;
    pantile_explanation e = {};
    const auto is_bad = [](pantile_status status, const char* text) {
        EXPECT_EQ(status, PANTILE_INVALID_ARGUMENT);
        EXPECT_EQ(pantile_message(), std::string("pantile: ") + text);
    };
    is_bad(pantile_attention(&cq, &ck, &cv, &r, &c), "results.size is 0: it must be sizeof(pantile_results)");
    is_bad(pantile_attention_backward(&cq, &ck, &cv, &co, &cl, &bad_from, &bad_to, &c),
           "loss_gradients.size is 1: it must be sizeof(pantile_loss_gradients)");
    is_bad(pantile_attention_backward(&cq, &ck, &cv, &co, &cl, &from, &bad_to, &c),
           "gradients.size is 2: it must be sizeof(pantile_gradients)");
    is_bad(pantile_merge(&bad_part, &bad_part, &bad_part), "a.size is 3: it must be sizeof(pantile_partial)");
    is_bad(pantile_explain(&cq, &ck, &cv, &c, &e), "explanation.size is 0: it must be sizeof(pantile_explanation)");
}

} // namespace
} // namespace pantile::test
