// What the generators make: a property is worth what it is tried on. A fixed seed, so that counts are the same in every run.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include <support/generators.hpp>

namespace pantile::test {
namespace {

constexpr int draws = 2000;

/// What a generator gives in a run of `draws` cases, as rapidcheck would grow them.
template <class T>
std::vector<T> drawn(const rc::Gen<T>& gen) {
    std::vector<T> found;
    rc::Random random(20261123);
    for (int n = 0; n < draws; ++n) found.push_back(gen(random.split(), n * 100 / draws).value());
    return found;
}

/// In how many of a hundred cases something holds.
double percent(const std::vector<attention_case>& cases, const std::function<bool(const attention_case&)>& holds) {
    return 100.0 * static_cast<double>(std::count_if(cases.begin(), cases.end(), holds)) /
           static_cast<double>(cases.size());
}

void expect_between(double low, double x, double high, const char* what) {
    EXPECT_GE(x, low) << what;
    EXPECT_LE(x, high) << what;
}

bool has_empty_row(const attention_case& c) {
    for (index_t b = 0; b < c.batch; ++b) {
        for (index_t i = 0; i < c.q_len; ++i) {
            bool any = false;
            for (index_t j = 0; j < c.k_len; ++j) any = any || c.visible(b, 0, i, j);
            if (!any) return true;
        }
    }
    return false;
}

TEST(generators, make_every_kind_of_shape) {
    const auto cases = drawn(any_case());
    const auto share = [&](const std::function<bool(const attention_case&)>& f) { return percent(cases, f); };
    using c_t = const attention_case&;
    expect_between(40, share([](c_t c) { return c.batch > 1; }), 90, "batches");
    expect_between(1, share([](c_t c) { return c.batch == 0; }), 5, "no batch");
    expect_between(40, share([](c_t c) { return c.kv_heads > 1; }), 90, "kv heads");
    expect_between(40, share([](c_t c) { return c.q_heads > c.kv_heads; }), 90, "groups");
    expect_between(100, share([](c_t c) { return c.q_heads % c.kv_heads == 0; }), 100, "groups are whole");
    expect_between(15, share([](c_t c) { return c.q_len == 1; }), 40, "one row");
    expect_between(1, share([](c_t c) { return c.q_len == 0; }), 5, "no row");
    expect_between(8, share([](c_t c) { return c.k_len == 1; }), 30, "one key");
    expect_between(1, share([](c_t c) { return c.k_len == 0; }), 5, "no key");
    expect_between(1, share([](c_t c) { return c.value_dim == 0; }), 5, "no value");
    expect_between(0, share([](c_t c) { return c.head_dim == 0; }), 0, "no dim");
    expect_between(20, share([](c_t c) { return c.q_len == c.k_len; }), 60, "square");
    expect_between(20, share([](c_t c) { return c.q_len < c.k_len; }), 60, "more keys");
    expect_between(15, share([](c_t c) { return c.q_len > c.k_len; }), 60, "more rows");
    expect_between(30, share([](c_t c) { return c.value_dim != c.head_dim; }), 60, "other value dim");
    expect_between(10, share([](c_t c) { return c.q_len > 35; }), 40, "long");
    expect_between(10, share([](c_t c) { return c.head_dim > 20; }), 50, "wide");
    index_t longest = 0;
    index_t widest = 0;
    for (const attention_case& c : cases) {
        longest = std::max({longest, c.q_len, c.k_len});
        widest = std::max({widest, c.head_dim, c.value_dim});
    }
    expect_between(60, static_cast<double>(longest), 70, "longest");
    expect_between(35, static_cast<double>(widest), 40, "widest");
    EXPECT_EQ(percent(drawn(any_case({.empty = false})),
                      [](c_t c) {
                          return std::min({c.batch, c.q_len, c.k_len, c.value_dim}) == 0;
                      }),
              0.0);
}

TEST(generators, make_every_kind_of_mask) {
    const auto cases = drawn(any_case());
    const auto share = [&](const std::function<bool(const attention_case&)>& f) { return percent(cases, f); };
    using c_t = const attention_case&;
    expect_between(20, share([](c_t c) { return !c.left && !c.right; }), 60, "full");
    expect_between(15, share([](c_t c) { return c.left && c.right; }), 45, "two sides");
    expect_between(3, share([](c_t c) { return c.left && !c.right; }), 25, "left alone");
    expect_between(10, share([](c_t c) { return !c.left && c.right; }), 40, "right alone");
    expect_between(10, share([](c_t c) { return c.right == index_t{0}; }), 50, "causal");
    expect_between(10, share([](c_t c) { return c.right && *c.right > 0; }), 50, "a right side");
    expect_between(10, share([](c_t c) { return c.left && *c.left > 0; }), 50, "a left side");
    for (const anchor a : {anchor::top_left, anchor::explicit_offset})
        expect_between(12, share([a](c_t c) { return c.align == a; }), 35, "alignment");
    expect_between(3, share([](c_t c) { return c.offset > 0; }), 20, "offsets forward");
    expect_between(3, share([](c_t c) { return c.offset < 0; }), 20, "offsets back");
    expect_between(20, share([](c_t c) { return !c.key_lengths.empty(); }), 40, "key lengths");
    expect_between(5, share([](c_t c) { return std::count(c.key_lengths.begin(), c.key_lengths.end(), 0) > 0; }), 30,
                   "a length of 0");
    expect_between(2, share([](c_t c) { return std::count(c.key_lengths.begin(), c.key_lengths.end(), c.k_len) > 0; }),
                   30, "a full length");
    expect_between(5, share([](c_t c) { return c.key_lengths.size() > 1 && c.key_lengths[0] != c.key_lengths[1]; }), 30,
                   "lengths that differ");
    expect_between(100, share([](c_t c) {
                       return c.key_lengths.empty() || c.key_lengths.size() == static_cast<std::size_t>(c.batch);
                   }),
                   100, "one length a batch");
    expect_between(15, share(has_empty_row), 60, "rows that see nothing");
    expect_between(
        55, share([](c_t c) { return std::abs(c.scale * std::sqrt(static_cast<double>(c.head_dim)) - 1.0) < 1e-12; }),
        90, "usual scale");
    expect_between(2, share([](c_t c) { return c.scale < 0.0; }), 15, "negative scale");
    expect_between(2, share([](c_t c) { return c.scale == 0.0; }), 15, "scale of 0");
}

/// What the page serves and nothing else; half of the cases or so ask for none of it.
TEST(generators, make_every_served_feature) {
    const auto cases = drawn(any_served_case());
    const auto share = [&](const std::function<bool(const attention_case&)>& f) { return percent(cases, f); };
    using c_t = const attention_case&;
    expect_between(15, share([](c_t c) { return c.softcap > 0.0; }), 35, "softcap");
    expect_between(15, share([](c_t c) { return !c.slopes.empty(); }), 35, "slopes");
    expect_between(15, share([](c_t c) { return !c.sinks.empty(); }), 35, "sinks");
    expect_between(30, share([](c_t c) { return c.softcap == 0.0 && c.slopes.empty() && c.sinks.empty(); }), 55,
                   "none of them");
    expect_between(0, share([](c_t c) { return !c.bias.empty() || !c.block_mask.empty() || !c.weight.empty(); }), 0,
                   "others");
    expect_between(100, share([](c_t c) {
                       const auto n = static_cast<index_t>(c.slopes.size());
                       return n == 0 || n == c.q_heads || n == c.batch * c.q_heads;
                   }),
                   100, "slopes of heads, or of batches and heads");
}

TEST(generators, switch_features_on_and_off) {
    const auto cases = drawn(any_case_with_features());
    const auto share = [&](const std::function<bool(const attention_case&)>& f) { return percent(cases, f); };
    using c_t = const attention_case&;
    const auto has = [](const std::vector<double>& x, const std::function<bool(double)>& f) {
        return std::any_of(x.begin(), x.end(), f);
    };
    const auto positive = [](double x) { return x > 0.0; };
    const auto negative = [](double x) { return x < 0.0; };
    expect_between(30, share([](c_t c) { return c.softcap > 0.0; }), 50, "softcap");
    expect_between(20, share([&](c_t c) { return has(c.slopes, positive); }), 40, "slopes");
    expect_between(4, share([&](c_t c) { return has(c.slopes, negative); }), 20, "slopes below 0");
    expect_between(3, share([](c_t c) { return c.slopes_of_batches(); }), 20, "slopes of batches");
    expect_between(8, share([&](c_t c) { return has(c.sinks, positive); }), 40, "sinks");
    expect_between(8, share([&](c_t c) { return has(c.sinks, negative); }), 40, "sinks below 0");
    expect_between(4, share([&](c_t c) { return has(c.sinks, [](double x) { return x == -HUGE_VAL; }); }), 20,
                   "sinks that are none");
    expect_between(30, share([](c_t c) { return !c.bias.empty(); }), 50, "bias");
    expect_between(10,
                   share([&](c_t c) { return has(c.bias.data, [](double x) { return std::isinf(x) && x < 0.0; }); }),
                   40, "bias that hides");
    for (std::size_t axis = 0; axis < 4; ++axis) {
        expect_between(5, share([axis](c_t c) { return !c.bias.empty() && c.bias.extent[axis] > 1; }), 40,
                       "bias of its own");
        expect_between(5, share([axis](c_t c) { return !c.bias.empty() && c.bias.extent[axis] == 1; }), 40,
                       "bias broadcast");
    }
    expect_between(25, share([](c_t c) { return !c.block_mask.empty(); }), 50, "blocks");
    expect_between(10, share([](c_t c) {
                       const auto& m = c.block_mask.data;
                       return std::count(m.begin(), m.end(), 0) > 0 && std::count(m.begin(), m.end(), 1) > 0;
                   }),
                   50, "blocks of both kinds");
    expect_between(20, share([](c_t c) { return !c.weight.empty(); }), 40, "weights");
    expect_between(10, share([&](c_t c) { return has(c.weight.data, [](double x) { return x == 0.0; }); }), 40,
                   "weights of 0");
    expect_between(10, share([&](c_t c) { return has(c.weight.data, [](double x) { return x > 1.4; }); }), 40,
                   "weights of 1/0.7");
}

TEST(generators, draw_every_kind_and_layout) {
    const auto kinds = drawn(any_data_kind());
    EXPECT_EQ(std::set<data_kind>(kinds.begin(), kinds.end()).size(), 9U);
    const auto in = drawn(any_input_layout());
    EXPECT_EQ(std::set<layout>(in.begin(), in.end()).size(), 10U);
    const auto out = drawn(any_output_layout());
    EXPECT_EQ(std::set<layout>(out.begin(), out.end()).size(), 7U);
    EXPECT_EQ(std::count(out.begin(), out.end(), layout::broadcast_length), 0);
    std::set<std::string> names;
    for (const data_kind k : data_kinds) names.insert(name(k));
    EXPECT_EQ(names.size(), 9U);
    EXPECT_EQ(names.count("?"), 0U);
}

attention_case sample() {
    attention_case c;
    c.batch = 2;
    c.q_heads = 2;
    c.q_len = 30;
    c.k_len = 40;
    c.head_dim = c.value_dim = 16;
    c.scale = 0.25;
    return c;
}

constexpr dtype all_types[] = {dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16};

std::vector<const tensor<double>*> tensors(const attention_inputs& in) { return {&in.q, &in.k, &in.v, &in.dout}; }
std::vector<const tensor<double>*> tensors(const attention_inputs&&) = delete; // they would outlive it

TEST(data, has_the_shapes_of_the_case_and_the_numbers_of_the_type) {
    attention_case c = sample();
    c.kv_heads = 1;
    c.value_dim = 8;
    for (const dtype t : all_types) {
        for (const data_kind kind : data_kinds) {
            const auto in = make_inputs(c, t, kind, 3);
            EXPECT_EQ(in.q.extent, (extents{2, 2, 30, 16}));
            EXPECT_EQ(in.k.extent, (extents{2, 1, 40, 16}));
            EXPECT_EQ(in.v.extent, (extents{2, 1, 40, 8}));
            EXPECT_EQ(in.dout.extent, (extents{2, 2, 30, 8}));
            for (const tensor<double>* x : tensors(in)) {
                EXPECT_EQ(rounded(*x, t).data, x->data) << name(t) << ' ' << name(kind);
                EXPECT_TRUE(std::all_of(x->data.begin(), x->data.end(), [](double y) { return std::isfinite(y); }));
                EXPECT_TRUE(std::any_of(x->data.begin(), x->data.end(), [](double y) { return y != 0.0; }));
            }
        }
    }
}

TEST(data, is_the_same_for_the_same_seed_and_no_other) {
    const auto one = make_inputs(sample(), dtype::fp64, data_kind::normal, 5);
    EXPECT_EQ(one.q.data, make_inputs(sample(), dtype::fp64, data_kind::normal, 5).q.data);
    EXPECT_NE(one.q.data, make_inputs(sample(), dtype::fp64, data_kind::normal, 6).q.data);
    EXPECT_NE(one.k.data, one.v.data);
    std::set<double> different(one.k.data.begin(), one.k.data.end());
    EXPECT_EQ(different.size(), one.k.data.size());
    // SplitMix64 of seed 0, as its authors list it.
    const auto zero = make_inputs(sample(), dtype::fp64, data_kind::uniform, 0);
    EXPECT_EQ(zero.q.data[0], static_cast<double>(0xe220a8397b1dcdafULL >> 11) * 0x1p-53);
    EXPECT_EQ(zero.q.data[1], static_cast<double>(0x6e789e6aa1b965f4ULL >> 11) * 0x1p-53);
}

struct moments {
    double mean = 0.0, variance = 0.0, lowest = HUGE_VAL, highest = -HUGE_VAL;
};
moments moments_of(const tensor<double>& x) {
    moments m;
    const auto n = static_cast<double>(x.data.size());
    for (const double y : x.data) {
        m.mean += y / n;
        m.lowest = std::min(m.lowest, y);
        m.highest = std::max(m.highest, y);
    }
    for (const double y : x.data) m.variance += (y - m.mean) * (y - m.mean) / n;
    return m;
}

TEST(data, ordinary_kinds_have_their_moments) {
    const attention_inputs normal = make_inputs(sample(), dtype::fp64, data_kind::normal, 5);
    for (const tensor<double>* x : tensors(normal)) {
        expect_between(-0.1, moments_of(*x).mean, 0.1, "mean");
        expect_between(0.85, moments_of(*x).variance, 1.15, "variance");
        EXPECT_LT(moments_of(*x).lowest, -2.5);
        EXPECT_GT(moments_of(*x).highest, 2.5);
    }
    const attention_inputs uniform = make_inputs(sample(), dtype::fp64, data_kind::uniform, 5);
    for (const tensor<double>* x : tensors(uniform)) {
        expect_between(0.45, moments_of(*x).mean, 0.55, "mean");
        expect_between(0.0, moments_of(*x).lowest, 0.02, "lowest");
        expect_between(0.98, moments_of(*x).highest, 1.0, "highest");
    }
    const attention_inputs with_zeros = make_inputs(sample(), dtype::fp64, data_kind::zeros, 5);
    for (const tensor<double>* x : tensors(with_zeros)) {
        const auto zeros = static_cast<double>(std::count(x->data.begin(), x->data.end(), 0.0));
        expect_between(0.5, zeros / static_cast<double>(x->data.size()), 0.7, "zeros");
    }
}

/// The logits of head (0, 0), without a mask.
std::vector<std::vector<double>> logits(const attention_case& c, const attention_inputs& in) {
    std::vector<std::vector<double>> rows(static_cast<std::size_t>(c.q_len));
    for (index_t i = 0; i < c.q_len; ++i) {
        for (index_t j = 0; j < c.k_len; ++j) {
            double s = 0.0;
            for (index_t x = 0; x < c.head_dim; ++x) s += in.q(0, 0, i, x) * in.k(0, 0, j, x);
            rows[static_cast<std::size_t>(i)].push_back(c.scale * s);
        }
    }
    return rows;
}

TEST(data, kinds_that_break_careless_kernels_do_what_they_say) {
    for (const double scale : {0.25, -2.0}) {
        for (const dtype t : all_types) {
            attention_case c = sample();
            c.scale = scale;
            for (const data_kind kind : {data_kind::large_logits, data_kind::repeated_rows}) {
                double largest = 0.0; // exp overflows beyond 88 in fp32, 709 in fp64
                for (const auto& row : logits(c, make_inputs(c, t, kind, 2)))
                    for (const double x : row) largest = std::max(largest, std::abs(x));
                expect_between(400, largest, 3000, name(kind));
            }
            for (const data_kind kind : {data_kind::growing_maxima, data_kind::falling_maxima}) {
                const bool grows = kind == data_kind::growing_maxima;
                for (const auto& row : logits(c, make_inputs(c, t, kind, 2))) {
                    expect_between(12.0, (row.back() - row.front()) * (grows ? 1.0 : -1.0), 14.0, name(kind));
                    index_t steps = 0;
                    for (std::size_t j = 1; j < row.size(); ++j) steps += (row[j] > row[j - 1]) == grows ? 1 : 0;
                    EXPECT_GT(steps, 36) << name(kind) << ' ' << name(t);
                }
            }
        }
    }
    const auto alike = make_inputs(sample(), dtype::fp32, data_kind::constant_rows, 2);
    for (index_t j = 1; j < 40; ++j) {
        for (index_t x = 0; x < 16; ++x) ASSERT_EQ(alike.k(1, 0, j, x), alike.k(1, 0, 0, x));
    }
    EXPECT_NE(alike.v(0, 0, 0, 0), alike.v(0, 0, 1, 0));

    const auto repeated = make_inputs(sample(), dtype::fp32, data_kind::repeated_rows, 2);
    for (const tensor<double>* x : tensors(repeated)) {
        std::map<std::vector<double>, int> rows;
        for (index_t i = 0; i < x->extent[2]; ++i) ++rows[std::vector<double>(x->row(1, 0, i), x->row(1, 0, i) + 16)];
        EXPECT_EQ(rows.size(), 3U);
        for (const auto& [row, count] : rows) EXPECT_GE(count, 4);
    }
    for (const dtype t : all_types) { // V among the subnormal numbers, mostly, and not all zero
        const auto tiny = make_inputs(sample(), t, data_kind::tiny, 2);
        EXPECT_LT(moments_of(tiny.v).highest, 2.0 * smallest_normal(t)) << name(t);
        EXPECT_GE(moments_of(tiny.v).highest, smallest(t)) << name(t);
    }
}

TEST(data, broadcast_layouts_repeat_one_index) {
    const auto in = make_inputs(sample(), dtype::fp16, data_kind::normal, 4);
    for (const dtype t : all_types) {
        EXPECT_EQ(as_stored(in, layout::padded, t).v.data, rounded(in.v, t).data);
        const auto length = as_stored(in, layout::broadcast_length, t);
        EXPECT_EQ(length.k(1, 0, 7, 3), rounded(in.k(1, 0, 39, 3), t));
        EXPECT_EQ(length.q(1, 0, 7, 3), rounded(in.q(1, 0, 29, 3), t));
        EXPECT_EQ(length.dout.data, in.dout.data);
    }
}

} // namespace
} // namespace pantile::test
