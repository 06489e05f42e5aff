// Every error: its type, and a text that names the argument, its value and the limit. Nothing is written before it.
#include <cstdlib>
#include <functional>
#include <iostream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

using testing::HasSubstr;

/// A valid call to spoil: q (2, 4, 5, 8), k (2, 2, 6, 8), v (2, 2, 6, 3).
class misuse : public testing::Test {
  protected:
    std::vector<float> memory = std::vector<float>(8192, -7.0F);
    float* at(index_t n) { return memory.data() + n; }

    tensor_view<const float> q = bhsd<const float>(at(0), 2, 4, 5, 8);      // 320 numbers
    tensor_view<const float> k = bhsd<const float>(at(400), 2, 2, 6, 8);    // 192
    tensor_view<const float> v = bhsd<const float>(at(600), 2, 2, 6, 3);    // 72
    tensor_view<const float> dout = bhsd<const float>(at(700), 2, 4, 5, 3); // 120
    tensor_view<float> out = bhsd(at(1000), 2, 4, 5, 3);                    // 120
    row_view<float> lse = bhs(at(1200), 2, 4, 5);                           // 40
    tensor_view<float> dq = bhsd(at(2000), 2, 4, 5, 8);
    tensor_view<float> dk = bhsd(at(2400), 2, 2, 6, 8);
    tensor_view<float> dv = bhsd(at(2700), 2, 2, 6, 3);
    partial_view<float> a{bhsd(at(3000), 2, 4, 5, 3), bhs(at(3200), 2, 4, 5), bhs(at(3300), 2, 4, 5)};
    partial_view<float> b{bhsd(at(3400), 2, 4, 5, 3), bhs(at(3600), 2, 4, 5), bhs(at(3700), 2, 4, 5)};
    partial_view<float> part{bhsd(at(3800), 2, 4, 5, 3), bhs(at(4000), 2, 4, 5), bhs(at(4100), 2, 4, 5)};
    options o;

    void forward() { attention(q, k, v, out, lse, o); }
    void backward() { attention_backward(q, k, v, out, lse, dout, dq, dk, dv, o); }

    /// The text of the invalid_argument that f throws; and nothing may have been written.
    std::string refusal(const std::function<void()>& f) {
        const std::vector<float> before = memory;
        std::string text = "no error";
        try {
            f();
        } catch (const invalid_argument& e) {
            text = e.what();
        }
        EXPECT_EQ(memory, before) << "written before the error: " << text;
        return text;
    }
    std::string forward_refusal() {
        return refusal([this] { forward(); });
    }
    std::string backward_refusal() {
        return refusal([this] { backward(); });
    }
};

TEST_F(misuse, the_call_to_spoil_is_valid) {
    EXPECT_NO_THROW(forward());
    EXPECT_NO_THROW(backward());
    EXPECT_NO_THROW(attention_partial(q, k, v, part, o));
    EXPECT_NO_THROW(merge(part, part, a));
    EXPECT_NO_THROW(finish(part, out, lse));
}

TEST_F(misuse, shapes_that_do_not_fit) {
    k.extent[3] = 7;
    EXPECT_EQ(forward_refusal(), "pantile: k.head_dim is 7, q.head_dim is 8: they must be equal");
    k.extent[3] = 8;
    k.extent[0] = 1;
    EXPECT_EQ(forward_refusal(), "pantile: k.batch is 1, q.batch is 2: they must be equal");
    k.extent[0] = 2;
    v.extent[0] = 3;
    EXPECT_EQ(forward_refusal(), "pantile: v.batch is 3, q.batch is 2: they must be equal");
    v.extent[0] = 2;
    v.extent[1] = 1;
    EXPECT_EQ(forward_refusal(), "pantile: v.heads is 1, k.heads is 2: they must be equal");
    v.extent[1] = 2;
    v.extent[2] = 5;
    EXPECT_EQ(forward_refusal(), "pantile: v.length is 5, k.length is 6: they must be equal");
    v.extent[2] = 6;
    q.extent[1] = 3;
    EXPECT_EQ(forward_refusal(), "pantile: q.heads is 3, k.heads is 2: q.heads must be a multiple of k.heads");
    q.extent[1] = 4;
    k.extent[1] = v.extent[1] = 0;
    EXPECT_EQ(forward_refusal(), "pantile: q.heads is 4, k.heads is 0: q.heads must be a multiple of k.heads");
}

