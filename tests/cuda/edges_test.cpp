// The edges of the numbers, on every kernel: scores that only the scale makes finite, scales that vanish, logits that overflow,
// logits of any finite size. A score depends on its key alone here, so that the answer is known without a formula's rounding.

#include "judge.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <ostream>
#include <string>

namespace pantile::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct setting {
    dtype type;
    cuda_kernel kernel;
    index_t q_len;
    index_t key_splits = 0;
};

const char* name_of(cuda_kernel k) {
    return k == cuda_kernel::portable ? "portable"
           : k == cuda_kernel::decode ? "decode"
           : k == cuda_kernel::sm90   ? "sm90"
                                      : "ffma";
}
std::string name_of(const setting& s) {
    std::string text = std::string(name(s.type)) + "_" + name_of(s.kernel) + "_" + std::to_string(s.q_len) + "_rows";
    if (s.key_splits > 0) text += "_" + std::to_string(s.key_splits) + "_splits";
    return text;
}
std::ostream& operator<<(std::ostream& os, const setting& s) { return os << name_of(s); }

/// Every kernel, and each way of its results out of the block. decode: 2 rows are kernel_decode.cuh's in 16 bits, 20 rows are not.
std::vector<setting> settings() {
    std::vector<setting> all;
    for (const dtype t : {dtype::fp32, dtype::fp64, dtype::bf16, dtype::fp16}) {
        all.push_back({t, cuda_kernel::portable, 150});
        all.push_back({t, cuda_kernel::portable, 150, 3});
        all.push_back({t, cuda_kernel::sm90, 150});
        for (const index_t splits : {1, 5}) {
            all.push_back({t, cuda_kernel::decode, 2, splits});
            all.push_back({t, cuda_kernel::decode, 20, splits});
        }
        if (t == dtype::fp32) all.push_back({t, cuda_kernel::ffma, 150});
    }
    return all;
}

/// A problem whose score of key j is that of q = (x, 0, …), k_j = (y_j, 0, …), or the same in every column.
struct keyed_problem {
    attention_case c;
    attention_inputs in;

    keyed_problem(const setting& s, index_t dim, double scale) {
        c = case_of(s.q_len, 200, dim, true);
        c.batch = 3;
        c.q_heads = 2;
        c.kv_heads = 1;
        c.value_dim = 24;
        c.key_lengths = {0, 30, 200}; // rows without keys in two batches
        c.scale = scale;
        in = make_inputs(c, s.type, data_kind::zeros, 1);
        for (tensor<double>* t : {&in.q, &in.k}) std::fill(t->data.begin(), t->data.end(), 0.0);
        in.v.for_each([&](index_t b, index_t h, index_t j, index_t x) { in.v(b, h, j, x) = value(b, h, j, x); });
    }
    void set(double q, const std::function<double(index_t)>& k, index_t columns = 1) {
        in.q.for_each([&](index_t b, index_t h, index_t i, index_t x) { in.q(b, h, i, x) = x < columns ? q : 0.0; });
        in.k.for_each([&](index_t b, index_t h, index_t j, index_t x) { in.k(b, h, j, x) = x < columns ? k(j) : 0.0; });
    }
    /// Small integers: exact in all types.
    static double value(index_t b, index_t h, index_t j, index_t x) {
        return static_cast<double>((3 * j + 5 * x + h + b) % 16 - 7);
    }
};

double roundoff(dtype t) {
    return t == dtype::fp64 ? 0x1p-53 : t == dtype::fp32 ? 0x1p-24 : t == dtype::fp16 ? 0x1p-11 : 0x1p-8;
}

bool same(double actual, double expected, double tolerance) {
    if (std::isnan(expected)) return std::isnan(actual);
    if (std::isinf(expected)) return actual == expected;
    return std::abs(actual - expected) <= tolerance;
}

