// The error rule where soft caps, ALiBi and sinks are on: wide enough for a machine that works in base 2, tile by tile, and
// refusing what a wrong one would give.
#include <cmath>
#include <functional>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <pantile/core/score.hpp>

#include <support/generators.hpp>

namespace pantile::test {
namespace {

constexpr index_t tile = 24; // keys, and rows in backward

/// What a machine gives, as doubles.
struct results {
    tensor<double> out, lse, dq, dk, dv, dslopes, dsinks;
};

core::features features_of(const attention_case& c) {
    core::features f;
    f.softcap = c.softcap;
    if (!c.slopes.empty()) f.slopes.wide = c.slopes.data();
    if (c.slopes_of_batches()) f.slopes.batch_stride = c.q_heads;
    if (!c.sinks.empty()) f.sinks.wide = c.sinks.data();
    return f;
}

/// Attention in T as machines compute it: the core's score function and sinks, exponents in base 2, sums that start at zero in each
/// tile, and in backward P from lse and the slope of the cap from the logit.
template <class T>
class base_2_machine {
  public:
    base_2_machine(const attention_case& c, const attention_inputs& in, dtype t)
        : c_(c), in_(in), type_(t), features_(features_of(c)),
          score_(core::score_function<T>::of(features_, c.scale * core::log2_e)) {
        r_ = {
            tensor<double>(c.out_extent()),      tensor<double>(c.lse_extent()),
            tensor<double>(c.q_extent()),        tensor<double>(c.k_extent()),
            tensor<double>(c.v_extent()),        tensor<double>({c.slopes_of_batches() ? c.batch : 1, c.q_heads, 1, 1}),
            tensor<double>({1, c.q_heads, 1, 1})};
    }
    results run() {
        for (index_t b = 0; b < c_.batch; ++b) {
            for (index_t h = 0; h < c_.q_heads; ++h) {
                for (index_t i = 0; i < c_.q_len; ++i) forward(b, h, i);
                backward(b, h);
            }
        }
        return r_;
    }

