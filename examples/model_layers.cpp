// Attention as three families of models have it: soft-capped logits (Gemma 2), sinks beside a sliding window (gpt-oss), ALiBi
// (BLOOM, MPT). Each is an option of the same call; a plain loop in double checks the results.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include <pantile/attention.hpp>

using pantile::index_t;

namespace {

constexpr index_t batch = 1, length = 200, q_heads = 8, kv_heads = 4, dim = 64;

std::vector<float> random_numbers(index_t heads, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<std::size_t>(batch * length * heads * dim));
    for (float& n : x) n = normal(random);
    return x;
}

/// What a layer adds to a scaled product; window_left as in pantile::window(window_left, 0).
struct layer {
    const char* name;
    index_t window_left;
    double softcap;
    std::vector<double> slopes, sinks;
};

/// The largest difference from the formula, written out in double: one row's logits at a time.
double largest_error(const layer& l, const std::vector<float>& q, const std::vector<float>& k,
                     const std::vector<float>& v, const std::vector<float>& out) {
    const auto at = [](const std::vector<float>& t, index_t heads, index_t token, index_t head, index_t x) {
        return static_cast<double>(t[static_cast<std::size_t>((token * heads + head) * dim + x)]);
    };
    double worst = 0;
    for (index_t h = 0; h < q_heads; ++h) {
        const auto head = static_cast<std::size_t>(h);
        for (index_t i = 0; i < length; ++i) {
            const index_t first = std::max<index_t>(0, i - l.window_left);
            double sum = l.sinks.empty() ? 0 : std::exp(l.sinks[head]); // a sink is a key without a value
            std::vector<double> row(static_cast<std::size_t>(dim));
            for (index_t j = first; j <= i; ++j) {
                double logit = 0;
                for (index_t x = 0; x < dim; ++x) logit += at(q, q_heads, i, h, x) * at(k, kv_heads, j, h / 2, x);
                logit /= std::sqrt(static_cast<double>(dim));
                if (l.softcap > 0) logit = l.softcap * std::tanh(logit / l.softcap);
                if (!l.slopes.empty()) logit -= l.slopes[head] * static_cast<double>(i - j);
                const double p = std::exp(logit);
                sum += p;
                for (index_t x = 0; x < dim; ++x) row[static_cast<std::size_t>(x)] += p * at(v, kv_heads, j, h / 2, x);
            }
            for (index_t x = 0; x < dim; ++x)
                worst = std::max(worst, std::abs(row[static_cast<std::size_t>(x)] / sum - at(out, q_heads, i, h, x)));
        }
    }
    return worst;
}

} // namespace

int main() {
    const auto q_data = random_numbers(q_heads, 1), k_data = random_numbers(kv_heads, 2);
    const auto v_data = random_numbers(kv_heads, 3), dout_data = random_numbers(q_heads, 4);
    const auto q = pantile::bshd(q_data.data(), batch, length, q_heads, dim);
    const auto k = pantile::bshd(k_data.data(), batch, length, kv_heads, dim);
    const auto v = pantile::bshd(v_data.data(), batch, length, kv_heads, dim);

    std::vector<double> alibi, sinks; // ALiBi's published slopes: 2^(-8·h/H) for head h of H
    for (index_t h = 1; h <= q_heads; ++h) {
        alibi.push_back(std::exp2(-8.0 * static_cast<double>(h) / static_cast<double>(q_heads)));
        sinks.push_back(0.5 * static_cast<double>(h) - 2.0); // gpt-oss learns one a head
    }
    const layer layers[] = {{"soft cap of 50 (Gemma 2)", pantile::unbounded, 50, {}, {}},
                            {"sinks, window of 128 (gpt-oss)", 127, 0, {}, sinks},
                            {"ALiBi (BLOOM, MPT)", pantile::unbounded, 0, alibi, {}}};
    bool good = true;
    for (const layer& l : layers) {
        const pantile::options options{
            .mask = pantile::window(l.window_left, 0), .softcap = l.softcap, .slopes = l.slopes, .sinks = l.sinks};
        std::vector<float> out_data(q_data.size()), lse_data(static_cast<std::size_t>(batch * q_heads * length));
        const auto out = pantile::bshd(out_data.data(), batch, length, q_heads, dim);
        const auto lse = pantile::bhs(lse_data.data(), batch, q_heads, length);
        pantile::attention(q, k, v, {.out = out, .lse = lse}, options);

        // Training: gradients of the options beside those of the tensors, where they are asked for.
        std::vector<float> dq_data(q_data.size()), dk_data(k_data.size()), dv_data(v_data.size());
        std::vector<double> dsinks(l.sinks.size()), dslopes(l.slopes.size());
        pantile::gradients to{.dq = pantile::bshd(dq_data.data(), batch, length, q_heads, dim),
                              .dk = pantile::bshd(dk_data.data(), batch, length, kv_heads, dim),
                              .dv = pantile::bshd(dv_data.data(), batch, length, kv_heads, dim)};
        if (!dsinks.empty()) to.dsinks = dsinks;
        if (!dslopes.empty()) to.dslopes = dslopes;
        const auto dout = pantile::bshd(dout_data.data(), batch, length, q_heads, dim);
        pantile::attention_backward(q, k, v, out, lse, {.dout = dout}, to, options);

        const double error = largest_error(l, q_data, k_data, v_data, out_data);
        std::printf("%-32s largest error %.1e", l.name, error);
        if (!dsinks.empty()) std::printf(", gradient of the first sink %.4f", dsinks[0]);
        if (!dslopes.empty()) std::printf(", gradient of the first slope %.4f", dslopes[0]);
        std::printf("\n");
        good = good && error < 2e-6;
        for (const double x : dsinks) good = good && x != 0 && std::isfinite(x);
        for (const double x : dslopes) good = good && x != 0 && std::isfinite(x);
    }
    return good ? 0 : 1;
}
