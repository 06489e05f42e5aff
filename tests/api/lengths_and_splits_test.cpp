// Key lengths of 32 bits and of 64, in whatever the caller keeps them; key splits by name and by plan.
#include <array>
#include <cstring>
#include <functional>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include <pantile/attention.hpp>

namespace pantile::test {
namespace {

constexpr index_t batch = 3, q_heads = 4, kv_heads = 2, k_len = 300, dim = 8;
const std::vector<index_t> wide_lengths{0, 300, 123};
const std::vector<std::int32_t> narrow_lengths{0, 300, 123};

template <class T>
class lengths : public testing::Test {
  public:
    using wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

    /// All that a forward, a partial and a backward call give under these options, and what explain tells, as bytes.
    static std::vector<std::byte> results(index_t q_len, const options& o) {
        std::mt19937 random(7);
        const auto made = [&](index_t heads, index_t length) {
            std::vector<T> x(static_cast<std::size_t>(batch * heads * length * dim));
            for (T& n : x) n = T(static_cast<wide>(random() % 2001) / 500 - 2);
            return x;
        };
        std::vector<T> q = made(q_heads, q_len), k = made(kv_heads, k_len), v = made(kv_heads, k_len),
                       dout = made(q_heads, q_len);
        std::vector<T> out(q.size()), dq(q.size()), dk(k.size()), dv(v.size());
        std::vector<wide> part(q.size()), lse(static_cast<std::size_t>(batch * q_heads * q_len)), max(lse.size()),
            sum(lse.size());
        const auto of_q = [&](auto& x) { return bhsd(x.data(), batch, q_heads, q_len, dim); };
        const auto of_k = [&](auto& x) { return bhsd(x.data(), batch, kv_heads, k_len, dim); };
        const auto rows = [&](auto& x) { return bhs(x.data(), batch, q_heads, q_len); };
        attention(of_q(q), of_k(k), of_k(v), of_q(out), rows(lse), o);
        attention_partial(of_q(q), of_k(k), of_k(v), {of_q(part), rows(max), rows(sum)}, o);
        attention_backward(of_q(q), of_k(k), of_k(v), of_q(out), rows(lse), of_q(dout), of_q(dq), of_k(dk), of_k(dv),
                           o);
        std::vector<std::byte> bytes;
        const auto append = [&](const auto& x) {
            const auto raw = std::as_bytes(std::span(x));
            bytes.insert(bytes.end(), raw.begin(), raw.end());
        };
        append(out), append(lse), append(part), append(max), append(sum), append(dq), append(dk), append(dv);
        append(to_string(explain(of_q(q), of_k(k), of_k(v), o)));
        append(to_string(explain_backward(of_q(q), of_k(k), of_k(v), o)));
        return bytes;
    }
};
using numbers = testing::Types<float, double, float16, bfloat16>;
TYPED_TEST_SUITE(lengths, numbers);

/// Few rows (decode) and many (tiles; on a processor with a matrix unit, that too).
TYPED_TEST(lengths, of_32_bits_give_the_bits_of_those_of_64) {
    for (const index_t q_len : {1, 70}) {
        const auto with = [&](const lengths_view& l) {
            return TestFixture::results(q_len, {.mask = window(200, 0), .key_lengths = l, .threads = 2});
        };
        const std::vector<std::byte> expected = with(wide_lengths);
        EXPECT_NE(expected, with({})) << "lengths change nothing";
        EXPECT_EQ(expected, with(narrow_lengths));
        EXPECT_EQ(expected, with(std::span<const std::int32_t>(narrow_lengths)));
        EXPECT_EQ(expected, with(std::array<std::int32_t, 3>{0, 300, 123}));
        EXPECT_EQ(expected, with({narrow_lengths.data(), narrow_lengths.size()}));
    }
}

/// Slopes and sinks of 32 bits and of 64, in whatever the caller keeps them; slopes of batches that are alike.
TYPED_TEST(lengths, numbers_of_heads_of_32_bits_give_the_bits_of_those_of_64) {
    const std::vector<double> slopes{0.5, 0.25, 0.125, -0.0625}, sinks{0.5, -1.0, 2.0, 0.0};
    const std::vector<float> narrow_slopes(slopes.begin(), slopes.end());
    const std::array<float, 4> narrow_sinks{0.5F, -1.0F, 2.0F, 0.0F};
    std::vector<double> of_batches;
    for (index_t b = 0; b < batch; ++b) of_batches.insert(of_batches.end(), slopes.begin(), slopes.end());
    for (const index_t q_len : {1, 70}) {
        const auto with = [&](const head_numbers& some_slopes, const head_numbers& some_sinks) {
            return TestFixture::results(
                q_len, {.mask = window(200, 0), .slopes = some_slopes, .sinks = some_sinks, .threads = 2});
        };
        const std::vector<std::byte> expected = with(slopes, sinks);
        EXPECT_NE(expected, with({}, sinks)) << "slopes change nothing";
        EXPECT_NE(expected, with(slopes, {})) << "sinks change nothing";
        EXPECT_EQ(expected, with(narrow_slopes, sinks));
        EXPECT_EQ(expected, with(slopes, narrow_sinks));
        EXPECT_EQ(expected, with(of_batches, std::span<const double>(sinks)));
    }
}

TYPED_TEST(lengths, key_splits_mean_the_same_by_name_and_by_plan) {
    for (const index_t q_len : {1, 70}) {
        const auto with = [&](index_t by_name, index_t by_plan) {
            return TestFixture::results(q_len, {.plan = tile_plan{0, 32, by_plan}, .key_splits = by_name});
        };
        const std::vector<std::byte> expected = with(0, 3);
        EXPECT_EQ(expected, with(3, 0));
        EXPECT_EQ(expected, with(3, 3));
        EXPECT_NE(expected, with(0, 1)) << "splits change nothing";
    }
}

struct some_call {
    std::vector<float> numbers = std::vector<float>(20000);
    tensor_view<float> q = bhsd(numbers.data(), batch, q_heads, 2, dim);
    tensor_view<float> k = bhsd(numbers.data(), batch, kv_heads, k_len, dim);
    tensor_view<float> out = bhsd(numbers.data() + 15000, batch, q_heads, 2, dim);