  private:
    [[nodiscard]] index_t kv(index_t h) const { return h / (c_.q_heads / c_.kv_heads); }
    [[nodiscard]] core::pair_place<T> place(index_t b, index_t h, index_t i, index_t j) const {
        return {static_cast<T>(c_.distance(b, i, j)), core::score_function<T>::slope_of(features_, b, h)};
    }
    [[nodiscard]] T exponent(index_t b, index_t h, index_t i, index_t j) const {
        T s = 0;
        for (index_t x = 0; x < c_.head_dim; ++x)
            s = std::fma(static_cast<T>(in_.q(b, h, i, x)), static_cast<T>(in_.k(b, kv(h), j, x)), s);
        return score_(s, place(b, h, i, j));
    }
    void forward(index_t b, index_t h, index_t i) {
        core::softmax_state<T> s = core::start_row<T>(features_, true, b, h);
        std::vector<T> out(static_cast<std::size_t>(c_.value_dim), T(0));
        for (index_t begin = 0; begin < c_.k_len; begin += tile) {
            const index_t end = std::min(begin + tile, c_.k_len);
            std::vector<T> y;
            T top = s.max;
            for (index_t j = begin; j < end; ++j) {
                y.push_back(c_.visible(b, h, i, j) ? exponent(b, h, i, j) : -std::numeric_limits<T>::infinity());
                top = std::max(top, y.back());
            }
            if (top == -std::numeric_limits<T>::infinity()) continue;
            const T factor = std::exp2(s.max - top);
            T sum = 0;
            for (T& p : y) sum += p = std::exp2(p - top);
            s = {top, std::fma(s.sum, factor, sum)};
            for (index_t x = 0; x < c_.value_dim; ++x) {
                T part = 0;
                for (index_t j = begin; j < end; ++j)
                    part =
                        std::fma(y[static_cast<std::size_t>(j - begin)], static_cast<T>(in_.v(b, kv(h), j, x)), part);
                T& o = out[static_cast<std::size_t>(x)];
                o = std::fma(o, factor, part);
            }
        }
        const T inverse = s.sum > T(0) ? T(1) / s.sum : T(0);
        for (index_t x = 0; x < c_.value_dim; ++x)
            r_.out(b, h, i, x) = rounded(static_cast<double>(out[static_cast<std::size_t>(x)] * inverse), type_);
        r_.lse(b, h, i) = static_cast<double>((s.max + std::log2(s.sum)) * static_cast<T>(core::ln_2));
    }
    void backward(index_t b, index_t h) {
        double slope_sum = 0.0;
        for (index_t i = 0; i < c_.q_len; ++i) {
            const auto lse = static_cast<T>(r_.lse(b, h, i));
            if (lse == -std::numeric_limits<T>::infinity()) continue;
            const T lse2 = lse * static_cast<T>(core::log2_e);
            T delta = 0;
            for (index_t x = 0; x < c_.value_dim; ++x)
                delta = std::fma(static_cast<T>(in_.dout(b, h, i, x)), static_cast<T>(r_.out(b, h, i, x)), delta);
            if (!c_.sinks.empty()) {
                const T sink = core::start_row<T>(features_, true, b, h).max;
                r_.dsinks(0, h, 0) -= static_cast<double>(std::exp2(sink - lse2) * delta);
            }
            T row_slope = 0;
            for (index_t j = 0; j < c_.k_len; ++j) {
                if (!c_.visible(b, h, i, j)) continue;
                const T y = exponent(b, h, i, j);
                const T p = std::exp2(y - lse2);
                T dp = 0;
                for (index_t x = 0; x < c_.value_dim; ++x)
                    dp = std::fma(static_cast<T>(in_.dout(b, h, i, x)), static_cast<T>(in_.v(b, kv(h), j, x)), dp);
                const T dlogit = p * (dp - delta);
                row_slope = std::fma(dlogit, std::abs(place(b, h, i, j).distance), row_slope);
                const T ds = dlogit * score_.derivative(y, place(b, h, i, j)) * static_cast<T>(c_.scale);
                for (index_t x = 0; x < c_.head_dim; ++x) {
                    r_.dq(b, h, i, x) += static_cast<double>(ds * static_cast<T>(in_.k(b, kv(h), j, x)));
                    r_.dk(b, kv(h), j, x) += static_cast<double>(ds * static_cast<T>(in_.q(b, h, i, x)));
                }
                for (index_t x = 0; x < c_.value_dim; ++x)
                    r_.dv(b, kv(h), j, x) += static_cast<double>(p * static_cast<T>(in_.dout(b, h, i, x)));
            }
            slope_sum += static_cast<double>(row_slope);
        }
        r_.dslopes(c_.slopes_of_batches() ? b : 0, h, 0) -= slope_sum;
    }

