// Tensors and lengths whose types are known at run time, and what a problem makes of lengths of 32 bits.
#include <cstdint>

#include <gtest/gtest.h>

#include <pantile/core/check.hpp>
#include <pantile/core/problem.hpp>
#include <pantile/core/traffic.hpp>
#include <pantile/options.hpp>
#include <pantile/results.hpp>
#include <pantile/tensor.hpp>

namespace pantile::inline v0::core {
namespace {

constexpr index_t wide[] = {4, 0, -7};
constexpr std::int32_t narrow[] = {4, 0, -7};

TEST(lengths_ref, of_either_width) {
    const lengths_ref none;
    EXPECT_FALSE(none.given());
    EXPECT_EQ(none.data(), nullptr);
    lengths_ref a, b;
    a.wide = wide;
    b.narrow = narrow;
    EXPECT_TRUE(a.given() && b.given());
    EXPECT_EQ(a.data(), wide);
    EXPECT_EQ(b.data(), narrow);
    EXPECT_EQ(a.element_bytes(), 8);
    EXPECT_EQ(b.element_bytes(), 4);
    for (const index_t i : {0, 1, 2}) EXPECT_EQ(a[i], b[i]);
    EXPECT_EQ(b[2], -7);
    EXPECT_FALSE(a == b);
    EXPECT_TRUE(b == b);
}

TEST(lengths_view, keeps_what_it_was_made_from) {
    const lengths_view none, null = nullptr, array = narrow, counted(wide, 2),
                             pointer = static_cast<const std::int32_t*>(narrow);
    EXPECT_TRUE(none.empty() && null.empty());
    EXPECT_FALSE(none.ref().given());
    EXPECT_EQ(array.size(), 3);
    EXPECT_EQ(array.ref().data(), narrow);
    EXPECT_EQ(array.where(), memory::host);
    EXPECT_EQ(array[2], -7);
    EXPECT_EQ(counted.size(), 2);
    EXPECT_EQ(counted.ref().element_bytes(), 8);
    EXPECT_EQ(pointer.size(), lengths_view::one_a_batch);
    EXPECT_FALSE(pointer.empty());
    EXPECT_EQ(pointer.where(), memory::device);
    EXPECT_EQ(pointer.ref().data(), narrow);
    EXPECT_EQ(lengths_view(static_cast<const index_t*>(nullptr)).size(), 0);
    const lengths_view device = on_device(std::span<const std::int32_t>(narrow));
    EXPECT_EQ(device.where(), memory::device);
    EXPECT_EQ(device.size(), 3);
}

TEST(tensor_ref, of_views) {
    float numbers[24] = {};
    const tensor_ref t = bshd(numbers, 1, 2, 3, 4);
    EXPECT_EQ(t.data, numbers);
    EXPECT_EQ(t.type, dtype::fp32);
    EXPECT_EQ(t.where, memory::host);
    EXPECT_EQ(t.rank, 4);
    const index_t extent[] = {1, 3, 2, 4}, stride[] = {24, 4, 12, 1};
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(t.extent[i] == extent[i] && t.stride[i] == stride[i]) << i;
    EXPECT_FALSE(t.empty());
    const tensor_ref rows = on_device(bhs<const double>(nullptr, 1, 2, 0));
    EXPECT_EQ(rows.type, dtype::fp64);
    EXPECT_EQ(rows.where, memory::device);
    EXPECT_EQ(rows.rank, 3);
    EXPECT_TRUE(rows.empty());
    EXPECT_EQ(tensor_ref(bshd<float16>(nullptr, 1, 1, 1, 1)).type, dtype::fp16);
    EXPECT_EQ(tensor_ref(bshd<const bfloat16>(nullptr, 1, 1, 1, 1)).type, dtype::bf16);
}

TEST(results, know_what_is_wanted) {
    float numbers[8] = {};
    EXPECT_FALSE(results{}.out.wanted || results{}.lse.wanted);
    EXPECT_EQ(results{}.lse.rank, 3);
    const results to{.lse = bhs(numbers, 1, 2, 4)};
    EXPECT_FALSE(to.out.wanted);
    EXPECT_TRUE(to.lse.wanted);
    EXPECT_EQ(to.lse.data, numbers);
    EXPECT_TRUE(result_ref<4>(tensor_ref{}).wanted); // a binding gives what it gives, empty tensors too
}

/// The problem that a call describes: a batch's keys are the same, whatever the width of the lengths.
TEST(problem, with_lengths_of_32_bits) {
    const argument q = describe("q", bhsd<const float>(nullptr, 3, 2, 0, 4));
    const argument k = describe("k", bhsd<const float>(nullptr, 3, 2, 0, 4));
    static constexpr index_t zeros[] = {0, 0, 0};
    static constexpr std::int32_t narrow_zeros[] = {0, 0, 0};
    options o;
    o.key_lengths = narrow_zeros;
    const problem narrow_one = check_inputs(q, k, k, describe(o));
    EXPECT_EQ(narrow_one.key_lengths.narrow, narrow_zeros);
    o.key_lengths = zeros;
    EXPECT_EQ(check_inputs(q, k, k, describe(o)).key_lengths.wide, zeros);
    o.key_lengths = {};
    EXPECT_FALSE(check_inputs(q, k, k, describe(o)).key_lengths.given());

    problem p;
    p.batch = 3, p.q_heads = p.kv_heads = 1, p.k_len = 9, p.q_len = 5, p.mask = causal();
    static constexpr std::int32_t lengths[] = {9, 0, 4};
    static constexpr index_t wide_lengths[] = {9, 0, 4};
    problem other = p;
    p.key_lengths.narrow = lengths;
    other.key_lengths.wide = wide_lengths;
    EXPECT_EQ(visible_pairs(p), visible_pairs(other));
    EXPECT_NE(visible_pairs(p), visible_pairs([&] {
                  problem whole = p;
                  whole.key_lengths = {};
                  return whole;
              }()));
}

TEST(requested_plan, takes_key_splits_by_either_name) {
    const auto requested = [](const options& o) { return requested_plan(o); };
    const auto is = [](const tile_plan& p, index_t rows, index_t keys, index_t splits) {
        return p.row_tile == rows && p.key_tile == keys && p.key_splits == splits;
    };
    EXPECT_TRUE(is(requested({}), 0, 0, 0));
    EXPECT_TRUE(is(requested({.key_splits = 5}), 0, 0, 5));
    EXPECT_TRUE(is(requested({.plan = tile_plan{1, 2, 3}}), 1, 2, 3));
    EXPECT_TRUE(is(requested({.plan = tile_plan{1, 2, 0}, .key_splits = 5}), 1, 2, 5));
    EXPECT_TRUE(is(requested({.plan = tile_plan{1, 2, 5}, .key_splits = 5}), 1, 2, 5));
}

} // namespace
} // namespace pantile::inline v0::core