TEST_F(misuse, outputs_that_do_not_fit) {
    out.extent[2] = 4;
    EXPECT_EQ(forward_refusal(), "pantile: out.length is 4, q.length is 5: they must be equal");
    out.extent[2] = 5;
    out.extent[3] = 8;
    EXPECT_EQ(forward_refusal(), "pantile: out.value_dim is 8, v.value_dim is 3: they must be equal");
    out.extent[3] = 3;
    out.extent[1] = 2;
    EXPECT_EQ(forward_refusal(), "pantile: out.heads is 2, q.heads is 4: they must be equal");
    out.extent[1] = 4;
    lse.extent[0] = 1;
    EXPECT_EQ(forward_refusal(), "pantile: lse.batch is 1, q.batch is 2: they must be equal");
    lse.extent[0] = 2;
    dout.extent[2] = 6;
    EXPECT_EQ(backward_refusal(), "pantile: dout.length is 6, q.length is 5: they must be equal");
    dout.extent[2] = 5;
    dq.extent[3] = 3;
    EXPECT_EQ(backward_refusal(), "pantile: dq.head_dim is 3, q.head_dim is 8: they must be equal");
    dq.extent[3] = 8;
    dk.extent[2] = 5;
    EXPECT_EQ(backward_refusal(), "pantile: dk.length is 5, k.length is 6: they must be equal");
    dk.extent[2] = 6;
    dv.extent[1] = 4;
    EXPECT_EQ(backward_refusal(), "pantile: dv.heads is 4, v.heads is 2: they must be equal");
}

TEST_F(misuse, sizes_strides_and_pointers_out_of_range) {
    q.extent[2] = -1;
    EXPECT_EQ(forward_refusal(), "pantile: q.length is -1: it must be between 0 and 2^48");
    q.extent[2] = (index_t{1} << 48) + 1;
    EXPECT_EQ(forward_refusal(), "pantile: q.length is 281474976710657: it must be between 0 and 2^48");
    q.extent[2] = 5;
    v.stride[3] = index_t{1} << 50;
    EXPECT_EQ(forward_refusal(),
              "pantile: the stride of v.value_dim is 1125899906842624: it must be within ±2^48 elements");
    v.stride[3] = 1;
    k.data = nullptr;
    EXPECT_EQ(forward_refusal(), "pantile: k.data is null, but the tensor is not empty");
    k.data = at(400);
    lse.data = nullptr;
    EXPECT_EQ(forward_refusal(), "pantile: lse.data is null, but the tensor is not empty");
}

/// Also a tensor without elements, or with few in memory, is counted: products of its extents must be numbers.
TEST_F(misuse, more_elements_than_can_be_counted) {
    constexpr index_t far = index_t{1} << 30;
    const std::string most = "): a tensor has at most 2^58 elements, where an extent of 0 counts as 1";
    q = strided<const float>(nullptr, {far, far, 0, 8}, {});
    k = strided<const float>(nullptr, {far, 1, 0, 8}, {});
    v = k;
    EXPECT_EQ(forward_refusal(), "pantile: q is (1073741824, 1073741824, 0, 8" + most);
    q = k = strided<const float>(at(0), {1, 1, far, 1}, {});
    v = strided<const float>(at(0), {1, 1, far, far}, {});
    EXPECT_EQ(forward_refusal(), "pantile: v is (1, 1, 1073741824, 1073741824" + most);
    k = strided<const float>(at(0), {1, 1, 1, 1}, {});
    v = strided<const float>(at(0), {1, 1, 1, far}, {});
    EXPECT_EQ(forward_refusal(), "pantile: the shape of out is (1, 1, 1073741824, 1073741824" + most);
}