    const attention_case& c_;
    const attention_inputs& in_;
    dtype type_;
    core::features features_;
    core::score_function<T> score_;
    results r_;
};

/// The worst of all results, as a part of what is allowed.
verdict judged(const attention_case& c, const attention_inputs& in, dtype t, const results& r) {
    const forward_bounds f = bound_forward(c, in, t, t);
    const backward_bounds g = bound_backward(c, in, t, compute_dtype(t));
    verdict worst = within(r.out, r.lse, f);
    const auto hold = [&](const tensor<double>& actual, const row_bounds& bounds, const char* what) {
        const verdict v = within(actual, bounds, what);
        if (v.worst > worst.worst) worst = v;
    };
    hold(r.dq, g.dq, "dq");
    hold(r.dk, g.dk, "dk");
    hold(r.dv, g.dv, "dv");
    if (!c.slopes.empty()) hold(r.dslopes, g.dslopes, "dslopes");
    if (!c.sinks.empty()) hold(r.dsinks, g.dsinks, "dsinks");
    return worst;
}

verdict judged(const attention_case& c, const attention_inputs& in, dtype t) {
    const results r = t == dtype::fp64 ? base_2_machine<double>(c, in, t).run() : base_2_machine<float>(c, in, t).run();
    return judged(c, in, t, r);
}

RC_GTEST_PROP(feature_bounds, hold_a_machine_that_works_in_base_2, (std::uint64_t seed)) {
    const attention_case c = *any_served_case({.batch = 2, .kv_heads = 2, .group = 2, .length = 60, .dim = 20});
    const dtype t = *rc::gen::element(dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16);
    const verdict v = judged(c, make_inputs(c, t, *any_data_kind(), seed), t);
    RC_LOG() << v.worst << ": " << v.text;
    RC_ASSERT(v.ok);
}

/// Logits of ALiBi that are thousands, from distances of thousands; a cap beside them.
TEST(feature_bounds, hold_far_keys) {
    for (const double cap : {0.0, 0.5, 30.0}) {
        for (const index_t offset : {0, 3000, 100000}) {
            attention_case c;
            c.q_heads = 2;
            c.kv_heads = 1;
            c.q_len = 5;
            c.k_len = 60;
            c.head_dim = c.value_dim = 8;
            c.scale = 0.3;
            c.align = anchor::explicit_offset;
            c.offset = offset;
            c.softcap = cap;
            c.slopes = {0.5, 0.01};
            c.sinks = {-500.0, 3.0};
            const verdict v = judged(c, make_inputs(c, dtype::fp32, data_kind::normal, 3), dtype::fp32);
            EXPECT_TRUE(v.ok) << cap << ' ' << offset << ": " << v.text;
        }
    }
}

/// What a machine might forget or mistake; none of it hides in the bounds.
TEST(feature_bounds, refuse_what_is_wrong) {
    attention_case c;
    c.batch = 2;
    c.q_heads = 2;
    c.kv_heads = 1;
    c.q_len = 12;
    c.k_len = 40;
    c.head_dim = c.value_dim = 8;
    c.scale = 0.35;
    c.softcap = 3.0;
    c.slopes = {0.3, 0.05};
    c.sinks = {1.0, 2.0};
    const auto in = make_inputs(c, dtype::fp32, data_kind::normal, 4);
    const auto other = [&](const std::function<void(attention_case&)>& change) {
        attention_case wrong = c;
        change(wrong);
        return judged(c, in, dtype::fp32, base_2_machine<float>(wrong, in, dtype::fp32).run()).ok;
    };
    EXPECT_TRUE(other([](attention_case&) {}));
    EXPECT_FALSE(other([](attention_case& x) { x.softcap *= 1.0 + 1e-4; }));
    EXPECT_FALSE(other([](attention_case& x) { x.softcap = 0.0; }));
    EXPECT_FALSE(other([](attention_case& x) { x.slopes[1] += 1e-5; }));
    EXPECT_FALSE(other([](attention_case& x) { std::swap(x.slopes[0], x.slopes[1]); }));
    EXPECT_FALSE(other([](attention_case& x) { x.sinks[0] += 1e-4; }));
    EXPECT_FALSE(other([](attention_case& x) { x.sinks[1] = -HUGE_VAL; }));

    // Each gradient by a few thousandths.
    const results right = base_2_machine<float>(c, in, dtype::fp32).run();
    for (tensor<double> results::*which : {&results::dslopes, &results::dsinks, &results::dq, &results::dk}) {
        results r = right;
        for (double& x : (r.*which).data) x *= 1.002;
        EXPECT_FALSE(judged(c, in, dtype::fp32, r).ok);
    }
}

/// One key and a sink of the same logit, 0: probabilities of a half, every term in closed form.
TEST(feature_bounds, a_key_and_a_sink_by_hand) {
    attention_case c;
    c.sinks = {0.0};
    attention_inputs in{tensor<double>(c.q_extent(), 0.0), tensor<double>(c.k_extent(), 1.0),
                        tensor<double>(c.v_extent(), 4.0), tensor<double>(c.out_extent(), 1.0)};
    const double u = unit_roundoff(dtype::fp32);
    const auto sum = [](double s, double squares) { return 2.0 * std::sqrt(s * s / 3.0 + squares / 2.0); };
    const forward_bounds f = bound_forward(c, in, dtype::fp32, dtype::fp32);
    EXPECT_EQ(f.out.expected(0, 0, 0), 2.0);
    const double plain_lse = std::abs(static_cast<double>(plain_forward<float>(c, in).lse(0, 0, 0)) - std::log(2.0));
    // The key's probability is off by 4 with a lever of 4 - 2, the sink's by 4 with one of -2.
    const double out = 4.0 * 4.0 + std::hypot(0.5 * 4.0 * 2.0, 0.5 * 4.0 * 2.0) + 2.0 * sum(1.0, 0.5) + sum(2.0, 4.0);
    const double lse = 4.0 * (1.0 + std::log(2.0)) + std::hypot(2.0, 2.0) + sum(1.0, 0.5);
    EXPECT_NEAR(f.out.allowed(0, 0, 0) / u, out, 1e-6);
    EXPECT_NEAR((f.lse.allowed(0, 0, 0) - 2.0 * plain_lse) / u, lse, 1e-6);

    const backward_bounds g = bound_backward(c, in, dtype::fp32, dtype::fp32);
    EXPECT_EQ(g.dsinks.expected(0, 0, 0), -0.5 * 2.0);
    const double lambda = 2.0 * std::log(2.0) + f.lse.allowed(0, 0, 0) / u;
    const double delta = 2.0 * 2.0 + out;
    EXPECT_NEAR(g.dsinks.allowed(0, 0, 0) / u, 1.0 * (lambda + 4.0) + 0.5 * delta + sum(1.0, 1.0) + sum(1.0, 1.0) + 2.0,
                1e-5);
    EXPECT_TRUE(g.dslopes.expected.empty());
}

/// A score of 0 one step away: ALiBi alone, with a slope of 1, beside a key at the row's own place.
TEST(feature_bounds, one_step_by_hand) {
    attention_case c;
    c.k_len = 2; // the row stands at key 1
    c.slopes = {1.0};
    attention_inputs in{tensor<double>(c.q_extent(), 0.0), tensor<double>(c.k_extent(), 1.0),
                        tensor<double>(c.v_extent()), tensor<double>(c.out_extent(), 1.0)};
    in.k.data = {1.0, 2.0};
    in.v.data = {3.0, 5.0};
    const double e = std::exp(-1.0);
    const double p[] = {e / (1.0 + e), 1.0 / (1.0 + e)};
    const double o = 3.0 * p[0] + 5.0 * p[1];
    const double u = unit_roundoff(dtype::fp32);
    const auto sum = [](double n, double s, double squares) {
        return 2.0 * std::sqrt(n * (s * s / 3.0 + squares / 2.0));
    };
    const double rho[] = {2.0 + 2.0 + 4.0, 4.0}; // the distance's product, the difference's rounding, 2^y
    const double p2 = p[0] * p[0] + p[1] * p[1];
    const double noise = std::hypot(p[0] * rho[0] * (3.0 - o), p[1] * rho[1] * (5.0 - o)) + o * sum(2, 1, p2) +
                         sum(2, o, 9.0 * p[0] * p[0] + 25.0 * p[1] * p[1]);
    const double plain = std::abs(static_cast<double>(plain_forward<float>(c, in).out(0, 0, 0)) - o);
    const double allowed = bound_forward(c, in, dtype::fp32, dtype::fp32).out.allowed(0, 0, 0);
    EXPECT_NEAR((allowed - 2.0 * plain) / u, 4.0 * 5.0 + noise + 2.0 * std::abs(p[0] * (3.0 - o)), 1e-5);
    const backward_bounds g = bound_backward(c, in, dtype::fp32, dtype::fp32);
    EXPECT_NEAR(g.dslopes.expected(0, 0, 0), -p[0] * (3.0 - o), 1e-15);
    EXPECT_TRUE(g.dsinks.expected.empty());
}

/// One key under a cap: score 6 of a cap of 3, forward and dQ in closed form but for dP's own terms.
TEST(feature_bounds, a_cap_by_hand) {
    attention_case c;
    c.scale = 0.5;
    c.softcap = 3.0;
    attention_inputs in{tensor<double>(c.q_extent(), 2.0), tensor<double>(c.k_extent(), 6.0),
                        tensor<double>(c.v_extent(), 5.0), tensor<double>(c.out_extent(), 7.0)};
    const double t = std::tanh(2.0);
    const double bend = 1.0 - t * t;
    const double x = 3.0 * t;
    const auto sum = [](double s, double squares) { return 2.0 * std::sqrt(s * s / 3.0 + squares / 2.0); };
    const double u = unit_roundoff(dtype::fp64);
    const double error = bend * (sum(6.0, 36.0) + 2.0 * 6.0) + 8.0 * x;
    const double plain =
        std::abs(static_cast<double>(plain_forward<double>(c, in).lse(0, 0, 0) -
                                     static_cast<double>(plain_forward<long double>(c, in).lse(0, 0, 0))));
    EXPECT_NEAR((bound_forward(c, in, dtype::fp64, dtype::fp64).lse.allowed(0, 0, 0) - 2.0 * plain) / u,
                4.0 * (1.0 + x) + error + 2.0 * x + 4.0 + sum(1.0, 1.0) + 2.0 * (bend * 6.0 + x), 1e-6);
}

} // namespace
} // namespace pantile::test
