// From a call's arguments to what kernels receive: strides, what may be moved in 16-byte pieces, scales. Addresses are made up; no GPU is needed.

#include "call.hpp"
#include "kernel_names.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>

namespace pantile::inline v0::cuda {
namespace {

template <class T>
T* at(std::uintptr_t address) {
    return reinterpret_cast<T*>(address); // NOLINT(performance-no-int-to-ptr)
}

/// q (2, 4, 10, 64), k and v (2, 2, 20, 64), out (2, 4, 10, 64), lse: dense, aligned to 256 bytes.
template <class T>
struct views {
    device_view<const T> q = on_device(bhsd<const T>(at<const T>(0x100000), 2, 4, 10, 64));
    device_view<const T> k = on_device(bshd<const T>(at<const T>(0x200000), 2, 20, 2, 64));
    device_view<const T> v = on_device(bhsd<const T>(at<const T>(0x300000), 2, 2, 20, 64));
    device_view<T> out = on_device(bhsd(at<T>(0x400000), 2, 4, 10, 64));
    device_row_view<detail::computed<T>> lse = on_device(bhs(at<detail::computed<T>>(0x500000), 2, 4, 10));

    [[nodiscard]] forward_arguments arguments(const device_options& o = {}) const {
        const core::argument inputs[3] = {core::describe("q", q), core::describe("k", k), core::describe("v", v)};
        return checked_arguments(inputs, o);
    }
    [[nodiscard]] call_facts facts(const device_options& o = {}, cuda_kernel forced = cuda_kernel::automatic) const {
        const core::argument inputs[3] = {core::describe("q", q), core::describe("k", k), core::describe("v", v)};
        return facts_of(inputs, o, forced);
    }
    [[nodiscard]] forward_arguments with_out(out_kind kind, bool rows = true) const {
        forward_arguments a = arguments();
        const core::argument outputs[] = {core::describe("out", out), core::describe("lse", lse)};
        set_outputs(a, kind, std::span(outputs, rows ? 2U : 1U));
        return a;
    }
};

void expect_layout(const layout& l, index_t batch, index_t head, index_t row) {
    EXPECT_EQ(l.batch, batch);
    EXPECT_EQ(l.head, head);
    EXPECT_EQ(l.row, row);
}

TEST(cuda_call, arguments_are_the_tensors_and_the_problem) {
    const index_t lengths[2] = {};
    device_options o;
    o.mask = window(5, 3).at_offset(-7);
    o.scale = 0.375;
    o.key_lengths = &lengths[0];
    const views<float> t;
    const forward_arguments a = t.arguments(o);
    EXPECT_EQ(a.q, t.q.data);
    EXPECT_EQ(a.k, t.k.data);
    EXPECT_EQ(a.v, t.v.data);
    expect_layout(a.q_layout, 4 * 10 * 64, 10 * 64, 64);
    expect_layout(a.k_layout, 20 * 2 * 64, 64, 2 * 64);
    expect_layout(a.v_layout, 2 * 20 * 64, 20 * 64, 64);
    EXPECT_EQ(a.q_layout.place(1, 2, 3), 2560 + 2 * 640 + 3 * 64);
    EXPECT_EQ(a.shape.batch, 2);
    EXPECT_EQ(a.shape.q_heads, 4);
    EXPECT_EQ(a.shape.kv_heads, 2);
    EXPECT_EQ(a.shape.q_len, 10);
    EXPECT_EQ(a.shape.k_len, 20);
    EXPECT_EQ(a.shape.head_dim, 64);
    EXPECT_EQ(a.shape.value_dim, 64);
    EXPECT_EQ(a.shape.mask.left, 5);
    EXPECT_EQ(a.shape.mask.right, 3);
    EXPECT_EQ(a.shape.mask.align, alignment::explicit_offset);
    EXPECT_EQ(a.shape.mask.offset, -7);
    EXPECT_EQ(a.shape.key_lengths.data(), lengths); // device memory: passed on, not read
    EXPECT_EQ(a.shape.scale, 0.375);
    EXPECT_EQ(t.arguments().shape.scale, 0.125); // 1 / sqrt(64)
    EXPECT_FALSE(t.arguments().shape.key_lengths.given());
}

/// 16-bit kernels have Q multiplied as it is; the others multiply it by a part of the scale. Together they are the scale.
TEST(cuda_call, the_scale_is_split_for_the_type) {
    device_options o;
    for (const double scale : {0.3, -0.3, 0.0, 1e-30, 1e30, 1e-60, -1e-200}) {
        o.scale = scale;
        const auto expect = [](const core::scale_split& actual, const core::scale_split& expected) {
            EXPECT_EQ(actual.query, expected.query);
            EXPECT_EQ(actual.exponent, expected.exponent);
        };
        expect(views<float16>().arguments(o).scale, core::split_scale(scale, 0, core::least_power<float>));
        expect(views<bfloat16>().arguments(o).scale, core::split_scale(scale, 0, core::least_power<float>));
        expect(views<float>().arguments(o).scale, core::split_scale<float>(scale));
        expect(views<double>().arguments(o).scale, core::split_scale<double>(scale));
    }
}

TEST(cuda_call, facts_are_of_all_three_inputs) {
    const device_options plain;
    device_options o;
    o.key_splits = 5;
    EXPECT_EQ(views<float16>().facts().type, dtype::fp16);
    EXPECT_EQ(views<bfloat16>().facts().type, dtype::bf16);
    EXPECT_EQ(views<float>().facts().type, dtype::fp32);
    EXPECT_EQ(views<double>().facts().type, dtype::fp64);
    EXPECT_EQ(views<float>().facts(o).key_splits, 5);
    EXPECT_EQ(views<float>().facts().key_splits, 0);
    EXPECT_EQ(views<float>().facts(plain, cuda_kernel::ffma).forced, cuda_kernel::ffma);
    EXPECT_TRUE(views<float>().facts().vectors);
    EXPECT_FALSE(views<float>().facts().repeats);
    for (const int which : {0, 1, 2}) {
        views<bfloat16> t;
        const auto tensor = [&]() -> device_view<const bfloat16>& { return which == 0 ? t.q : which == 1 ? t.k : t.v; };
        tensor().data += 4; // 8 bytes
        EXPECT_FALSE(t.facts().vectors);
        EXPECT_FALSE(t.arguments().vectors);
        tensor().data += 4;
        EXPECT_TRUE(t.facts().vectors);
        EXPECT_TRUE(t.arguments().vectors);
        for (const std::size_t dim : {0U, 1U, 2U}) {
            views<bfloat16> s;
            device_view<const bfloat16>& x = which == 0 ? s.q : which == 1 ? s.k : s.v;
            const index_t good = x.stride[dim];
            x.stride[dim] = good + 4;
            EXPECT_FALSE(s.facts().vectors);
            x.stride[dim] = good + 8;
            EXPECT_TRUE(s.facts().vectors);
            for (const index_t repeated : {0, -8}) {
                x.stride[dim] = repeated;
                EXPECT_TRUE(s.facts().repeats) << which << ' ' << dim;
            }
            x.stride[dim] = 8;
            EXPECT_FALSE(s.facts().repeats);
        }
    }
}

/// A dim of one index has no stride to speak of.
TEST(cuda_call, strides_of_single_indices_do_not_count) {
    views<bfloat16> t;
    for (auto* x : {&t.q, &t.k, &t.v}) {
        x->extent = {1, 1, 1, 64};
        x->stride = {0, -3, 5, 1};
    }
    EXPECT_TRUE(t.facts().vectors);
    EXPECT_FALSE(t.facts().repeats);
    for (auto* x : {&t.q, &t.k}) x->extent[3] = 60; // rows of 120 bytes
    EXPECT_FALSE(t.facts().vectors);
}

TEST(cuda_call, a_last_dim_needs_no_stride_where_it_is_short_or_empty) {
    core::argument a = core::describe("q", views<float>().q);
    a.stride[3] = 2;
    EXPECT_THROW(check_contiguous(a), unsupported);
    a.extent[3] = 2;
    EXPECT_THROW(check_contiguous(a), unsupported);
    a.extent[3] = 1;
    EXPECT_NO_THROW(check_contiguous(a));
    a.extent[3] = 64;
    a.extent[2] = 0;
    EXPECT_NO_THROW(check_contiguous(a));
}

TEST(cuda_call, results_go_to_out_and_lse) {
    const views<bfloat16> t;
    for (const out_kind kind : {out_kind::same, out_kind::wide}) {
        const forward_arguments a = t.with_out(kind);
        EXPECT_EQ(a.kind, kind);
        EXPECT_EQ(a.out, t.out.data);
        EXPECT_EQ(a.lse, t.lse.data);
        EXPECT_EQ(a.max, nullptr);
        expect_layout(a.out_layout, 4 * 10 * 64, 10 * 64, 64);
        expect_layout(a.lse_layout, 40, 10, 1);
        EXPECT_TRUE(a.out_vectors);
        EXPECT_EQ(a.out_boxes, kind == out_kind::same); // the copy engine does not widen
        EXPECT_EQ(t.with_out(kind, false).lse, nullptr);
    }
    views<bfloat16> crooked;
    crooked.out.stride[2] = 68;
    EXPECT_FALSE(crooked.with_out(out_kind::same).out_vectors);
    EXPECT_FALSE(crooked.with_out(out_kind::same).out_boxes);
    views<bfloat16> reversed;
    reversed.out.stride[2] = -64;
    EXPECT_TRUE(reversed.with_out(out_kind::same).out_vectors);
    EXPECT_FALSE(reversed.with_out(out_kind::same).out_boxes);
}

TEST(cuda_call, partial_results_go_to_out_max_and_sum) {
    const views<float> t;
    const device_row_view<float> max{at<float>(0x600000), {2, 4, 10}, {80, 20, 2}};
    const device_row_view<float> sum{at<float>(0x700000), {2, 4, 10}, {120, 30, 3}};
    const core::argument outputs[] = {core::describe("part.out", t.out), core::describe("part.max", max),
                                      core::describe("part.sum", sum)};
    forward_arguments a = t.arguments();
    set_outputs(a, out_kind::partial, outputs);
    EXPECT_EQ(a.kind, out_kind::partial);
    EXPECT_EQ(a.out, t.out.data);
    EXPECT_EQ(a.max, max.data);
    EXPECT_EQ(a.lse, sum.data);
    expect_layout(a.out_layout, 4 * 10 * 64, 10 * 64, 64);
    expect_layout(a.max_layout, 80, 20, 2);
    expect_layout(a.lse_layout, 120, 30, 3);
    EXPECT_TRUE(a.out_vectors);
    EXPECT_FALSE(a.out_boxes);
}

TEST(cuda_call, takes_tiles_heads_and_tail_of_the_plan) {
    forward_plan plan;
    plan.tiles = {12, 34, 5};
    plan.heads_packed = 6;
    plan.tail = 7;
    forward_arguments a;
    set_plan(a, plan);
    EXPECT_EQ(a.tiles.row_tile, 12);
    EXPECT_EQ(a.tiles.key_tile, 34);
    EXPECT_EQ(a.tiles.key_splits, 5);
    EXPECT_EQ(a.heads_packed, 6);
    EXPECT_EQ(a.tail, 7);
}

TEST(cuda_call, kernels_have_names) {
    constexpr std::pair<cuda_kernel, const char*> all[] = {{cuda_kernel::automatic, "automatic"},
                                                           {cuda_kernel::portable, "portable"},
                                                           {cuda_kernel::decode, "decode"},
                                                           {cuda_kernel::sm90, "sm90"},
                                                           {cuda_kernel::ffma, "ffma"}};
    for (const auto& [kernel, name] : all) {
        EXPECT_STREQ(name_of(kernel), name);
        EXPECT_EQ(kernel_named(name), kernel);
    }
    EXPECT_EQ(kernel_named(nullptr), cuda_kernel::automatic);
    EXPECT_EQ(kernel_named(""), cuda_kernel::automatic);
    for (const char* unknown : {"sm80", "sm900", "SM90", " ffma", "ffm"}) {
        try {
            (void)kernel_named(unknown);
            ADD_FAILURE() << unknown;
        } catch (const invalid_argument& e) {
            EXPECT_EQ(std::string(e.what()), std::string("pantile: PANTILE_CUDA_KERNEL is '") + unknown +
                                                 "': it must be automatic, portable, decode, sm90 or ffma");
        }
    }
}

} // namespace
} // namespace pantile::inline v0::cuda