    [[nodiscard]] std::vector<std::function<void(const options&)>> all() const {
        const auto rows = [this](index_t n) {
            return bhs(const_cast<float*>(numbers.data()) + n, batch, q_heads,
                       2); // NOLINT(cppcoreguidelines-pro-type-const-cast)
        };
        return {[this](const options& o) { attention(q, k, k, out, o); },
                [this, rows](const options& o) { attention(q, k, k, {.out = out, .lse = rows(16000)}, o); },
                [this, rows](const options& o) {
                    attention_partial(q, k, k, {out, rows(16000), rows(16500)}, o);
                },
                [this](const options& o) { (void)explain(q, k, k, o); },
                [this](const options& o) { (void)explain_backward(q, k, k, o); }};
    }
    static std::string refusal(const std::function<void(const options&)>& call, const options& o) {
        try {
            call(o);
        } catch (const invalid_argument& e) {
            return e.what();
        }
        return "no error";
    }
};

TEST(lengths_refusals, device_memory_in_a_call_on_the_host) {
    const some_call calls;
    const std::string text =
        "pantile: options.key_lengths is device memory, q is host memory: they must lie together (a bare "
        "pointer means device memory: give a range, or a pointer and a count)";
    for (const auto& call : calls.all()) {
        EXPECT_EQ(some_call::refusal(call, {.key_lengths = wide_lengths.data()}), text);
        EXPECT_EQ(some_call::refusal(call, {.key_lengths = narrow_lengths.data()}), text);
        EXPECT_EQ(some_call::refusal(call, {.key_lengths = on_device(std::span(narrow_lengths))}), text);
        EXPECT_EQ(some_call::refusal(call, {.key_lengths = nullptr}), "no error");
        EXPECT_EQ(some_call::refusal(call, {.key_lengths = static_cast<const index_t*>(nullptr)}), "no error");
        EXPECT_EQ(some_call::refusal(call, {.key_lengths = narrow_lengths}), "no error");
    }
}

TEST(lengths_refusals, entries_of_32_bits_are_checked_too) {
    const some_call calls;
    for (const auto& call : calls.all()) {
        EXPECT_EQ(some_call::refusal(call, {.key_lengths = std::array<std::int32_t, 3>{0, -1, 3}}),
                  "pantile: options.key_lengths[1] is -1: it must be between 0 and k.length, 300");
        EXPECT_EQ(some_call::refusal(call, {.key_lengths = std::array<std::int32_t, 3>{0, 1, 301}}),
                  "pantile: options.key_lengths[2] is 301: it must be between 0 and k.length, 300");
        EXPECT_EQ(some_call::refusal(call, {.key_lengths = std::array<std::int32_t, 2>{0, 1}}),
                  "pantile: options.key_lengths has 2 entries, q.batch is 3: there must be one a batch");
    }
}

/// Narrow lengths take 4 bytes each where overlaps are looked for: the byte after them may be an output's.
TEST(lengths_refusals, lengths_in_an_output) {
    some_call calls;
    const auto lengths_at = [&](index_t n) {
        return lengths_view(reinterpret_cast<const std::int32_t*>(calls.numbers.data() + n), 3); // zeros
    };
    const index_t out_ends = 15000 + batch * q_heads * 2 * dim;
    const auto forward = calls.all().front();
    const std::string overlap = "pantile: out overlaps options.key_lengths: an output needs memory of its own";
    EXPECT_EQ(some_call::refusal(forward, {.key_lengths = lengths_at(15000 - 3)}), "no error");
    EXPECT_EQ(some_call::refusal(forward, {.key_lengths = lengths_at(15000 - 2)}), overlap);
    EXPECT_EQ(some_call::refusal(forward, {.key_lengths = lengths_at(out_ends - 1)}), overlap);
    EXPECT_EQ(some_call::refusal(forward, {.key_lengths = lengths_at(out_ends)}), "no error");
}

TEST(key_splits, refusals) {
    const some_call calls;
    for (const auto& call : calls.all()) {
        EXPECT_EQ(some_call::refusal(call, {.key_splits = -1}),
                  "pantile: options.key_splits is -1: it must be at least 0 (0: chosen)");
        EXPECT_EQ(some_call::refusal(call, {.plan = tile_plan{0, 0, 2}, .key_splits = 3}),
                  "pantile: options.key_splits is 3, options.plan asks for 2: one of them must be 0, or both the same");
        EXPECT_EQ(some_call::refusal(call, {.plan = tile_plan{0, 0, 3}, .key_splits = 3}), "no error");
        EXPECT_EQ(some_call::refusal(call, {.plan = tile_plan{0, 0, 0}, .key_splits = 3}), "no error");
        EXPECT_EQ(some_call::refusal(call, {.key_splits = 3}), "no error");
    }
}

TEST(key_splits, alone_are_used_by_forward_and_backward) {
    const some_call calls;
    for (const index_t n : {1, 2, 3}) {
        const options o{.plan = tile_plan{0, 16, 0}, .key_splits = n};
        EXPECT_EQ(explain(calls.q, calls.k, calls.k, o).tiles.key_splits, n);
        EXPECT_EQ(explain_backward(calls.q, calls.k, calls.k, o).tiles.key_splits, n);
    }
}

} // namespace
} // namespace pantile::test
