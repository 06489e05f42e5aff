// The decode machine against the tile machine, which a plan with a row tile asks for: the same function by another way.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <pantile/attention.hpp>

namespace {

using namespace pantile;

struct shape {
    index_t batch, q_heads, kv_heads, q_len, k_len, head_dim, value_dim;
};

template <class T>
std::vector<T> numbers(index_t count, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    std::vector<T> x(static_cast<std::size_t>(count));
    for (T& value : x) value = T(normal(generator));
    return x;
}

/// Largest difference in out and in lse between the two machines; NaN counts as infinite.
template <class T>
double difference(const shape& s, const mask& m, isa set, index_t splits) {
    using stat = std::conditional_t<sizeof(T) == 8, double, float>;
    const auto q = numbers<T>(s.batch * s.q_heads * s.q_len * s.head_dim, 1);
    const auto k = numbers<T>(s.batch * s.kv_heads * s.k_len * s.head_dim, 2);
    const auto v = numbers<T>(s.batch * s.kv_heads * s.k_len * s.value_dim, 3);
    const auto count = static_cast<std::size_t>(s.batch * s.q_heads * s.q_len);
    const auto call = [&](const tile_plan& plan, std::vector<stat>& out, std::vector<stat>& lse) {
        out.assign(count * static_cast<std::size_t>(s.value_dim), std::numeric_limits<stat>::quiet_NaN());
        lse.assign(count, std::numeric_limits<stat>::quiet_NaN());
        options o{.mask = m};
        o.isa = set;
        o.plan = plan;
        const auto qv = bshd(q.data(), s.batch, s.q_len, s.q_heads, s.head_dim);
        const auto kv = bhsd(k.data(), s.batch, s.kv_heads, s.k_len, s.head_dim);
        const auto vv = bshd(v.data(), s.batch, s.k_len, s.kv_heads, s.value_dim);
        attention(qv, kv, vv, bshd(out.data(), s.batch, s.q_len, s.q_heads, s.value_dim),
                  bhs(lse.data(), s.batch, s.q_heads, s.q_len), o);
        return explain(qv, kv, vv, o).kernel;
    };
    std::vector<stat> out, lse, tile_out, tile_lse;
    EXPECT_EQ(call({0, 0, splits}, out, lse), "decode");
    EXPECT_EQ(call({16, 48, 1}, tile_out, tile_lse), "tile");
    double worst = 0;
    const auto compare = [&](const std::vector<stat>& a, const std::vector<stat>& b) {
        for (std::size_t i = 0; i < a.size(); ++i) {
            if (a[i] == b[i]) continue; // also both -inf
            const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
            worst = std::isnan(d) ? std::numeric_limits<double>::infinity() : std::max(worst, d);
        }
    };
    compare(out, tile_out);
    compare(lse, tile_lse);
    return worst;
}

class decode : public testing::TestWithParam<isa> {
  protected:
    void SetUp() override {
        try {
            const float x = 0;
            (void)explain(bhsd(&x, 1, 1, 1, 1), bhsd(&x, 1, 1, 1, 1), bhsd(&x, 1, 1, 1, 1), {.isa = GetParam()});
        } catch (const invalid_argument&) {
            GTEST_SKIP() << "this processor lacks the instruction set";
        }
    }
};

TEST_P(decode, agrees_with_the_tile_machine) {
    const mask masks[] = {full(), causal(), window(9, 4), causal(alignment::top_left), causal().at_offset(-3)};
    for (const mask& m : masks) {
        EXPECT_LT(difference<float>({2, 4, 2, 1, 53, 40, 24}, m, GetParam(), 1), 4e-6);
        EXPECT_LT(difference<float>({2, 4, 1, 2, 333, 64, 64}, m, GetParam(), 3), 4e-6);
        EXPECT_LT(difference<double>({1, 2, 1, 1, 200, 17, 24}, m, GetParam(), 2), 1e-14);
        EXPECT_LT(difference<bfloat16>({1, 6, 2, 2, 100, 64, 80}, m, GetParam(), 2), 4e-6);
        EXPECT_LT(difference<float16>({1, 5, 5, 1, 70, 96, 33}, m, GetParam(), 0), 4e-6);
    }
}

/// What a row does not see may hold anything; keys that no row of the tile sees are not even read.
TEST_P(decode, hidden_garbage_does_not_matter) {
    constexpr index_t k_len = 40, dim = 24, q_len = 2;
    auto k = numbers<float>(k_len * dim, 4);
    auto v = numbers<float>(k_len * dim, 5);
    const auto q = numbers<float>(q_len * dim, 6);
    std::vector<float> clean(q_len * dim), dirty(q_len * dim);
    const options o{.mask = causal().at_offset(20), .isa = GetParam()};
    const auto call = [&](std::vector<float>& out) {
        attention(bhsd(q.data(), 1, 1, q_len, dim), bhsd<const float>(k.data(), 1, 1, k_len, dim),
                  bhsd<const float>(v.data(), 1, 1, k_len, dim), bhsd(out.data(), 1, 1, q_len, dim), o);
    };
    call(clean);
    // Row 0 sees keys 0 … 20, row 1 also key 21.
    for (index_t j = 22; j < k_len; ++j) {
        for (index_t x = 0; x < dim; ++x) {
            k[static_cast<std::size_t>(j * dim + x)] = std::numeric_limits<float>::quiet_NaN();
            v[static_cast<std::size_t>(j * dim + x)] = std::numeric_limits<float>::infinity();
        }
    }
    call(dirty);
    EXPECT_EQ(clean, dirty);
    for (index_t x = 0; x < dim; ++x)
        v[static_cast<std::size_t>(21 * dim + x)] = std::numeric_limits<float>::infinity();
    call(dirty);
    for (std::size_t x = 0; x < dim; ++x) {
        EXPECT_EQ(dirty[x], clean[x]);
        EXPECT_FALSE(std::isfinite(dirty[dim + x]));
    }
}

/// A head dim that fills no whole vectors is read with an overlap. The dims in it count once, also where they are infinite:
/// a key whose score is minus infinity weighs nothing.
template <class T>
void infinite_numbers_count_once(isa set, index_t dim) {
    constexpr index_t k_len = 37, hidden = 11;
    std::vector<T> q = numbers<T>(dim, 7);
    std::vector<T> k = numbers<T>(k_len * dim, 8);
    std::vector<T> v = numbers<T>(k_len * dim, 9);
    for (index_t x = 0; x < dim; ++x) {
        const T spoilt = k[static_cast<std::size_t>(hidden * dim + x)];
        const bool positive = float(q[static_cast<std::size_t>(x)]) > 0;
        k[static_cast<std::size_t>(hidden * dim + x)] =
            T(std::numeric_limits<float>::infinity() * (positive ? -1.F : 1.F));
        std::vector<float> out(static_cast<std::size_t>(dim)), expected(out.size());
        const auto call = [&](index_t row_tile, std::vector<float>& to) {
            options o;
            o.isa = set;
            o.plan = tile_plan{row_tile, 0, 1};
            attention(bhsd<const T>(q.data(), 1, 1, 1, dim), bhsd<const T>(k.data(), 1, 1, k_len, dim),
                      bhsd<const T>(v.data(), 1, 1, k_len, dim), bhsd(to.data(), 1, 1, 1, dim), o);
        };
        call(0, out);
        call(16, expected); // the tile machine
        for (index_t i = 0; i < dim; ++i) {
            ASSERT_TRUE(std::isfinite(out[static_cast<std::size_t>(i)])) << "infinite in dim " << x;
            ASSERT_NEAR(out[static_cast<std::size_t>(i)], expected[static_cast<std::size_t>(i)], 2e-6);
        }
        k[static_cast<std::size_t>(hidden * dim + x)] = spoilt;
    }
}
TEST_P(decode, infinite_numbers_count_once) {
    for (const index_t dim : {40, 43}) { // 43: of no vectors, however short
        infinite_numbers_count_once<float>(GetParam(), dim);
        infinite_numbers_count_once<bfloat16>(GetParam(), dim);
        infinite_numbers_count_once<float16>(GetParam(), dim);
    }
}

INSTANTIATE_TEST_SUITE_P(each_isa, decode, testing::Values(isa::baseline, isa::avx2, isa::avx512),
                         [](const testing::TestParamInfo<isa>& set) {
                             return set.param == isa::baseline ? "baseline"
                                    : set.param == isa::avx2   ? "avx2"
                                                               : "avx512";
                         });

} // namespace