TEST_F(misuse, options_out_of_range) {
    o.mask.left = -2;
    EXPECT_EQ(forward_refusal(),
              "pantile: options.mask.left is -2: it must be at least 0 (pantile::unbounded lifts the limit)");
    o.mask = full();
    o.mask.right = -1;
    EXPECT_EQ(forward_refusal(),
              "pantile: options.mask.right is -1: it must be at least 0 (pantile::unbounded lifts the limit)");
    o.mask = causal().at_offset(index_t{1} << 60);
    EXPECT_EQ(forward_refusal(), "pantile: options.mask.offset is 1152921504606846976: it must be within ±2^48");
    o.mask = full();
    o.mask.align = static_cast<alignment>(3);
    EXPECT_EQ(forward_refusal(), "pantile: options.mask.align is 3: it must be alignment::bottom_right, "
                                 "alignment::top_left or alignment::explicit_offset");
    o.mask = full();
    o.scale = std::nan("");
    EXPECT_EQ(forward_refusal(), "pantile: options.scale is nan: it must be finite");
    o.scale = HUGE_VAL;
    EXPECT_EQ(forward_refusal(), "pantile: options.scale is inf: it must be finite");
    o.scale = -3e38;
    EXPECT_EQ(forward_refusal(),
              "pantile: options.scale is -3e+38: scale · log2(e) must be finite in fp32, whose largest "
              "number is 3.40282e+38");
    o.scale = 1e300;
    EXPECT_THAT(backward_refusal(), HasSubstr("options.scale is 1e+300: scale · log2(e) must be finite in fp32"));
    o.scale.reset();
    o.threads = -3;
    EXPECT_EQ(forward_refusal(), "pantile: options.threads is -3: it must be at least 0 (0: OpenMP's choice)");
    o.threads = 0;
    o.plan = tile_plan{16, -1, 1};
    EXPECT_EQ(forward_refusal(), "pantile: options.plan is {16, -1, 1}: its fields must be at least 0 (0: chosen)");
    o.plan.reset();
    const index_t three[] = {1, 2, 3};
    o.key_lengths = three;
    EXPECT_EQ(forward_refusal(), "pantile: options.key_lengths has 3 entries, q.batch is 2: there must be one a batch");
    const index_t long_ones[] = {1, 7};
    o.key_lengths = long_ones;
    EXPECT_EQ(forward_refusal(), "pantile: options.key_lengths[1] is 7: it must be between 0 and k.length, 6");
    const index_t negative[] = {-1, 2};
    o.key_lengths = negative;
    EXPECT_EQ(backward_refusal(), "pantile: options.key_lengths[0] is -1: it must be between 0 and k.length, 6");
}

