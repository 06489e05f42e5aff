/// \file
/// Attention and its gradients by their definition, pair by pair, for the workloads of the simulator.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include <pantile/core/online_softmax.hpp>
#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator::oracle {

/// Dense (place, row, column) tensors; query places are batch · q_heads + head.
struct attention_result {
    std::vector<double> out, lse, probabilities, dq, dk, dv;
    std::vector<double> row_max, row_sum; // in base 2, as FlashAttention-1 keeps them
};

struct attention_inputs {
    std::vector<double> q, k, v, dout;
};

inline std::vector<double> random_tensor(const std::array<index_t, 3>& shape, std::mt19937_64& random) {
    std::normal_distribution<double> normal;
    std::vector<double> data(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
    for (double& x : data) x = normal(random);
    return data;
}

inline attention_inputs random_inputs(const workload& w, std::mt19937_64& random) {
    return {random_tensor(shape_of(tensor::q, w), random), random_tensor(shape_of(tensor::k, w), random),
            random_tensor(shape_of(tensor::v, w), random), random_tensor(shape_of(tensor::dout, w), random)};
}

inline attention_result attend(const workload& w, const attention_inputs& in) {
    const core::problem p = w.problem();
    const index_t d = w.head_dim;
    const index_t e = w.value_dim;
    const double scale = 1.0 / std::sqrt(static_cast<double>(d));
    const bool capped = w.softcap > 0.0;
    attention_result r;
    const auto sized = [&](index_t n) { return std::vector<double>(static_cast<std::size_t>(n)); };
    const index_t rows = w.batch * w.q_heads * w.q_len;
    const index_t keys = w.batch * w.kv_heads * w.k_len;
    r.out = sized(rows * e);
    r.lse = r.row_max = r.row_sum = sized(rows);
    r.probabilities = sized(rows * w.k_len);
    r.dq = sized(rows * d);
    r.dk = sized(keys * d);
    r.dv = sized(keys * e);
    const auto at = [](const std::vector<double>& t, index_t i) { return t[static_cast<std::size_t>(i)]; };
    for (index_t b = 0; b < w.batch; ++b) {
        const core::sequence s = p.sequence_of(b);
        const core::schedule visible(p, s, {1, 1, 1}, 0, w.tile_map());
        for (index_t h = 0; h < w.q_heads; ++h) {
            for (index_t i = 0; i < w.q_len; ++i) {
                const index_t row = (b * w.q_heads + h) * w.q_len + i;
                const index_t key0 = (b * w.kv_heads + p.kv_head(h)) * w.k_len;
                std::vector<double> x = sized(s.k_len);
                std::vector<double> bend(x.size(), 1.0); // slope of the soft cap
                const double slope = w.slopes.empty() ? 0.0
                                     : static_cast<index_t>(w.slopes.size()) > w.q_heads
                                         ? at(w.slopes, b * w.q_heads + h)
                                         : at(w.slopes, h);
                const double sink = w.sinks.empty() ? -HUGE_VAL : at(w.sinks, h);
                double largest = sink;
                for (index_t j = 0; j < s.k_len; ++j) {
                    double dot = 0.0;
                    for (index_t c = 0; c < d; ++c) dot += at(in.q, row * d + c) * at(in.k, (key0 + j) * d + c);
                    double logit = dot * scale;
                    if (capped) {
                        const double t = std::tanh(logit / w.softcap);
                        logit = w.softcap * t;
                        bend[static_cast<std::size_t>(j)] = 1.0 - t * t;
                    }
                    logit -= slope * std::abs(static_cast<double>(i + s.offset - j));
                    x[static_cast<std::size_t>(j)] = visible.visible(i, j) ? logit : -HUGE_VAL;
                    largest = std::max(largest, x[static_cast<std::size_t>(j)]);
                }
                double sum = sink == -HUGE_VAL ? 0.0 : std::exp(sink - largest);
                for (double& y : x) sum += y = largest == -HUGE_VAL ? 0.0 : std::exp(y - largest);
                r.lse[static_cast<std::size_t>(row)] = largest + std::log(sum);
                r.row_max[static_cast<std::size_t>(row)] = largest * core::log2_e;
                r.row_sum[static_cast<std::size_t>(row)] = sum;
                double delta = 0.0;
                std::vector<double> dp = sized(s.k_len);
                for (index_t j = 0; j < s.k_len; ++j) {
                    const double prob = sum == 0.0 ? 0.0 : x[static_cast<std::size_t>(j)] / sum;
                    r.probabilities[static_cast<std::size_t>(row * w.k_len + j)] = prob;
                    for (index_t c = 0; c < e; ++c) {
                        const double v = at(in.v, (key0 + j) * e + c);
                        r.out[static_cast<std::size_t>(row * e + c)] += prob * v;
                        r.dv[static_cast<std::size_t>((key0 + j) * e + c)] += prob * at(in.dout, row * e + c);
                        dp[static_cast<std::size_t>(j)] += at(in.dout, row * e + c) * v;
                    }
                    delta += prob * dp[static_cast<std::size_t>(j)];
                }
                for (index_t j = 0; j < s.k_len; ++j) {
                    const double ds = at(r.probabilities, row * w.k_len + j) *
                                      (dp[static_cast<std::size_t>(j)] - delta) * scale * at(bend, j);
                    for (index_t c = 0; c < d; ++c) {
                        r.dq[static_cast<std::size_t>(row * d + c)] += ds * at(in.k, (key0 + j) * d + c);
                        r.dk[static_cast<std::size_t>((key0 + j) * d + c)] += ds * at(in.q, row * d + c);
                    }
                }
            }
        }
    }
    return r;
}

/// Far memory that holds everything a pass of any algorithm reads.
inline far_memory filled(const experiment& e, const attention_inputs& in, const attention_result& expected,
                         far_memory::precision precision = far_memory::precision::fp64) {
    far_memory far(e.what, e.plan.key_splits, precision);
    far[tensor::q] = in.q;
    far[tensor::k] = in.k;
    far[tensor::v] = in.v;
    if (e.which == pass::backward) {
        far[tensor::dout] = in.dout;
        far[tensor::out] = expected.out;
        far[tensor::lse] = expected.lse;
        far[tensor::row_max] = expected.row_max;
        far[tensor::row_sum] = expected.row_sum;
        far[tensor::probabilities] = expected.probabilities;
    }
    return far;
}

/// Largest difference; equal infinities do not differ.
inline double difference(const std::vector<double>& a, const std::vector<double>& b) {
    if (a.size() != b.size()) return HUGE_VAL;
    double worst = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (a[i] == b[i]) continue;
        const double gap = std::abs(a[i] - b[i]);
        worst = std::isnan(gap) ? HUGE_VAL : std::max(worst, gap);
    }
    return worst;
}

} // namespace pantile::inline v0::simulator::oracle