/// The softmax of `logit(j)` over the visible keys, of every row: what shows in it, and numbers to some units in the last
/// place. A row with a logit that is NaN or +inf, or whose logits are all -inf, is NaN; one that sees no key is 0 and -inf.
void expect_softmax(const gpu_result& result, const keyed_problem& p, dtype t,
                    const std::function<double(index_t)>& logit) {
    const attention_case& c = p.c;
    const double u_out = 16.0 * roundoff(t);
    const double u_lse = 16.0 * (t == dtype::fp64 ? 0x1p-53 : 0x1p-24);
    int faults = 0;
    for (index_t b = 0; b < c.batch; ++b) {
        for (index_t h = 0; h < c.q_heads; ++h) {
            for (index_t i = 0; i < c.q_len; ++i) {
                double top = -infinity;
                index_t seen = 0;
                for (index_t j = 0; j < c.k_len; ++j) {
                    if (!c.visible(b, h, i, j)) continue;
                    ++seen;
                    top = top < logit(j) || std::isnan(logit(j)) ? logit(j) : top;
                }
                const bool finite = std::isfinite(top);
                long double sum = 0.0L;
                std::vector<long double> out(static_cast<std::size_t>(c.value_dim), 0.0L);
                for (index_t j = 0; finite && j < c.k_len; ++j) {
                    if (!c.visible(b, h, i, j)) continue;
                    const long double weight = std::exp(static_cast<long double>(logit(j)) - top);
                    sum += weight;
                    for (index_t x = 0; x < c.value_dim; ++x) {
                        out[static_cast<std::size_t>(x)] += weight * p.in.v(b, h * c.kv_heads / c.q_heads, j, x);
                    }
                }
                const double lse = finite ? static_cast<double>(top + std::log(sum)) : seen == 0 ? -infinity : nan;
                if (!same(result.lse(b, h, i), lse, u_lse * (1.0 + std::abs(lse)))) {
                    if (++faults <= 5) {
                        ADD_FAILURE() << "lse of batch " << b << " head " << h << " row " << i << " is "
                                      << result.lse(b, h, i) << ", " << lse << " expected";
                    }
                }
                for (index_t x = 0; x < c.value_dim; ++x) {
                    const double expected = finite      ? static_cast<double>(out[static_cast<std::size_t>(x)] / sum)
                                            : seen == 0 ? 0.0
                                                        : nan;
                    if (same(result.out(b, h, i, x), expected, u_out * 8.0)) continue;
                    if (++faults <= 5) {
                        ADD_FAILURE() << "out of batch " << b << " head " << h << " row " << i << " column " << x
                                      << " is " << result.out(b, h, i, x) << ", " << expected << " expected";
                    }
                }
            }
        }
    }
    EXPECT_EQ(faults, 0);
    EXPECT_TRUE(result.gaps_untouched);
}

class edges : public testing::TestWithParam<setting> {
  protected:
    void SetUp() override { PANTILE_NEEDS_DEVICE(GetParam().kernel == cuda_kernel::sm90 ? 90 : 80); }
    static dtype type() { return GetParam().type; }
    static bool is(dtype t) { return type() == t; }
    static gpu_call call() {
        gpu_call g;
        g.kernel = GetParam().kernel;
        g.key_splits = GetParam().key_splits;
        return g;
    }
    /// The call as a whole, and over two parts of the keys that are merged. At the top left rows stand that see few keys.
    static void expect(const keyed_problem& p, const std::function<double(index_t)>& logit, index_t cut = 40) {
        {
            SCOPED_TRACE("whole, head dim " + std::to_string(p.c.head_dim));
            expect_softmax(forward_on_gpu(p.c, p.in, type(), type(), call()), p, type(), logit);
        }
        keyed_problem halves = p;
        halves.c.key_lengths.clear(); // a cut would have to shorten them too
        for (const anchor align : {anchor::bottom_right, anchor::top_left}) {
            SCOPED_TRACE("merged, head dim " + std::to_string(p.c.head_dim));
            halves.c.align = align;
            expect_softmax(is(dtype::fp64)   ? merged_on_gpu<double>(halves.c, halves.in, call(), cut)
                           : is(dtype::fp32) ? merged_on_gpu<float>(halves.c, halves.in, call(), cut)
                           : is(dtype::fp16) ? merged_on_gpu<float16>(halves.c, halves.in, call(), cut)
                                             : merged_on_gpu<bfloat16>(halves.c, halves.in, call(), cut),
                           halves, type(), logit);
        }
    }
    static std::vector<index_t> dims() { return {16, 96, 128, 192, 256}; }
};
INSTANTIATE_TEST_SUITE_P(of, edges, testing::ValuesIn(settings()),
                         [](const auto& info) { return name_of(info.param); });

