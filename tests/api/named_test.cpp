// Results and gradients by name: the bits of the positional call, and what is said where one is missing.
#include <array>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include <pantile/attention.hpp>

namespace pantile::test {
namespace {

constexpr index_t batch = 2, q_heads = 4, kv_heads = 2, q_len = 37, k_len = 53, dim = 9, value_dim = 12;

template <class T>
using wide_of = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// The same numbers for every call, and results whose bytes can be compared.
template <class T, class Out = T>
struct problem {
    using wide = wide_of<T>;
    std::vector<T> q = made(q_heads, q_len, dim, 1), k = made(kv_heads, k_len, dim, 2),
                   v = made(kv_heads, k_len, value_dim, 3), dout = made(q_heads, q_len, value_dim, 4),
                   given_out = q_shaped(value_dim);
    std::vector<wide> lse = std::vector<wide>(batch * q_heads * q_len);
    std::vector<Out> out = std::vector<Out>(batch * q_heads * q_len * value_dim);
    std::vector<Out> dq = std::vector<Out>(q.size()), dk = std::vector<Out>(k.size()), dv = std::vector<Out>(v.size());
    options o{.mask = causal(), .threads = 2};

    static std::vector<T> made(index_t heads, index_t length, index_t d, unsigned seed) {
        std::mt19937 random(seed);
        std::vector<T> x(static_cast<std::size_t>(batch * heads * length * d));
        for (T& n : x) n = T(static_cast<wide>(random() % 2001) / 500 - 2);
        return x;
    }
    static std::vector<T> q_shaped(index_t d) {
        return std::vector<T>(static_cast<std::size_t>(batch * q_heads * q_len * d));
    }
    template <class X>
    static tensor_view<X> of_q(std::vector<X>& x, index_t d) {
        return bhsd(x.data(), batch, q_heads, q_len, d);
    }
    template <class X>
    static tensor_view<X> of_k(std::vector<X>& x, index_t d) {
        return bhsd(x.data(), batch, kv_heads, k_len, d);
    }
    row_view<wide> rows() { return bhs(lse.data(), batch, q_heads, q_len); }
    tensor_view<Out> out_view() { return of_q(out, value_dim); }

