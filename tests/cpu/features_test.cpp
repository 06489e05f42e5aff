// Soft caps, ALiBi and sinks through every forward and backward machine, against the formula in double.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "features_call.hpp"

namespace pantile::test {
namespace {

/// Of numbers of about one, in units of what is computed in and what is stored: wide enough for any order of additions, far below
/// what a wrong key, head or sink makes.
double tolerance_of(dtype t, bool matrix_unit) {
    if (t == dtype::fp64) return 1e-11;
    if (matrix_unit) return 0.03; // P in bf16
    return t == dtype::fp32 ? 4e-5 : t == dtype::fp16 ? 2e-3 : 0.016;
}

void expect_near(const tensor<double>& got, const tensor<double>& expected, double tolerance, const char* what) {
    ASSERT_EQ(got.data.size(), expected.data.size());
    double largest = 1.0;
    for (const double x : expected.data) {
        if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
    }
    for (std::size_t n = 0; n < got.data.size(); ++n) {
        if (got.data[n] == expected.data[n]) continue; // infinities
        ASSERT_LE(std::abs(got.data[n] - expected.data[n]), tolerance * largest)
            << what << " at " << n << ": " << got.data[n] << " for " << expected.data[n];
    }
}

void expect_near(const std::vector<double>& got, const std::vector<double>& expected, double tolerance,
                 const char* what) {
    ASSERT_EQ(got.size(), expected.size()) << what;
    double largest = 1.0;
    for (const double x : expected) largest = std::max(largest, std::abs(x));
    for (std::size_t n = 0; n < got.size(); ++n) {
        ASSERT_NEAR(got[n], expected[n], tolerance * largest) << what << " of head " << n;
    }
}

/// The whole of a call, held against the formula.
void expect_right(const attention_case& c, const feature_style& s, std::uint64_t seed) {
    const attention_inputs in = make_inputs(c, s.type, data_kind::normal, seed);
    const feature_results got = call_features(c, in, s);
    const auto forward = plain_forward<double>(c, in);
    const double tolerance = tolerance_of(s.type, got.matrix_unit);
    const double terms = std::sqrt(static_cast<double>(std::max<index_t>(c.q_len * c.batch, c.k_len)));
    expect_near(got.out, forward.out, tolerance, "out");
    expect_near(got.lse, forward.lse, s.type == dtype::fp64 ? 1e-12 : 1e-5, "lse");
    const auto backward = plain_backward<double>(c, in);
    expect_near(got.dq, backward.dq, 4 * tolerance, "dq");
    expect_near(got.dk, backward.dk, 4 * tolerance, "dk");
    expect_near(got.dv, backward.dv, 4 * tolerance, "dv");
    const double stored = s.wide_numbers ? 0.0 : 1e-7; // gradients of heads in fp32
    if (!c.sinks.empty()) expect_near(got.dsinks, backward.dsinks, 4 * tolerance * terms + stored, "dsinks");
    if (got.dslopes.empty()) return;
    double size = 0.0;
    const std::vector<double> expected = slope_gradients(c, in, size);
    expect_near(got.dslopes, expected, 4 * tolerance * (1 + size) + stored, "dslopes");
}

constexpr dtype types[] = {dtype::fp32, dtype::fp64, dtype::fp16, dtype::bf16};

RC_GTEST_PROP(features, every_machine_agrees_with_the_formula, ()) {
    attention_case c = *any_case({.batch = 2, .kv_heads = 2, .group = 3, .length = 70, .dim = 40});
    if (*rc::gen::inRange(0, 20) == 0) c.head_dim = 0;
    if (detail::chance(60)) c.softcap = *rc::gen::element(0.5, 3.0, 20.0);
    if (detail::chance(60)) c.slopes.assign(static_cast<std::size_t>(c.q_heads), 0.0);
    if (detail::chance(60)) c.sinks.assign(static_cast<std::size_t>(c.q_heads), 0.0);
    fill_features(c, *rc::gen::arbitrary<std::uint64_t>());
    for (std::vector<double>* numbers : {&c.slopes, &c.sinks}) { // exact in fp32
        for (double& x : *numbers) x = static_cast<double>(static_cast<float>(x));
    }
    feature_style s;
    s.type = *rc::gen::elementOf(std::vector<dtype>(std::begin(types), std::end(types)));
    s.set = *rc::gen::elementOf(feature_isas());
    s.threads = *rc::gen::inRange(1, 4);
    s.slopes_a_batch = detail::chance(30);
    s.wide_numbers = detail::chance(50);
    if (detail::chance(50)) s.plan = {detail::pick(0, 1) * 16, detail::pick(1, 80), detail::pick(0, 3)};
    const std::uint64_t seed = *rc::gen::arbitrary<std::uint64_t>();
    expect_right(c, s, seed);
    RC_ASSERT(!testing::Test::HasFailure());
}

class features_of_isa : public testing::TestWithParam<isa> {};

attention_case usual(index_t q_len, index_t k_len) {
    attention_case c;
    c.batch = 2;
    c.q_heads = 4;
    c.kv_heads = 2;
    c.q_len = q_len;
    c.k_len = k_len;
    c.head_dim = 32;
    c.value_dim = 24;
    c.right = 0;
    c.scale = 0.5;
    c.softcap = 2.0;
    c.slopes = {0.5, 0.25, 0.125, 0.0625};
    c.sinks = {1.0, -0.5, 0.0, 2.0};
    return c;
}

/// Decode (1 … 8 rows), tiles, and the matrix unit's panels; splits of the keys; slopes of each (batch, head).
TEST_P(features_of_isa, rows_few_and_many) {
    for (const dtype t : types) {
        for (const index_t rows : {1, 2, 7, 40, 150}) {
            for (const index_t splits : {0, 1, 3}) {
                for (const bool a_batch : {false, true}) {
                    feature_style s{.type = t, .set = GetParam(), .slopes_a_batch = a_batch};
                    s.plan = {0, splits == 3 ? 16 : 0, splits};
                    SCOPED_TRACE(std::string(name(t)) + ", rows " + std::to_string(rows) + ", splits " +
                                 std::to_string(splits));
                    expect_right(usual(rows, 190), s, 3);
                    if (HasFatalFailure()) return;
                }
            }
        }
    }
}

/// Each feature alone, full and under a window.
TEST_P(features_of_isa, one_at_a_time) {
    for (int which = 0; which < 3; ++which) {
        for (const bool window : {false, true}) {
            for (const dtype t : types) {
                for (const index_t rows : {3, 70}) {
                    attention_case c = usual(rows, 130);
                    if (which != 0) c.softcap = 0.0;
                    if (which != 1) c.slopes.clear();
                    if (which != 2) c.sinks.clear();
                    c.right.reset();
                    if (window) c.left = 20, c.right = 5;
                    SCOPED_TRACE(std::string(name(t)) + ", feature " + std::to_string(which));
                    expect_right(c, {.type = t, .set = GetParam()}, 5);
                    if (HasFatalFailure()) return;
                }
            }
        }
    }
}

/// The parts of a split call carry the sink once: forced splits give what one walk gives.
TEST_P(features_of_isa, splits_carry_the_sink_once) {
    for (const index_t rows : {1, 33}) {
        attention_case c = usual(rows, 300);
        c.sinks = {5.0, 8.0, 3.0, 7.0}; // twice would halve out
        const attention_inputs in = make_inputs(c, dtype::fp64, data_kind::normal, 9);
        feature_style s{.type = dtype::fp64, .set = GetParam()};
        s.plan = {0, 16, 1};
        const feature_results whole = call_features(c, in, s);
        for (const index_t splits : {2, 5, 19}) {
            s.plan.key_splits = splits;
            const feature_results parts = call_features(c, in, s);
            expect_near(parts.out, whole.out, 1e-14, "out");
            expect_near(parts.lse, whole.lse, 1e-14, "lse");
        }
    }
}

/// Rows without keys: out is 0, lse the sink, and no gradient; keys that no row sees get none either.
TEST_P(features_of_isa, a_row_without_keys_keeps_its_sink) {
    for (const dtype t : types) {
        for (const index_t rows : {4, 90}) {
            attention_case c = usual(rows, 60);
            c.align = anchor::explicit_offset;
            c.offset = -3; // rows 0 … 2 see nothing
            c.key_lengths = {60, 0};
            const attention_inputs in = make_inputs(c, t, data_kind::normal, 11);
            const feature_results got = call_features(c, in, {.type = t, .set = GetParam()});
            for (index_t h = 0; h < c.q_heads; ++h) {
                for (index_t i = 0; i < 3; ++i) {
                    EXPECT_NEAR(got.lse(0, h, i), c.sinks[static_cast<std::size_t>(h)], 1e-6);
                    EXPECT_EQ(got.out(0, h, i, 1), 0.0);
                    EXPECT_EQ(got.dq(0, h, i, 1), 0.0);
                }
                EXPECT_NEAR(got.lse(1, h, rows - 1), c.sinks[static_cast<std::size_t>(h)], 1e-6);
                EXPECT_EQ(got.out(1, h, rows - 1, 0), 0.0);
            }
            expect_right(c, {.type = t, .set = GetParam()}, 11);
        }
    }
}

/// Rows that are walked again one by one, because an infinite value hides among their tile's keys, start from their sink as well.
TEST_P(features_of_isa, suspects_keep_their_sink) {
    attention_case c = usual(80, 80);
    attention_inputs in = make_inputs(c, dtype::fp32, data_kind::normal, 13);
    const feature_style s{.type = dtype::fp32, .set = GetParam()};
    const feature_results clean = call_features(c, in, s);
    for (index_t b = 0; b < c.batch; ++b) {
        for (index_t h = 0; h < c.kv_heads; ++h) {
            for (index_t x = 0; x < c.value_dim; ++x) in.v(b, h, 79, x) = std::numeric_limits<double>::infinity();
            for (index_t x = 0; x < c.head_dim; ++x) in.k(b, h, 79, x) = std::numeric_limits<double>::quiet_NaN();
        }
    }
    const feature_results dirty = call_features(c, in, s); // causal: only row 79 sees key 79
    for (index_t h = 0; h < c.q_heads; ++h) {
        for (index_t i = 0; i < 79; ++i) {
            for (index_t x = 0; x < c.value_dim; ++x) ASSERT_EQ(dirty.out(1, h, i, x), clean.out(1, h, i, x)) << i;
            ASSERT_EQ(dirty.lse(1, h, i), clean.lse(1, h, i));
            for (index_t x = 0; x < c.head_dim; ++x) ASSERT_NEAR(dirty.dq(1, h, i, x), clean.dq(1, h, i, x), 1e-5);
        }
        EXPECT_FALSE(std::isfinite(dirty.out(1, h, 79, 0)));
    }
}

/// Logits so large that backward looks at its keys once more: under a cap, beside a sink that leads and one that does not.
TEST_P(features_of_isa, large_logits_and_sinks) {
    for (const double softcap : {0.0, 3000.0}) {
        for (const double sink : {-5000.0, 1500.0, 5000.0}) {
            attention_case c = usual(40, 70);
            c.scale = 60.0;
            c.softcap = softcap;
            c.slopes = {40.0, 20.0, 10.0, 5.0};
            c.sinks.assign(4, sink);
            SCOPED_TRACE("cap " + std::to_string(softcap) + ", sink " + std::to_string(sink));
            expect_right(c, {.type = dtype::fp64, .set = GetParam()}, 17);
        }
    }
}

/// No sink is what minus infinity means.
TEST_P(features_of_isa, a_sink_of_minus_infinity_is_none) {
    attention_case c = usual(40, 70);
    c.sinks.assign(4, -std::numeric_limits<double>::infinity());
    const attention_inputs in = make_inputs(c, dtype::fp32, data_kind::normal, 19);
    const feature_results with = call_features(c, in, {.type = dtype::fp32, .set = GetParam()});
    c.sinks.clear();
    const feature_results without = call_features(c, in, {.type = dtype::fp32, .set = GetParam()});
    EXPECT_EQ(with.out.data, without.out.data);
    EXPECT_EQ(with.lse.data, without.lse.data);
    EXPECT_EQ(with.dq.data, without.dq.data);
    EXPECT_EQ(with.dsinks, std::vector<double>(4, 0.0));
}

std::string name_of(const testing::TestParamInfo<isa>& set) {
    constexpr const char* names[] = {"automatic", "baseline", "avx2", "avx512", "amx"};
    return names[static_cast<int>(set.param)];
}
INSTANTIATE_TEST_SUITE_P(each_isa, features_of_isa, testing::ValuesIn(feature_isas()), name_of);

} // namespace
} // namespace pantile::test
