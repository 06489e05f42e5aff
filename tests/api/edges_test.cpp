// The edges of what numbers can hold, forward: scores beyond the type before the scale is applied, scales of any size, logits
// of any finite size, and what overflows for good.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "edges.hpp"

namespace pantile::test {
namespace {

/// out and lse against the formula in long double. P may be rounded to 8 bits (AMX), everything else to fp32 or better.
void expect_formula(const attention_case& c, const attention_inputs& in, const call_style& s) {
    const call_results r = call_attention(c, in, s, false);
    const auto exact = plain_forward<long double>(c, in);
    const double u = unit_roundoff(r.rounding == p_rounding::none ? compute_dtype(s.type) : dtype::bf16);
    for (std::size_t n = 0; n < r.out.data.size(); ++n) {
        ASSERT_NEAR(r.out.data[n], static_cast<double>(exact.out.data[n]), 200.0 * u) << "out, number " << n;
    }
    for (std::size_t n = 0; n < r.lse.data.size(); ++n) {
        const auto lse = static_cast<double>(exact.lse.data[n]);
        if (!std::isfinite(lse)) {
            ASSERT_EQ(r.lse.data[n], lse) << "row " << n;
            continue;
        }
        ASSERT_NEAR(r.lse.data[n], lse, 200.0 * unit_roundoff(compute_dtype(s.type)) * (1.0 + std::abs(lse)))
            << "lse of row " << n;
    }
}

TEST(edges, scores_may_leave_the_type_before_the_scale_is_applied) {
    for_each_style([](const call_style& s) {
        if (s.type == dtype::fp16) return; // its scores cannot
        for (attention_case c : shapes()) {
            for (const double sign : {1.0, -1.0}) {
                for (const bool negative_scale : {false, true}) {
                    const double size = s.type == dtype::fp64 ? 0x1p+520 : 0x1p+67; // products of 2^1040, 2^134
                    c.scale = (negative_scale ? -1.0 : 1.0) / size / size;
                    expect_formula(c, constant_inputs(c, s.type, size, sign * size), s);
                    c.right = 0;
                    expect_formula(c, constant_inputs(c, s.type, size, sign * size), s);
                    c.right.reset();
                }
            }
        }
    });
}

TEST(edges, a_scale_may_be_too_small_for_the_type) {
    for_each_style([](const call_style& s) {
        for (attention_case c : shapes()) {
            for (const double scale : {1e-40, 1e-46, -1e-46, 1e-300, 5e-324, -0.0}) {
                for (const bool causal : {false, true}) {
                    c.scale = scale;
                    c.right.reset();
                    if (causal) c.right = 0;
                    expect_formula(c, make_inputs(c, s.type, data_kind::normal, 5), s);
                }
            }
        }
    });
}

TEST(edges, a_large_scale_meets_small_scores) {
    for_each_style([](const call_style& s) {
        for (attention_case c : shapes()) {
            const double small = s.type == dtype::fp64 ? 0x1p-500 : s.type == dtype::fp16 ? 0x1p-14 : 0x1p-60;
            c.scale = 1.0 / small / small;
            expect_formula(c, constant_inputs(c, s.type, 0.5 * small, small), s);
            // q alone times the scale would not fit.
            if (s.type == dtype::fp16) continue;
            const double large = s.type == dtype::fp64 ? 0x1p+300 : 0x1p+30;
            expect_formula(c, constant_inputs(c, s.type, large * small, small / large), s);
        }
    });
}

/// Every key has the same logit, of any size up to the type's largest: out is the mean of the values.
TEST(edges, equal_logits_of_any_size_weigh_the_same) {
    for_each_style([](const call_style& s) {
        for (attention_case c : shapes()) {
            for (const double logit : {1e6, 1e8, 1e9, 3e9, 1e10, 1e12, 1e20, 1e30, 2e38, 1e100, 1e300}) {
                if (logit > 1e38 && compute_dtype(s.type) == dtype::fp32) break;
                for (const double sign : {1.0, -1.0}) {
                    c.scale = sign * logit / 16.0;
                    attention_inputs in = constant_inputs(c, s.type, 1.0, 1.0);
                    expect_formula(c, in, s);
                }
            }
        }
    });
}

/// The same in small steps around the sizes at which an exponent no longer has a fraction, and under masks, where each row
/// of a tile sees other keys. A score of 7 times its factor is not a number of the type: fused, the exponent keeps what
/// rounding took from the maximum.
TEST(edges, equal_logits_of_any_size_weigh_the_same_under_masks) {
    for_each_style([](const call_style& s) {
        const bool wide = s.type == dtype::fp64;
        for (attention_case c : {shape(1, 9, 7), shape(40, 50, 7), shape(37, 300, 7)}) {
            c.right = 0;
            c.left = 20;
            for (int step = 0; step < 24; ++step) {
                const double logit = std::ldexp(1.0 + 0.21 * (step % 4), (wide ? 57 : 28) + step / 4);
                c.scale = (step % 2 == 0 ? logit : -logit) / 7.0;
                expect_formula(c, constant_inputs(c, s.type, 1.0, 1.0), s);
            }
        }
    });
}

/// One key's logit is larger by a few units in the last place: at this size it alone has a weight.
TEST(edges, the_largest_of_huge_logits_wins) {
    for_each_style([](const call_style& s) {
        for (attention_case c : shapes()) {
            c.scale = compute_dtype(s.type) == dtype::fp64 ? 1e25 : 1e12;
            for (const double sign : {1.0, -1.0}) {
                attention_inputs in = constant_inputs(c, s.type, sign, 1.0);
                const index_t winner = sign > 0 ? c.k_len - 3 : 1;
                in.k(0, 0, winner, 3) += sign * 0.5;
                const call_results r = call_attention(c, in, s, false);
                for (index_t i = 0; i < c.q_len; ++i) {
                    for (index_t x = 0; x < c.value_dim; ++x) {
                        ASSERT_NEAR(r.out(0, 0, i, x), in.v(0, 0, winner, x), 0.01) << i << ", " << x;
                    }
                }
            }
        }
    });
}

/// Hidden and overflowed are not the same: a row whose logits are all below the type's range is NaN, one without keys 0.
TEST(edges, logits_beyond_the_type_show) {
    for_each_style([](const call_style& s) {
        if (s.type == dtype::fp16) return;
        for (attention_case c : shapes()) {
            const double size = s.type == dtype::fp64 ? 1e200 : 1e30;
            c.scale = 1.0;
            for (const double sign : {1.0, -1.0}) {
                for (const index_t splits : {0, 3}) {
                    call_style split = s;
                    if (splits > 0) split.plan = tile_plan{0, 16, splits};
                    c.right = 0;
                    c.align = anchor::explicit_offset;
                    c.offset = -1; // row 0 sees no key
                    const call_results r =
                        call_attention(c, constant_inputs(c, s.type, size, sign * size), split, false);
                    EXPECT_EQ(r.out(0, 0, 0, 2), 0.0);
                    EXPECT_EQ(r.lse(0, 0, 0), -infinity);
                    for (index_t i = 1; i < c.q_len; ++i) {
                        ASSERT_TRUE(std::isnan(r.out(0, 0, i, 2))) << i;
                        ASSERT_TRUE(std::isnan(r.lse(0, 0, i))) << i;
                    }
                    // The scores are small, the scale is not: only their product overflows.
                    attention_case large = c;
                    large.scale = size;
                    const call_results again =
                        call_attention(large,
                                       constant_inputs(c, s.type, 4096.0 * 4096.0,
                                                       sign * 4096.0 * 4096.0 * (s.type == dtype::fp64 ? 1e150 : 1.0)),
                                       split, false);
                    EXPECT_EQ(again.out(0, 0, 0, 2), 0.0);
                    for (index_t i = 1; i < c.q_len; ++i) {
                        ASSERT_TRUE(std::isnan(again.out(0, 0, i, 2))) << i;
                        ASSERT_TRUE(std::isnan(again.lse(0, 0, i))) << i;
                    }
                }
            }
        }
    });
}

/// Half of the smallest number rounds to 0. Its sign is the same in every layout: contiguous and strided rows are stored by
/// different code.
TEST(edges, what_rounds_to_zero_has_one_sign_in_every_layout) {
    for_each_style([](const call_style& s) {
        if (compute_dtype(s.type) != s.type) return; // fp32 holds the halves of 16-bit numbers
        for (const index_t rows : {1, 5, 40}) {
            const attention_case c = shape(rows, 2, 9);
            attention_inputs in = constant_inputs(c, s.type, 0.0, 0.0);
            for (index_t x = 0; x < 9; ++x) {
                in.v(0, 0, 0, x) = -smallest(s.type);
                in.v(0, 0, 1, x) = 0.0;
            }
            const call_results expected = call_attention(c, in, s, false);
            for (const layout l : output_layouts) {
                call_style other = s;
                other.out = l;
                const call_results r = call_attention(c, in, other, false);
                for (std::size_t n = 0; n < r.out.data.size(); ++n) {
                    ASSERT_EQ(r.out.data[n], 0.0);
                    ASSERT_EQ(std::signbit(r.out.data[n]), std::signbit(expected.out.data[n])) << name(l);
                }
            }
        }
    });
}

/// Keys whose logits are minus infinity have no weight beside others, whichever split they are in.
TEST(edges, overflow_does_not_hide_finite_logits_of_other_splits) {
    for_each_style([](const call_style& s) {
        if (s.type == dtype::fp16) return;
        for (attention_case c : shapes()) {
            const double size = s.type == dtype::fp64 ? 1e200 : 1e30;
            for (const bool first : {false, true}) {
                attention_inputs in = make_inputs(c, s.type, data_kind::normal, 3);
                std::fill(in.q.data.begin(), in.q.data.end(), rounded(size, s.type));
                const index_t finite = first ? 1 : c.k_len - 1;
                for (index_t j = 0; j < c.k_len; ++j) {
                    for (index_t x = 0; x < c.head_dim; ++x) {
                        in.k(0, 0, j, x) = j == finite ? 0.0 : rounded(-size, s.type);
                    }
                }
                call_style split = s;
                split.plan = tile_plan{0, 8, 4};
                const call_results r = call_attention(c, in, split, false);
                for (index_t i = 0; i < c.q_len; ++i) {
                    ASSERT_EQ(r.out(0, 0, i, 5), in.v(0, 0, finite, 5)) << i;
                    ASSERT_EQ(r.lse(0, 0, i), 0.0) << i;
                }
            }
        }
    });
}

/// The same of public parts, merged in any order.
TEST(edges, parts_keep_overflow_apart_from_hidden) {
    const index_t q_len = 3;
    const index_t dim = 4;
    const std::vector<float> q(static_cast<std::size_t>(q_len * dim), 1e30F);
    const std::vector<float> low(static_cast<std::size_t>(5 * dim), -1e30F);
    const std::vector<float> zero(static_cast<std::size_t>(5 * dim), 0.0F);
    const std::vector<float> v(static_cast<std::size_t>(5 * dim), 0.75F);
    struct part {
        std::vector<float> out = std::vector<float>(12), max = std::vector<float>(3), sum = std::vector<float>(3);
        partial_view<float> view() {
            return {bhsd(out.data(), 1, 1, 3, 4), bhs(max.data(), 1, 1, 3), bhs(sum.data(), 1, 1, 3)};
        }
    };
    const auto query = bhsd(q.data(), 1, 1, q_len, dim);
    const auto value = bhsd(v.data(), 1, 1, 5, dim);
    const auto run = [&](const std::vector<float>& k, const mask& m) {
        part p;
        attention_partial(query, bhsd(k.data(), 1, 1, 5, dim), value, p.view(), {.mask = m, .scale = 1.0});
        return p;
    };
    const auto finished = [](part a, part b) {
        merge(a.view(), b.view(), a.view());
        std::vector<float> out(12);
        std::vector<float> lse(3);
        finish(a.view(), bhsd(out.data(), 1, 1, 3, 4), bhs(lse.data(), 1, 1, 3));
        return std::pair{out, lse};
    };
    const part overflowed = run(low, full());
    const part hidden = run(low, causal().at_offset(-100));
    const part seen = run(zero, full());
    for (const auto& [a, b] : {std::pair{overflowed, hidden}, {hidden, overflowed}, {overflowed, overflowed}}) {
        const auto [out, lse] = finished(a, b);
        EXPECT_TRUE(std::isnan(out[5]));
        EXPECT_TRUE(std::isnan(lse[1]));
    }
    for (const auto& [a, b] : {std::pair{overflowed, seen}, {seen, overflowed}, {hidden, seen}}) {
        const auto [out, lse] = finished(a, b);
        EXPECT_EQ(out[5], 0.75F);
        EXPECT_FLOAT_EQ(lse[1], std::log(5.0F));
    }
    const auto [out, lse] = finished(hidden, hidden);
    EXPECT_EQ(out[5], 0.0F);
    EXPECT_EQ(lse[1], -std::numeric_limits<float>::infinity());
}

/// A soft cap makes logits of its own size of any score, also of one that has no number in the type.
TEST(edges, a_cap_bends_scores_of_any_size) {
    for_each_style([](const call_style& s) {
        for (attention_case c : shapes()) {
            for (const double cap : {1e-30, 1e-3, 30.0, 1e10, 1e30}) {
                c.softcap = cap;
                c.scale = 0.25;
                expect_formula(c, make_inputs(c, s.type, data_kind::normal, 6), s);
                if (s.type == dtype::fp16 || cap > 1e3) continue;
                const double size = s.type == dtype::fp64 ? 1e200 : 1e30;
                c.scale = 1.0;
                for (const double sign : {1.0, -1.0}) {
                    expect_formula(c, constant_inputs(c, s.type, size, sign * size), s);
                }
            }
        }
    });
}

/// A steep slope leaves to each row the key at its own place, whatever is beside it.
TEST(edges, slopes_of_any_size) {
    for_each_style([](const call_style& s) {
        for (attention_case c : shapes()) {
            for (const double slope : {1e3, 1e10, 1e30}) {
                for (const bool causal : {false, true}) {
                    c.slopes = {slope};
                    c.right.reset();
                    if (causal) c.right = 0;
                    expect_formula(c, make_inputs(c, s.type, data_kind::normal, 6), s);
                }
            }
        }
    });
}

/// A sink beyond all logits leaves nothing to the keys, one below them takes nothing.
TEST(edges, sinks_of_any_size) {
    for_each_style([](const call_style& s) {
        for (attention_case c : shapes()) {
            for (const double sink : {1e3, 1e10, 1e30, -1e3, -1e30, -infinity}) {
                c.sinks = {sink};
                c.right = 0;
                c.align = anchor::explicit_offset;
                c.offset = -1; // row 0 sees no key: its sink alone
                expect_formula(c, make_inputs(c, s.type, data_kind::normal, 6), s);
                call_style split = s;
                split.plan = tile_plan{0, 16, 3};
                expect_formula(c, make_inputs(c, s.type, data_kind::normal, 6), split);
            }
        }
    });
}

/// Without dims every logit is 0: out is the mean of V, whatever the work memory held before.
TEST(edges, no_head_dims_average_the_values) {
    constexpr index_t keys = 4;
    const float v[keys * 2] = {1, 5, 2, 6, 3, 7, 6, 10};
    for (const index_t rows : {1, 2, 40}) {
        std::vector<float> out(static_cast<std::size_t>(2 * rows), -7.0F);
        std::vector<float> lse(static_cast<std::size_t>(rows), -7.0F);
        const tensor_view<const float> q{nullptr, {1, 1, rows, 0}, {}}, k{nullptr, {1, 1, keys, 0}, {}};
        options o;
        o.threads = 1;
        std::vector<std::byte> work(static_cast<std::size_t>(explain(q, k, bhsd(v, 1, 1, keys, 2), o).workspace_bytes),
                                    std::byte{0x7f}); // 3.4e38
        o.workspace = work;
        attention(q, k, bhsd(v, 1, 1, keys, 2), bhsd(out.data(), 1, 1, rows, 2), bhs(lse.data(), 1, 1, rows), o);
        for (index_t i = 0; i < rows; ++i) {
            EXPECT_EQ(out[static_cast<std::size_t>(2 * i)], 3.0F) << rows << ' ' << i;
            EXPECT_EQ(out[static_cast<std::size_t>(2 * i + 1)], 7.0F) << rows << ' ' << i;
            EXPECT_FLOAT_EQ(lse[static_cast<std::size_t>(i)], std::log(4.0F)) << rows << ' ' << i;
        }
    }
}

} // namespace
} // namespace pantile::test