/// Soft caps, slopes and sinks, in each function that takes options.
TEST_F(misuse, features_out_of_range) {
    const auto everywhere = [this](const std::string& text) {
        EXPECT_EQ(forward_refusal(), text);
        EXPECT_EQ(backward_refusal(), text);
        EXPECT_EQ(refusal([this] { attention(q, k, v, out, o); }), text);
        EXPECT_EQ(refusal([this] { attention_partial(q, k, v, part, o); }), text);
        EXPECT_EQ(refusal([this] { (void)explain(q, k, v, o); }), text);
        EXPECT_EQ(refusal([this] { (void)explain_backward(q, k, v, o); }), text);
        o = {};
    };
    o.softcap = -30;
    everywhere("pantile: options.softcap is -30: it must be at least 0 (0: off), and softcap · log2(e) finite in fp32");
    const std::vector<float> three{1, 2, 3};
    o.slopes = three;
    everywhere(
        "pantile: options.slopes has 3 entries, q.heads is 4: there must be one a query head, or one a batch and "
        "query head");
    o.sinks = three;
    everywhere("pantile: options.sinks has 3 entries, q.heads is 4: there must be one a query head");
    const std::vector<double> bad{1, 2, 3, std::nan("")};
    o.slopes = bad;
    everywhere("pantile: options.slopes[3] is nan: it must be finite, also times log2(e) in fp32");
    o.sinks = bad;
    everywhere("pantile: options.sinks[3] is nan: it must be finite, also times log2(e) in fp32, or minus infinity (no "
               "sink)");
    o.sinks = &bad[0];
    everywhere(
        "pantile: options.sinks is device memory, q is host memory: they must lie together (a bare pointer means "
        "device memory: give a range, or a pointer and a count)");
    o.slopes = on_device(std::span(bad));
    everywhere(
        "pantile: options.slopes is device memory, q is host memory: they must lie together (a bare pointer means "
        "device memory: give a range, or a pointer and a count)");
    // Right ones: per head, and per batch and head; minus infinity is no sink.
    const std::vector<double> eight{1, 2, 3, 4, 5, 6, 7, 8}, none(4, -HUGE_VAL);
    o.softcap = 30;
    o.slopes = eight;
    o.sinks = none;
    EXPECT_NO_THROW(forward());
    EXPECT_NO_THROW(backward());
    EXPECT_NO_THROW(attention_partial(q, k, v, part, o));
}

/// The limit is that of the precision computed in; what lies within is a number in every type.
TEST_F(misuse, scales_that_the_type_does_not_hold) {
    const float zero[4] = {};
    float out[4] = {};
    const double zero_wide[4] = {};
    double out_wide[4] = {};
    const float16 zero_half[4] = {};
    const auto narrow = [&](double scale) {
        const auto t = bhsd(zero, 1, 1, 2, 2);
        attention(t, t, t, bhsd(out, 1, 1, 2, 2), {.scale = scale});
        const auto h = bhsd(zero_half, 1, 1, 2, 2);
        attention(h, h, h, bhsd(out, 1, 1, 2, 2), {.scale = scale});
    };
    const auto wide = [&](double scale) {
        const auto t = bhsd(zero_wide, 1, 1, 2, 2);
        attention(t, t, t, bhsd(out_wide, 1, 1, 2, 2), {.scale = scale});
    };
    for (const double sign : {1.0, -1.0}) {
        EXPECT_NO_THROW(narrow(sign * 2.3586e38));
        EXPECT_THROW(narrow(sign * 2.3587e38), invalid_argument);
        EXPECT_NO_THROW(wide(sign * 1.246e308));
        EXPECT_THROW(wide(sign * 1.2461e308), invalid_argument);
        for (const float x : out) EXPECT_EQ(x, 0.0F);
        for (const double x : out_wide) EXPECT_EQ(x, 0.0);
    }
}

/// Where swapping heads and length would mend a mismatch, the text asks whether they were.
TEST_F(misuse, swapped_heads_and_length) {
    const std::string hint = " (were heads and length swapped? see pantile::bhsd and pantile::bshd)";
    const auto swap = [](auto& t) { std::swap(t.extent[1], t.extent[2]); };
    swap(v); // v (2, 6, 2, 3), k (2, 2, 6, 8)
    EXPECT_EQ(forward_refusal(), "pantile: v.heads is 6, k.heads is 2: they must be equal" + hint);
    swap(k);
    EXPECT_EQ(forward_refusal(), "pantile: q.heads is 4, k.heads is 6: q.heads must be a multiple of k.heads" + hint);
    swap(q); // q (2, 5, 4, 8)
    EXPECT_EQ(forward_refusal(), "pantile: q.heads is 5, k.heads is 6: q.heads must be a multiple of k.heads" + hint);
    swap(k), swap(v);
    EXPECT_EQ(forward_refusal(), "pantile: q.heads is 5, k.heads is 2: q.heads must be a multiple of k.heads" + hint);
    swap(q);
    swap(out);
    EXPECT_EQ(forward_refusal(), "pantile: out.heads is 5, q.heads is 4: they must be equal" + hint);
    swap(out);
    swap(lse);
    EXPECT_EQ(forward_refusal(), "pantile: lse.heads is 5, q.heads is 4: they must be equal" + hint);
    swap(lse);
    swap(dk);
    EXPECT_EQ(backward_refusal(), "pantile: dk.heads is 6, k.heads is 2: they must be equal" + hint);
    swap(dk);
    swap(b.max);
    EXPECT_EQ(refusal([this] { merge(a, b, part); }),
              "pantile: b.max.heads is 5, a.out.heads is 4: they must be equal" + hint);
    EXPECT_NO_THROW(forward());
}

