// The edges of what numbers can hold, backward: gradients at logits of any finite size.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "edges.hpp"

namespace pantile::test {
namespace {

/// Equal tokens, whatever the size of their logit: P is 1/n, so that dV sums to the mean of dO times the rows, and dQ, dK
/// of a direction in which nothing differs are 0.
TEST(edges, backward_holds_at_large_logits) {
    for_each_style([](const call_style& s) {
        for (const attention_case& tokens : {shape(50, 50), shape(7, 130), shape(60, 200)}) {
            attention_case c = tokens;
            call_style cut = s;
            if (c.k_len == 200) cut.plan = tile_plan{0, 0, 3}; // keys in chunks
            for (const double logit : {1e3, 1e6, 1e7, 1e8, 1e9, 1e12, 1e30, 1e37, 1e200}) {
                if (logit > 1e38 && compute_dtype(s.type) == dtype::fp32) break;
                for (const bool causal : {false, true}) {
                    c.scale = logit / 16.0;
                    c.right.reset();
                    if (causal) c.right = 0;
                    attention_inputs in = constant_inputs(c, s.type, 1.0, 1.0);
                    std::fill(in.dout.data.begin(), in.dout.data.end(), 1.0);
                    std::fill(in.v.data.begin(), in.v.data.end(), 1.0); // dS = 0: dV alone is asked
                    const auto exact = plain_backward<long double>(c, in);
                    const call_results r = call_attention(c, in, cut, true);
                    for (std::size_t n = 0; n < r.dv.data.size(); ++n) {
                        const auto dv = static_cast<double>(exact.dv.data[n]);
                        ASSERT_NEAR(r.dv.data[n], dv, 1e-3 * std::abs(dv)) << "logit " << logit << ", number " << n;
                    }
                }
            }
        }
    });
}

/// Distinct tokens beside large logits: all gradients, against the formula in long double. Scores are whole numbers, so
/// that no rounding of theirs is in the way.
TEST(edges, gradients_at_large_logits_are_the_formula) {
    for_each_style([](const call_style& s) {
        for (attention_case c : {shape(33, 50, 8), shape(70, 300, 8)}) {
            c.q_heads = 2;
            c.right = 0;
            attention_inputs in = make_inputs(c, s.type, data_kind::normal, 17);
            // Logits base + {0, 1, 2}: the first dim gives the base, the second tells the keys apart.
            const double base = compute_dtype(s.type) == dtype::fp64 ? 1e13
                                : s.type == dtype::fp16              ? 32768.0
                                                                     : 1048576.0;
            const auto small_number = [](index_t n) { return static_cast<double>(n * 7 % 3); };
            for (index_t h = 0; h < 2; ++h) {
                for (index_t i = 0; i < c.q_len; ++i) {
                    for (index_t x = 0; x < 8; ++x) in.q(0, h, i, x) = x < 2 ? 1.0 : 0.0;
                }
            }
            for (index_t j = 0; j < c.k_len; ++j) {
                for (index_t x = 0; x < 8; ++x) in.k(0, 0, j, x) = x == 0 ? base : x == 1 ? small_number(j) : 0.25;
            }
            c.scale = 1.0;
            const call_results r = call_attention(c, in, s, true);
            const auto exact = plain_backward<long double>(c, in);
            // Without fused multiply-adds the forward call's exponents are rounded at the size of the logit.
            const float x = 0.0F;
            const auto one = bhsd(&x, 1, 1, 1, 1);
            const bool fused = explain(one, one, one, options_of(c, s)).isa != "baseline";
            const double blur = fused ? 0.0 : 8.0 * base * unit_roundoff(compute_dtype(s.type));
            const auto hold = [&](const tensor<double>& got, const tensor<long double>& want, const char* what) {
                double size = 0.0; // of the second dim on: the first is a difference of numbers as large as base
                for (std::size_t n = 0; n < got.data.size(); ++n) {
                    if (n % 8 != 0) size = std::max(size, std::abs(static_cast<double>(want.data[n])));
                }
                const double tolerance = (s.type == dtype::bf16 || s.type == dtype::fp16 ? 0.02 : 2e-4) + blur;
                for (std::size_t n = 0; n < got.data.size(); ++n) {
                    if (n % 8 == 0 && what[1] == 'q') continue;
                    ASSERT_NEAR(got.data[n], static_cast<double>(want.data[n]), tolerance * size) << what << ' ' << n;
                }
            };
            hold(r.dq, exact.dq, "dq");
            hold(r.dk, exact.dk, "dk");
            hold(r.dv, exact.dv, "dv");
        }
    });
}

/// One row's logits are large, those of the rows beside it are not: it alone needs another look at its keys, wherever it is.
/// lse is given exactly but for its own rounding, which at this size is a quarter of P.
template <class T>
void one_row_with_large_logits(double base) {
    constexpr index_t rows = 40, keys = 150, dim = 2;
    for (const index_t large : {0, 1, 3, 7, 8, 15, 16, 31, 32, 39}) {
        const tensor<double> zero({1, 1, rows, 1}, 0.0);
        tensor<double> q({1, 1, rows, dim}), k({1, 1, keys, dim}), v({1, 1, keys, 1}, 0.0);
        tensor<double> lse({1, 1, rows, 1}), dout({1, 1, rows, 1});
        for (index_t j = 0; j < keys; ++j) {
            k(0, 0, j, 0) = base;
            k(0, 0, j, 1) = static_cast<double>(j * 7 % 3);
        }
        std::vector<double> expected(keys, 0.0);
        for (index_t i = 0; i < rows; ++i) {
            q(0, 0, i, 0) = i == large ? 1.0 : 0.0;
            q(0, 0, i, 1) = 1.0;
            dout(0, 0, i) = i == large ? 1.0 : 0.0;
            double sum = 0.0;
            for (index_t j = 0; j < keys; ++j) sum += std::exp(k(0, 0, j, 1));
            lse(0, 0, i) = q(0, 0, i, 0) * base + std::log(sum);
            for (index_t j = 0; j < keys; ++j) {
                expected[static_cast<std::size_t>(j)] += std::exp(k(0, 0, j, 1)) / sum * dout(0, 0, i);
            }
        }
        const stored<T> sq(q, layout::bhsd), sk(k, layout::bhsd), sv(v, layout::bhsd), so(zero, layout::bhsd),
            sd(dout, layout::bhsd), sl(lse, layout::bhsd);
        stored<T> dq(q.extent, layout::bhsd), dk(k.extent, layout::bhsd), dv(v.extent, layout::bhsd);
        attention_backward(sq.view(), sk.view(), sv.view(), so.view(), sl.rows(), sd.view(), dq.view(), dk.view(),
                           dv.view(), {.scale = 1.0});
        const tensor<double> got = dv.values();
        for (std::size_t j = 0; j < expected.size(); ++j) {
            ASSERT_NEAR(got.data[j], expected[j], 1e-4 * expected[j]) << "row " << large << ", key " << j;
        }
    }
}

TEST(edges, gradients_of_one_row_with_large_logits) {
    one_row_with_large_logits<float>(0x1p+22);
    one_row_with_large_logits<double>(0x1p+50);
}

/// With one key and a value of 0, dQ is -delta·k, and delta = Σ dO·O is all that can be wrong. Its terms cancel: summed in
/// the type computed in, nothing of it would be left.
template <class In, class T>
void delta_is_summed_in_double(dtype type) {
    for (const index_t dim : {3, 8, 24, 40, 129}) {
        attention_case c = shape(5, 1, 1);
        c.value_dim = dim;
        tensor<double> one(c.q_extent(), 1.0), key(c.k_extent(), 1.0), value(c.v_extent(), 0.0);
        tensor<double> out(c.out_extent()), dout(c.out_extent());
        const double large = type == dtype::fp16 ? 0x1p+14 : 0x1p+16;
        for (index_t i = 0; i < c.q_len; ++i) {
            for (index_t x = 0; x < dim; ++x) {
                // large² - large² in the same place of every group of 8 and across groups, and small terms beside them.
                out(0, 0, i, x) = x % 3 == 2 ? 1.0 : large;
                dout(0, 0, i, x) = x % 3 == 2   ? 0.25 * static_cast<double>(1 + (x + i) % 5)
                                   : x % 3 == 0 ? large
                                                : -large;
            }
            if (dim % 3 == 1) dout(0, 0, i, dim - 1) = 0.0; // the large ones come in pairs
        }
        const stored<In> q(one, layout::bhsd), k(key, layout::bhsd), v(value, layout::bhsd), o(out, layout::bhsd),
            d(dout, layout::bhsd);
        const stored<T> lse(tensor<double>(c.lse_extent(), 1.0), layout::bhsd); // the logit of every row: P = 1
        stored<T> dq(c.q_extent(), layout::bhsd), dk(c.k_extent(), layout::bhsd), dv(c.v_extent(), layout::bhsd);
        attention_backward(q.view(), k.view(), v.view(), o.view(), lse.rows(), d.view(), dq.view(), dk.view(),
                           dv.view(), {.scale = 1.0});
        for (index_t i = 0; i < c.q_len; ++i) {
            double delta = 0.0;
            for (index_t x = 2; x < dim; x += 3) delta += dout(0, 0, i, x); // exact: small multiples of 1/4
            ASSERT_NEAR(dq.values()(0, 0, i, 0), -delta, 1e-5 * std::abs(delta)) << dim << " dims, row " << i;
        }
    }
}

TEST(edges, delta_is_summed_in_double) {
    delta_is_summed_in_double<float, float>(dtype::fp32);
    delta_is_summed_in_double<float16, float>(dtype::fp16);
    delta_is_summed_in_double<bfloat16, float>(dtype::bf16);
}

/// A step of a ring hands in the log-sum-exp of all keys, also where it is large: its own keys weigh what they weigh there.
TEST(edges, backward_takes_the_log_sum_exp_of_more_keys) {
    const index_t keys = 64;
    for (const double base : {0.0, 300.0, 4096.0}) {
        attention_case c = shape(20, keys, 8);
        c.scale = 1.0;
        attention_inputs in = make_inputs(c, dtype::fp64, data_kind::normal, 23);
        for (index_t i = 0; i < c.q_len; ++i) in.q(0, 0, i, 0) = 1.0;
        for (index_t j = 0; j < keys; ++j) in.k(0, 0, j, 0) = base;
        const stored<double> q(in.q, layout::bhsd), k(in.k, layout::bhsd), v(in.v, layout::bhsd),
            d(in.dout, layout::bhsd);
        stored<double> out(c.out_extent(), layout::bhsd), lse(c.lse_extent(), layout::bhsd);
        const options o{.scale = 1.0};
        attention(q.view(), k.view(), v.view(), out.view(), lse.rows(), o);
        const auto gradients = [&](index_t first, index_t count) {
            stored<double> dq(c.q_extent(), layout::bhsd), dk({1, 1, count, 8}, layout::bhsd),
                dv({1, 1, count, 8}, layout::bhsd);
            tensor_view<const double> part_k = k.view(), part_v = v.view();
            part_k.data += first * 8, part_v.data += first * 8;
            part_k.extent[2] = part_v.extent[2] = count;
            attention_backward(q.view(), part_k, part_v, tensor_view<const double>(out.view()),
                               row_view<const double>(lse.rows()), d.view(), dq.view(), dk.view(), dv.view(), o);
            return std::array{dq.values(), dk.values(), dv.values()};
        };
        const auto whole = gradients(0, keys);
        const auto left = gradients(0, 40);
        const auto right = gradients(40, keys - 40);
        for (std::size_t n = 0; n < whole[0].data.size(); ++n) {
            ASSERT_NEAR(left[0].data[n] + right[0].data[n], whole[0].data[n], 1e-9 * (1.0 + base)) << base;
        }
        for (int t = 1; t < 3; ++t) {
            for (std::size_t n = 0; n < whole[1].data.size(); ++n) {
                const double got = n < 320 ? left[t].data[n] : right[t].data[n - 320];
                ASSERT_NEAR(got, whole[t].data[n], 1e-9 * (1.0 + base)) << base;
            }
        }
    }
}

} // namespace
} // namespace pantile::test