// ------------------------------------------------------------------------------------------------------------ scales

// Products of q and k that the type does not hold (those of 16-bit types: that fp32 does), and logits of 16.
TEST_P(edges, the_scale_makes_scores_finite) {
    const double size = is(dtype::fp64) ? 1e155 : is(dtype::fp32) ? 1e20 : is(dtype::bf16) ? 0x1p60 : 0x1p15;
    const double scale = is(dtype::fp64) ? 1e-310 : is(dtype::fp32) ? 1e-40 : is(dtype::bf16) ? 0x1p-120 : 0x1p-30;
    for (const double sign : {1.0, -1.0}) {
        keyed_problem p(GetParam(), 16, scale);
        p.set(
            size, [&](index_t) { return sign * size; }, 16);
        const double stored = is(dtype::fp32) ? static_cast<double>(static_cast<float>(size)) : size;
        expect(p, [&](index_t) { return sign * 16.0 * (stored * scale) * stored; });
    }
}

// Scales that no factor of q alone can hold, and of both signs. Two logits, both of which count.
TEST_P(edges, a_scale_is_split) {
    const double size = is(dtype::fp64) ? 0x1p538 : is(dtype::fp32) ? 0x1p126 : is(dtype::bf16) ? 0x1p60 : 0x1p15;
    const double scale = is(dtype::fp64)   ? 0x1p-1074
                         : is(dtype::fp32) ? 0x1p-250
                         : is(dtype::bf16) ? 0x1p-118
                                           : 0x1p-28;
    for (const double sign : {1.0, -1.0}) {
        for (const index_t dim : dims()) {
            keyed_problem p(GetParam(), dim, sign * scale);
            const auto high = [](index_t j) { return j % 3 == 0; };
            p.set(size, [&](index_t j) { return high(j) ? size : size / 2; });
            expect(p, [&](index_t j) { return sign * (high(j) ? 4.0 : 2.0); });
        }
    }
}

// Scales that are 0 to every type, or make all logits 0: each visible key weighs the same.
TEST_P(edges, scales_that_vanish_leave_uniform_weights) {
    for (const double scale : {0.0, -0.0, 1e-46, -1e-46, 1e-100, 1e-300, -5e-324}) {
        for (const index_t dim : {16, 128}) {
            SCOPED_TRACE(scale);
            keyed_problem p(GetParam(), dim, scale);
            const attention_inputs normal = make_inputs(p.c, type(), data_kind::normal, 3);
            p.in.q = normal.q;
            p.in.k = normal.k;
            expect(p, [](index_t) { return 0.0; });
        }
    }
}

// ---------------------------------------------------------------------------------------------------------- overflow

// Scores of minus infinity are not hidden ones: rows that see nothing else are NaN, and beside any other score they weigh 0,
// also in splits and parts that see nothing else. Rows without keys stay 0.
TEST_P(edges, overflow_to_minus_infinity_is_not_hidden) {
    const double size = is(dtype::fp64) ? 0x1p600 : is(dtype::fp16) ? 0x1p15 : 0x1p100;
    const double scale = is(dtype::fp16) ? 0x1p100 : 1.0;
    for (const index_t dim : dims()) {
        keyed_problem p(GetParam(), dim, scale);
        const auto overflows = [](index_t j) { return j < 40; };
        p.set(size, [&](index_t j) { return overflows(j) ? -size : 0.0; });
        expect(p, [&](index_t j) { return overflows(j) ? -infinity : 0.0; });
    }
}