    void positional() { attention(of_q(q, dim), of_k(k, dim), of_k(v, value_dim), out_view(), rows(), o); }
    void named(const results& to) { attention(of_q(q, dim), of_k(k, dim), of_k(v, value_dim), to, o); }
    /// out and lse of the inputs' type, from which a backward call starts.
    void prepare_backward() {
        attention(of_q(q, dim), of_k(k, dim), of_k(v, value_dim), of_q(given_out, value_dim), rows(), o);
    }
    void backward_positional() {
        attention_backward(of_q(q, dim), of_k(k, dim), of_k(v, value_dim), of_q(given_out, value_dim), rows(),
                           of_q(dout, value_dim), of_q(dq, dim), of_k(dk, dim), of_k(dv, value_dim), o);
    }
    void backward_named(const loss_gradients& from, const gradients& to) {
        attention_backward(of_q(q, dim), of_k(k, dim), of_k(v, value_dim), of_q(given_out, value_dim), rows(), from, to,
                           o);
    }
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class T>
bool untouched(const std::vector<T>& x) {
    return same_bits(x, std::vector<T>(x.size()));
}

template <class F>
std::string refusal_of(F f) {
    try {
        f();
    } catch (const invalid_argument& e) {
        return e.what();
    }
    return "no error";
}

template <class P>
class named : public testing::Test {};
using problems = testing::Types<problem<float>, problem<double>, problem<float16>, problem<float16, float>,
                                problem<bfloat16>, problem<bfloat16, float>>;
TYPED_TEST_SUITE(named, problems);

TYPED_TEST(named, results_have_the_bits_of_the_positional_call) {
    TypeParam a, b, without_lse;
    a.positional();
    ASSERT_FALSE(untouched(a.out));
    b.named({.out = b.out_view(), .lse = b.rows()});
    EXPECT_TRUE(same_bits(a.out, b.out));
    EXPECT_TRUE(same_bits(a.lse, b.lse));
    without_lse.named({.out = without_lse.out_view()});
    EXPECT_TRUE(same_bits(a.out, without_lse.out));
    EXPECT_TRUE(untouched(without_lse.lse));
}

TYPED_TEST(named, gradients_have_the_bits_of_the_positional_call) {
    TypeParam a, b;
    a.prepare_backward(), b.prepare_backward();
    a.backward_positional();
    ASSERT_FALSE(untouched(a.dq) || untouched(a.dk) || untouched(a.dv));
    b.backward_named({.dout = b.of_q(b.dout, value_dim)},
                     {.dq = b.of_q(b.dq, dim), .dk = b.of_k(b.dk, dim), .dv = b.of_k(b.dv, value_dim)});
    EXPECT_TRUE(same_bits(a.dq, b.dq));
    EXPECT_TRUE(same_bits(a.dk, b.dk));
    EXPECT_TRUE(same_bits(a.dv, b.dv));
}

/// Gradients of slopes and sinks on request, in either type, and no other bit changes.
TYPED_TEST(named, gradients_of_heads_change_no_other_bit) {
    TypeParam a, b;
    const std::vector<double> slopes(q_heads, 0.25), sinks(q_heads, 0.5);
    for (TypeParam* p : {&a, &b}) {
        p->o.slopes = slopes;
        p->o.sinks = sinks;
        p->prepare_backward();
    }
    a.backward_positional();
    std::vector<float> dslopes(q_heads);
    std::vector<double> dsinks(q_heads);
    b.backward_named({.dout = b.of_q(b.dout, value_dim)}, {.dq = b.of_q(b.dq, dim),
                                                           .dk = b.of_k(b.dk, dim),
                                                           .dv = b.of_k(b.dv, value_dim),
                                                           .dslopes = dslopes,
                                                           .dsinks = dsinks});
    EXPECT_TRUE(same_bits(a.dq, b.dq));
    EXPECT_TRUE(same_bits(a.dk, b.dk));
    EXPECT_TRUE(same_bits(a.dv, b.dv));
    EXPECT_FALSE(untouched(dslopes) || untouched(dsinks));
    // The other way round: each in the other type.
    std::vector<double> wide(q_heads);
    std::array<float, q_heads> narrow{};
    b.backward_named({.dout = b.of_q(b.dout, value_dim)}, {.dq = b.of_q(b.dq, dim),
                                                           .dk = b.of_k(b.dk, dim),
                                                           .dv = b.of_k(b.dv, value_dim),
                                                           .dslopes = wide,
                                                           .dsinks = narrow});
    for (std::size_t h = 0; h < static_cast<std::size_t>(q_heads); ++h) {
        EXPECT_EQ(dslopes[h], static_cast<float>(wide[h]));
        EXPECT_EQ(narrow[h], static_cast<float>(dsinks[h]));
    }
    // One without the other.
    std::vector<double> alone(q_heads);
    b.backward_named(
        {.dout = b.of_q(b.dout, value_dim)},
        {.dq = b.of_q(b.dq, dim), .dk = b.of_k(b.dk, dim), .dv = b.of_k(b.dv, value_dim), .dsinks = alone});
    EXPECT_TRUE(same_bits(alone, dsinks));
}

TYPED_TEST(named, results_without_out) {
    TypeParam p;
    const std::string text = "pantile: out is not given: the call writes it";
    EXPECT_EQ(refusal_of([&] { p.named({}); }), text);
    EXPECT_EQ(refusal_of([&] { p.named({.lse = p.rows()}); }), text);
    EXPECT_TRUE(untouched(p.lse));
}

TYPED_TEST(named, a_gradient_that_is_not_given) {
    TypeParam p;
    p.prepare_backward();
    const loss_gradients from{.dout = p.of_q(p.dout, value_dim)};
    const gradients all{.dq = p.of_q(p.dq, dim), .dk = p.of_k(p.dk, dim), .dv = p.of_k(p.dv, value_dim)};
    const auto refusal = [&](gradients to) { return refusal_of([&] { p.backward_named(from, to); }); };
    const auto text = [](const char* name) {
        return std::string("pantile: ") + name + " is not given: the call writes it";
    };
    EXPECT_EQ(refusal({}), text("dq"));
    EXPECT_EQ(refusal({.dk = all.dk, .dv = all.dv}), text("dq"));
    EXPECT_EQ(refusal({.dq = all.dq, .dv = all.dv}), text("dk"));
    EXPECT_EQ(refusal({.dq = all.dq, .dk = all.dk}), text("dv"));
    EXPECT_TRUE(untouched(p.dq) && untouched(p.dk) && untouched(p.dv));
    EXPECT_EQ(refusal(all), "no error");
}

TEST(named_finish, both_results_must_be_given) {
    std::vector<float> numbers(64);
    const auto t = bhsd(numbers.data(), 1, 1, 2, 3);
    const auto at = [&](index_t n) { return bhs(numbers.data() + n, 1, 1, 2); };
    const partial_view<float> part{t, at(8), at(10)};
    EXPECT_EQ(refusal_of([&] { erased::finish(part, {.lse = at(12)}); }),
              "pantile: out is not given: the call writes it");
    EXPECT_EQ(refusal_of([&] { erased::finish(part, {.out = t}); }), "pantile: lse is not given: the call writes it");
    EXPECT_EQ(refusal_of([&] { erased::finish(part, {.out = t, .lse = at(12)}); }), "no error");
}

} // namespace
} // namespace pantile::test