TEST_F(misuse, memory_that_is_shared) {
    const std::string own = ": an output needs memory of its own";
    out.data = const_cast<float*>(q.data);
    EXPECT_EQ(forward_refusal(), "pantile: out overlaps q" + own);
    out.data = const_cast<float*>(v.data) + 71;
    EXPECT_EQ(forward_refusal(), "pantile: out overlaps v" + own);
    out.data = at(1000);
    lse.data = at(1000 + 119);
    EXPECT_EQ(forward_refusal(), "pantile: lse overlaps out" + own);
    lse.data = at(1200);
    dk.data = dq.data + 300;
    EXPECT_EQ(backward_refusal(), "pantile: dk overlaps dq" + own);
    dk.data = at(2400);
    dv.data = const_cast<float*>(dout.data);
    EXPECT_EQ(backward_refusal(), "pantile: dv overlaps dout" + own);
    dv.data = at(2700);
    std::vector<index_t> lengths(40, 5);
    o.key_lengths = std::span<const index_t>(lengths).subspan(19, 2);
    lse.data = reinterpret_cast<float*>(lengths.data()); // as long as 20 key lengths
    EXPECT_EQ(forward_refusal(), "pantile: lse overlaps options.key_lengths" + own);
    lse.data = at(1200);
    o.key_lengths = {};
    o.slopes = {at(1239), 8};
    EXPECT_EQ(forward_refusal(), "pantile: lse overlaps options.slopes" + own);
    o.slopes = {};
    o.sinks = {dv.data - 1, 4};
    EXPECT_EQ(backward_refusal(), "pantile: dv overlaps options.sinks" + own);
    o.workspace = std::as_writable_bytes(std::span(dv.data - 4, 4));
    EXPECT_EQ(forward_refusal(),
              "pantile: options.workspace overlaps options.sinks: work memory must hold nothing else");
    o.sinks = {};
    o.workspace = std::as_writable_bytes(std::span(at(1239), 4000));
    EXPECT_EQ(forward_refusal(), "pantile: options.workspace overlaps lse: work memory must hold nothing else");
    EXPECT_EQ(backward_refusal(), "pantile: options.workspace overlaps dq: work memory must hold nothing else");
    o.workspace = {};
    out.stride[2] = 0;
    EXPECT_THAT(forward_refusal(),
                HasSubstr("the stride of out.length is 0: elements of this output would share memory"));
    out = bhsd(at(1000), 2, 4, 5, 3);
    dq.stride[0] = 8;
    EXPECT_THAT(backward_refusal(), HasSubstr("elements of this output would share memory"));
}