// The same where the scores are finite and the scale makes them overflow; the last keys, so that splits end with them.
TEST_P(edges, overflow_by_the_scale_is_not_hidden) {
    for (const index_t dim : dims()) {
        keyed_problem p(GetParam(), dim, is(dtype::fp64) ? 1e308 : 1e38);
        const auto overflows = [](index_t j) { return j < 40 || j >= 120; };
        p.set(1.0, [&](index_t j) { return overflows(j) ? -5.0 : 0.0; });
        expect(p, [&](index_t j) { return overflows(j) ? -infinity : 0.0; });
        expect(
            p, [&](index_t j) { return overflows(j) ? -infinity : 0.0; }, 130);
    }
}

TEST_P(edges, overflow_to_infinity_shows_in_the_rows_that_see_it) {
    const double size = is(dtype::fp64) ? 0x1p600 : is(dtype::fp16) ? 0x1p15 : 0x1p100;
    const double scale = is(dtype::fp16) ? 0x1p100 : 1.0;
    for (const index_t dim : dims()) {
        keyed_problem p(GetParam(), dim, scale);
        p.set(size, [&](index_t j) { return j == 70 ? size : 0.0; });
        expect(p, [&](index_t j) { return j == 70 ? infinity : 0.0; });
    }
}

// ------------------------------------------------------------------------------------------------------ large logits

// Equal logits weigh the same whatever their size, and smaller ones nothing.
TEST_P(edges, logits_of_any_finite_size) {
    std::vector<double> sizes = {1e4, 1e6};
    if (is(dtype::fp16)) sizes.insert(sizes.end(), {0x1p26});
    if (is(dtype::bf16)) sizes.insert(sizes.end(), {1e8, 0x1p30});
    if (is(dtype::fp32) || is(dtype::fp64)) sizes.insert(sizes.end(), {1e8, 1e9, 3e9, 1e12, 1e20, 1e30, 1e37});
    if (is(dtype::fp64)) sizes.insert(sizes.end(), {1e100, 1e300});
    for (const double size : sizes) {
        for (const double sign : {1.0, -1.0}) {
            for (const index_t dim : {16, 128, 256}) {
                SCOPED_TRACE(sign * size);
                const auto small = [](index_t j) { return j % 7 == 2; };
                keyed_problem by_scale(GetParam(), dim, sign * size);
                by_scale.set(1.0, [&](index_t j) { return small(j) ? 0.5 : 1.0; });
                const auto logit = [&](index_t j) { return sign * size * (small(j) ? 0.5 : 1.0); };
                expect(by_scale, logit);
                if (is(dtype::fp16) || is(dtype::bf16)) continue; // they do not hold the size
                const double key = is(dtype::fp32) ? static_cast<double>(static_cast<float>(size)) : size;
                keyed_problem by_key(GetParam(), dim, sign);
                by_key.set(1.0, [&](index_t j) { return key * (small(j) ? 0.5 : 1.0); });
                expect(by_key, [&](index_t j) { return sign * key * (small(j) ? 0.5 : 1.0); });
            }
        }
    }
}

// Each key's logit beats all before it, and the last visible one takes all.
TEST_P(edges, large_logits_that_grow) {
    const double size = is(dtype::fp16) ? 0x1p26 : is(dtype::bf16) ? 0x1p30 : is(dtype::fp32) ? 1e30 : 1e300;
    for (const index_t dim : {64, 256}) {
        keyed_problem p(GetParam(), dim, size);
        p.set(1.0, [](index_t j) { return static_cast<double>(j + 1) / 256.0; });
        expect(p, [&](index_t j) { return size * (static_cast<double>(j + 1) / 256.0); });
    }
}

} // namespace
} // namespace pantile::test
