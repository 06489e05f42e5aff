// explain tells what a call would do, and the call keeps to it.
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

core::problem problem_of(const attention_case& c, const options& o) {
    core::problem p{c.batch, c.q_heads, c.kv_heads, c.q_len, c.k_len, c.head_dim, c.value_dim, o.mask};
    p.key_lengths = o.key_lengths.ref();
    return p;
}

/// The set that serves a forward call which asks for `set`: AMX multiplies bf16 only and pays from 32 rows on, every other
/// call under that name runs AVX-512's kernels.
isa serving_set(isa set, dtype t, index_t rows) {
    const bool matrix_unit = t == dtype::bf16 && rows >= 32;
    return set == isa::amx && !matrix_unit ? isa::avx512 : set;
}

template <class In>
void explains(const attention_case& c, const call_style& s) {
    const options o = options_of(c, s);
    const std::vector<In> numbers(1);
    const auto view = [&](const extents& e) { return strided(numbers.data(), e, {0, 0, 0, 0}); }; // nothing is read
    const explanation e = explain(view(c.q_extent()), view(c.k_extent()), view(c.v_extent()), o);
    const core::problem p = problem_of(c, o);
    RC_ASSERT(e.machine == "cpu");
    core::traffic expected = core::forward_traffic(p, e.tiles);
    if (e.kernel == "decode") { // K and V pass once for all heads of a group
        expected.k.reads /= p.group();
        expected.v.reads /= p.group();
    }
    RC_ASSERT(e.traffic == expected);
    constexpr index_t size = sizeof(In);
    constexpr index_t lse_size = std::is_same_v<In, double> ? 8 : 4;
    RC_ASSERT(e.read_bytes == size * e.traffic.total().reads);
    RC_ASSERT(e.write_bytes == size * e.traffic.out.writes + lse_size * e.traffic.lse.writes);
    RC_ASSERT(e.flops ==
              2.0 * static_cast<double>(c.head_dim + c.value_dim) * static_cast<double>(core::visible_pairs(p)));
    RC_ASSERT(e.tiles.key_tile >= 1 && e.tiles.row_tile >= 1 && e.tiles.key_splits >= 1);
    RC_ASSERT(e.threads >= 1);
    if (s.threads > 0) RC_ASSERT(e.threads <= s.threads);
    if (s.set != isa::automatic) RC_ASSERT(e.isa == name(serving_set(s.set, s.type, c.q_len)));
}

RC_GTEST_PROP(explain, counts_traffic_and_work_of_the_plan, ()) {
    const attention_case c = *any_case();
    const call_style s = *any_style();
    switch (s.type) {
    case dtype::fp64:
        return explains<double>(c, s);
    case dtype::fp32:
        return explains<float>(c, s);
    case dtype::fp16:
        return explains<float16>(c, s);
    case dtype::bf16:
        return explains<bfloat16>(c, s);
    case dtype::fp8:
        break;
    }
}

/// Work memory is linear in the lengths: doubling them at most doubles it.
TEST(explain, workspace_is_linear_in_the_lengths) {
    const float x = 0.0F;
    options o;
    o.threads = 2;
    const auto bytes = [&](index_t n, bool backward) {
        const auto t = strided(&x, {1, 2, n, 64}, {0, 0, 0, 0});
        return (backward ? explain_backward(t, t, t, o) : explain(t, t, t, o)).workspace_bytes;
    };
    for (const bool backward : {false, true}) {
        for (index_t n = 1 << 12; n <= 1 << 20; n *= 2) {
            EXPECT_LE(bytes(2 * n, backward), 2 * bytes(n, backward) + 4096) << n;
        }
        EXPECT_LT(bytes(1 << 20, backward), index_t{64} * (1 << 20) * 64 * 2);
    }
}

TEST(explain, speaks_to_people) {
    const float x = 0.0F;
    const auto t = strided(&x, {1, 8, 4096, 64}, {0, 0, 0, 0});
    const std::string text = to_string(explain(t, t, t, {.mask = causal()}));
    for (const char* word : {"cpu", "rows", "keys", "MiB", "GFLOP"}) EXPECT_THAT(text, testing::HasSubstr(word));
    std::ostringstream stream;
    stream << explain(t, t, t, {.mask = causal()});
    EXPECT_EQ(stream.str(), text);
    EXPECT_THAT(text, testing::Not(testing::HasSubstr("note")));
    explanation e;
    e.note = "amx is not used: a reason";
    EXPECT_THAT(to_string(e), testing::HasSubstr("\nnote       amx is not used: a reason"));
}

} // namespace
} // namespace pantile::test