TEST_F(misuse, partial_results_that_do_not_fit) {
    part.sum.extent[2] = 6;
    EXPECT_EQ(refusal([this] { attention_partial(q, k, v, part, o); }),
              "pantile: part.sum.length is 6, q.length is 5: they must be equal");
    part.sum.extent[2] = 5;
    b.out.extent[3] = 2;
    EXPECT_EQ(refusal([this] { merge(a, b, part); }),
              "pantile: b.out.value_dim is 2, a.out.value_dim is 3: they must be equal");
    b.out.extent[3] = 3;
    a.max.extent[1] = 1;
    EXPECT_EQ(refusal([this] { merge(a, b, part); }),
              "pantile: a.max.heads is 1, a.out.heads is 4: they must be equal");
    a.max.extent[1] = 4;
    EXPECT_EQ(refusal([this] { merge(a, b, b); }),
              "pantile: part.out overlaps b.out: an output needs memory of its own");
    part.out.data = a.max.data;
    EXPECT_THAT(refusal([this] { merge(a, b, part); }), HasSubstr("part.out overlaps a.max"));
    EXPECT_EQ(refusal([this] { finish(a, out, a.sum); }),
              "pantile: lse overlaps part.sum: an output needs memory of its own");
}

TEST_F(misuse, a_workspace_that_is_too_small) {
    std::vector<std::byte> bytes(16);
    o.workspace = bytes;
    o.threads = 1;
    const auto text = [](const explanation& e, const char* function) {
        return "pantile: options.workspace has 16 bytes, this call needs " + std::to_string(e.workspace_bytes) + " (" +
               function + " tells it as workspace_bytes)";
    };
    EXPECT_EQ(forward_refusal(), text(explain(q, k, v, o), "explain"));
    EXPECT_EQ(backward_refusal(), text(explain_backward(q, k, v, o), "explain_backward"));
}

TEST_F(misuse, an_instruction_set_that_is_not_there) {
    for (const isa set : {isa::baseline, isa::avx2, isa::avx512, isa::amx}) {
        const auto& found = available_isas();
        if (std::find(found.begin(), found.end(), set) != found.end()) continue;
        o.isa = set;
        EXPECT_THAT(forward_refusal(),
                    HasSubstr(std::string("options.isa is ") + name(set) + ", which is not available here"));
        EXPECT_THAT(forward_refusal(), HasSubstr("available on this machine: baseline"));
    }
}

TEST_F(misuse, an_instruction_set_that_nobody_has) {
    o.isa = static_cast<isa>(42);
    const std::string text =
        "options.isa is 42: it must be isa::automatic, isa::baseline, isa::avx2, isa::avx512 or isa::amx";
    EXPECT_THAT(forward_refusal(), HasSubstr(text));
    EXPECT_THAT(backward_refusal(), HasSubstr(text));
}

/// PANTILE_ISA is read once: each value needs a process of its own.
TEST_F(misuse, an_unknown_name_in_the_environment) {
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    EXPECT_EXIT(
        {
            setenv("PANTILE_ISA", "mmx", 1);
            try {
                forward();
            } catch (const invalid_argument& e) {
                std::cerr << e.what();
                std::exit(3);
            }
        },
        testing::ExitedWithCode(3), "PANTILE_ISA is 'mmx': it must be baseline, avx2, avx512 or amx");
}

TEST_F(misuse, the_environment_forces_an_instruction_set) {
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    EXPECT_EXIT(
        {
            setenv("PANTILE_ISA", "BaseLine", 1);
            std::cerr << "isa: " << explain(q, k, v).isa;
            std::exit(0);
        },
        testing::ExitedWithCode(0), "isa: baseline");
}

/// Every public function checks: one spoilt argument each.
TEST_F(misuse, every_function_checks) {
    k.extent[3] = 7;
    EXPECT_THROW(forward(), invalid_argument);
    EXPECT_THROW(attention(q, k, v, out, o), invalid_argument);
    EXPECT_THROW(backward(), invalid_argument);
    EXPECT_THROW(attention_partial(q, k, v, part, o), invalid_argument);
    EXPECT_THROW((void)explain(q, k, v, o), invalid_argument);
    EXPECT_THROW((void)explain_backward(q, k, v, o), invalid_argument);
    EXPECT_THROW((void)forward(), std::invalid_argument); // and standard handlers see it
}

} // namespace
} // namespace pantile::test
