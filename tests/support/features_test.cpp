// The formula's options one by one, against numbers worked out by hand: masks pair by pair, and what changes a logit or a sum.
#include <cmath>

#include <gtest/gtest.h>

#include <support/data.hpp>
#include <support/library_mask.hpp>

namespace pantile::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Which keys a row sees, as text.
std::string sees(const attention_case& c, index_t i, index_t b = 0, index_t h = 0) {
    std::string s;
    for (index_t j = 0; j < c.k_len; ++j) s += c.visible(b, h, i, j) ? 'x' : '.';
    return s;
}

attention_case lengths(index_t rows, index_t keys) {
    attention_case c;
    c.q_len = rows;
    c.k_len = keys;
    return c;
}

TEST(features, windows_pair_by_pair) {
    attention_case c = lengths(4, 6); // bottom-right: row i stands at key i + 2
    EXPECT_EQ(sees(c, 0), "xxxxxx");
    c.left = 2;
    EXPECT_EQ(sees(c, 0), "xxxxxx");
    EXPECT_EQ(sees(c, 3), "...xxx");
    c.left.reset();
    c.right = 1;
    EXPECT_EQ(sees(c, 0), "xxxx..");
    EXPECT_EQ(sees(c, 3), "xxxxxx");
    c.left = 0;
    EXPECT_EQ(sees(c, 1), "...xx.");
    c.right = 0;
    EXPECT_EQ(sees(c, 1), "...x..");
}

TEST(features, alignments_pair_by_pair) {
    attention_case c = lengths(4, 6);
    c.right = 0;
    EXPECT_EQ(sees(c, 0), "xxx...");
    c.align = anchor::top_left;
    c.offset = 5; // counts with explicit_offset alone
    EXPECT_EQ(sees(c, 0), "x.....");
    EXPECT_EQ(sees(c, 3), "xxxx..");
    c.align = anchor::explicit_offset;
    c.offset = 4;
    EXPECT_EQ(sees(c, 0), "xxxxx.");
    c.offset = -2;
    EXPECT_EQ(sees(c, 1), "......");
    EXPECT_EQ(sees(c, 2), "x.....");
    c = lengths(4, 2); // more rows than keys: the first ones see nothing
    c.right = 0;
    EXPECT_EQ(sees(c, 1), "..");
    EXPECT_EQ(sees(c, 2), "x.");
    EXPECT_EQ(sees(c, 3), "xx");
}

TEST(features, key_lengths_of_each_batch) {
    attention_case c = lengths(2, 5);
    c.batch = 3;
    c.key_lengths = {0, 3, 5};
    EXPECT_EQ(sees(c, 0, 0), ".....");
    EXPECT_EQ(sees(c, 0, 1), "xxx..");
    EXPECT_EQ(sees(c, 0, 2), "xxxxx");
    c.right = 0; // bottom-right counts from each batch's own end
    EXPECT_EQ(sees(c, 0, 1), "xx...");
    EXPECT_EQ(sees(c, 0, 2), "xxxx.");
    c.align = anchor::top_left;
    EXPECT_EQ(sees(c, 1, 2), "xx...");
    EXPECT_EQ(sees(c, 1, 0), ".....");
}

TEST(features, blocks_and_biases_hide) {
    attention_case c = lengths(4, 6);
    c.q_heads = 2;
    c.block_rows = 3;
    c.block_cols = 2;
    c.block_mask = tensor<unsigned char>({1, 2, 2, 3});
    c.block_mask.data = {1, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 0};
    EXPECT_EQ(sees(c, 0), "xx..xx");
    EXPECT_EQ(sees(c, 2), "xx..xx");
    EXPECT_EQ(sees(c, 3), "..xx..");
    EXPECT_EQ(sees(c, 3, 0, 1), "xxxx..");
    c.block_mask = {};
    c.bias = tensor<double>({1, 1, 1, 6}, -1e300);
    c.bias.data[4] = -infinity;
    EXPECT_EQ(sees(c, 1), "xxxx.x");
}

/// One row of one number before keys and values of one number each.
attention_inputs row_of(double q, const std::vector<double>& k, const std::vector<double>& v) {
    const auto n = static_cast<index_t>(k.size());
    attention_inputs in{tensor<double>({1, 1, 1, 1}, q), tensor<double>({1, 1, n, 1}), tensor<double>({1, 1, n, 1}),
                        tensor<double>({1, 1, 1, 1}, 1.0)};
    in.k.data = k;
    in.v.data = v;
    return in;
}

struct expected_row {
    double out, lse;
};
void expect_row(const attention_case& c, const attention_inputs& in, expected_row e) {
    const auto narrow = plain_forward<float>(c, in);
    const auto r = plain_forward<double>(c, in);
    const auto wide = plain_forward<long double>(c, in);
    EXPECT_NEAR(r.out(0, 0, 0, 0), e.out, 1e-14);
    EXPECT_NEAR(r.lse(0, 0, 0), e.lse, 1e-14);
    EXPECT_NEAR(static_cast<double>(narrow.out(0, 0, 0, 0)), e.out, 1e-5);
    EXPECT_NEAR(static_cast<double>(wide.out(0, 0, 0, 0)), e.out, 1e-14);
    EXPECT_NEAR(static_cast<double>(wide.lse(0, 0, 0)), e.lse, 1e-14);
}

const double log3 = std::log(3.0);

TEST(features, scale_multiplies_the_product) {
    attention_case c = lengths(1, 2);
    c.scale = 0.25;
    expect_row(c, row_of(2.0, {0.0, 2.0 * log3}, {4.0, 8.0}), {7.0, std::log(4.0)}); // weights 1 and 3
    c.scale = -0.25;
    expect_row(c, row_of(2.0, {0.0, 2.0 * log3}, {4.0, 8.0}), {5.0, std::log(4.0 / 3.0)});
    c.scale = 0.0;
    expect_row(c, row_of(2.0, {0.0, 9.0}, {4.0, 8.0}), {6.0, std::log(2.0)});
}

/// A common logit of 1000 changes no weight: without the maximum exp overflows.
TEST(features, the_maximum_is_taken_off) {
    attention_case c = lengths(1, 2);
    for (const double shift : {1000.0, -1000.0}) {
        const auto r = plain_forward<double>(c, row_of(1.0, {shift, shift + 1.0}, {0.0, 1.0}));
        EXPECT_NEAR(r.out(0, 0, 0, 0), std::exp(1.0) / (1.0 + std::exp(1.0)), 1e-14);
        EXPECT_NEAR(r.lse(0, 0, 0), shift + std::log(1.0 + std::exp(1.0)), 1e-12);
    }
}

TEST(features, softcap_bends_the_scaled_score) {
    attention_case c = lengths(1, 2);
    c.scale = 0.5;
    c.softcap = 3.0;
    const double bent = 3.0 * std::tanh(2.0 / 3.0); // of a score of 2
    const double sum = 1.0 + std::exp(bent);
    const auto in = row_of(4.0, {0.0, 1.0}, {0.0, 1.0});
    expect_row(c, in, {std::exp(bent) / sum, std::log(sum)});
    // d out / d q = P0·P1 · (1 - tanh²) · scale · k
    const double t = std::tanh(2.0 / 3.0);
    EXPECT_NEAR(plain_backward<double>(c, in).dq(0, 0, 0, 0), std::exp(bent) / sum / sum * (1.0 - t * t) * 0.5, 1e-15);
}

TEST(features, alibi_falls_with_the_distance) {
    attention_case c = lengths(1, 4); // the row stands at key 3
    c.slopes = {log3};
    expect_row(c, row_of(0.0, {0, 0, 0, 0}, {1.0, 0.0, 0.0, 0.0}), {1.0 / 40.0, std::log(40.0 / 27.0)});
    c.align = anchor::explicit_offset; // between keys 1 and 3: |1 - j|
    c.offset = 1;
    expect_row(c, row_of(0.0, {0, 0, 0, 0}, {0.0, 9.0, 0.0, 0.0}), {9.0 * 9.0 / 16.0, std::log(16.0 / 9.0)});
}

/// Slopes of each batch; their gradient -Σ dS·distance, here with P = 1/4 and 3/4 and dO·(v - o) = -3 and 1.
TEST(features, slopes_of_batches_and_their_gradients) {
    attention_case c = lengths(1, 2); // the row stands at key 1
    c.batch = 2;
    c.q_heads = 2;
    c.kv_heads = 1;
    c.scale = 0.0;
    c.slopes = {log3, 0.0, 0.0, log3};
    attention_inputs in{tensor<double>(c.q_extent()), tensor<double>(c.k_extent()), tensor<double>(c.v_extent()),
                        tensor<double>(c.out_extent(), 1.0)};
    in.v.data = {4.0, 8.0, 4.0, 8.0};
    const auto r = plain_forward<double>(c, in);
    EXPECT_NEAR(r.out(0, 0, 0, 0), 7.0, 1e-14);
    EXPECT_NEAR(r.out(0, 1, 0, 0), 6.0, 1e-14);
    EXPECT_NEAR(r.out(1, 0, 0, 0), 6.0, 1e-14);
    EXPECT_NEAR(r.out(1, 1, 0, 0), 7.0, 1e-14);
    const std::vector<double> steep = plain_backward<double>(c, in).dslopes;
    ASSERT_EQ(steep.size(), 4U);
    const double sloped = -0.25 * (4.0 - 7.0);
    const double flat = -0.5 * (4.0 - 6.0);
    for (const auto& [n, expected] : {std::pair(0, sloped), {1, flat}, {2, flat}, {3, sloped}})
        EXPECT_NEAR(steep[static_cast<std::size_t>(n)], expected, 1e-14) << n;
    c.slopes = {log3, 0.0}; // of heads: summed over batches
    const auto shared = plain_backward<double>(c, in);
    ASSERT_EQ(shared.dslopes.size(), 2U);
    EXPECT_NEAR(shared.dslopes[0], 2.0 * sloped, 1e-14);
    EXPECT_NEAR(shared.dslopes[1], 2.0 * flat, 1e-14);
}

TEST(features, bias_is_added_after_the_scale) {
    attention_case c = lengths(1, 2);
    c.scale = 100.0;
    c.bias = tensor<double>({1, 1, 1, 2});
    c.bias.data = {log3, 0.0};
    const auto in = row_of(0.0, {1.0, 1.0}, {4.0, 8.0});
    expect_row(c, in, {5.0, std::log(4.0)});
    // d out / d bias = P·(v - o)
    const auto g = plain_backward<double>(c, in);
    EXPECT_NEAR(g.dbias.data[0], 0.75 * (4.0 - 5.0), 1e-14);
    EXPECT_NEAR(g.dbias.data[1], 0.25 * (8.0 - 5.0), 1e-14);
    c.bias.data[1] = -infinity;
    expect_row(c, in, {4.0, log3});
}

TEST(features, a_sink_takes_weight_and_gives_none) {
    attention_case c = lengths(1, 2);
    c.sinks = {std::log(6.0)};
    const auto in = row_of(0.0, {1.0, 1.0}, {4.0, 8.0});
    expect_row(c, in, {12.0 / 8.0, std::log(8.0)});
    EXPECT_NEAR(plain_backward<double>(c, in).dsinks[0], -0.75 * 1.5, 1e-14);
    c.sinks = {-infinity}; // is none
    expect_row(c, in, {6.0, std::log(2.0)});
    EXPECT_EQ(plain_backward<double>(c, in).dsinks[0], 0.0);
}

/// A row that sees no key has the weight of the sink alone, and nothing to give.
TEST(features, a_sink_alone) {
    attention_case c = lengths(1, 2);
    c.key_lengths = {0};
    c.sinks = {0.25};
    const auto in = row_of(1.0, {1.0, 1.0}, {4.0, 8.0});
    expect_row(c, in, {0.0, 0.25});
    const auto g = plain_backward<double>(c, in);
    EXPECT_EQ(g.dsinks[0], 0.0);
    EXPECT_EQ(g.dv.data, (std::vector<double>{0.0, 0.0}));
    c.sinks = {-infinity};
    EXPECT_EQ(plain_forward<double>(c, in).lse(0, 0, 0), -infinity);
    EXPECT_EQ(plain_forward<double>(c, in).out(0, 0, 0), 0.0);
}

TEST(features, weights_multiply_after_the_sum) {
    attention_case c = lengths(1, 2);
    c.weight = tensor<double>({1, 1, 1, 2});
    c.weight.data = {0.0, 2.0};
    const auto in = row_of(0.0, {1.0, 1.0}, {4.0, 8.0});
    expect_row(c, in, {8.0, std::log(2.0)});
    const auto g = plain_backward<double>(c, in);
    EXPECT_EQ(g.dv(0, 0, 0, 0), 0.0);
    EXPECT_NEAR(g.dv(0, 0, 1, 0), 1.0, 1e-15);
}

/// Four query heads to two of keys: 0 and 1 see the first. Their gradients add up; batches do not.
TEST(features, query_heads_share_their_keys) {
    attention_case c;
    c.batch = 2;
    c.q_heads = 4;
    c.kv_heads = 2;
    attention_inputs in{tensor<double>(c.q_extent(), 1.0), tensor<double>(c.k_extent(), 1.0),
                        tensor<double>(c.v_extent()), tensor<double>(c.out_extent())};
    in.v.data = {10.0, 20.0, 30.0, 40.0};
    in.dout.data = {1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0};
    const auto r = plain_forward<double>(c, in);
    EXPECT_EQ(r.out.data, (std::vector<double>{10, 10, 20, 20, 30, 30, 40, 40}));
    EXPECT_EQ(plain_backward<double>(c, in).dv.data, (std::vector<double>{3, 12, 48, 192}));
}

/// Two rows and a key: dK adds over rows, dQ does not; both carry the scale.
TEST(features, gradients_carry_the_scale) {
    attention_case c = lengths(2, 2);
    c.scale = 0.5;
    attention_inputs in{tensor<double>(c.q_extent()), tensor<double>(c.k_extent()), tensor<double>(c.v_extent()),
                        tensor<double>(c.out_extent())};
    in.q.data = {0.0, 0.0};
    in.k.data = {2.0, 6.0};
    in.v.data = {1.0, 5.0}; // P is 1/2 everywhere, out is 3
    in.dout.data = {1.0, 10.0};
    const auto g = plain_backward<double>(c, in);
    // dS = P·(dO·v - dO·out) = dO·(-1, 1)
    EXPECT_EQ(g.dq.data, (std::vector<double>{0.5 * (6.0 - 2.0), 10.0 * 0.5 * (6.0 - 2.0)}));
    EXPECT_EQ(g.dk.data, (std::vector<double>{0.0, 0.0})); // q is 0
    EXPECT_EQ(g.dv.data, (std::vector<double>{5.5, 5.5}));
    in.k.data = {0.0, 0.0};
    in.q.data = {2.0, 3.0};
    const auto of_keys = plain_backward<double>(c, in);
    EXPECT_EQ(of_keys.dk.data, (std::vector<double>{-0.5 * (2.0 + 30.0), 0.5 * (2.0 + 30.0)}));
    EXPECT_EQ(of_keys.dq.data, (std::vector<double>{0.0, 0.0}));
}

/// P of three equal keys, rounded to the 11 and 8 bits of a 16-bit type before it meets V.
TEST(features, p_is_rounded_where_asked) {
    const attention_case c = lengths(1, 3);
    const auto in = row_of(0.0, {1.0, 1.0, 1.0}, {1.0, 0.0, 0.0});
    const auto out = [&](p_rounding how) {
        return static_cast<double>(plain_forward<float>(c, in, how).out(0, 0, 0, 0));
    };
    EXPECT_NEAR(out(p_rounding::none), 1.0 / 3.0, 1e-7);
    EXPECT_EQ(out(p_rounding::to_float16), 1365.0 / 4096.0);
    EXPECT_EQ(out(p_rounding::to_bfloat16), 171.0 / 512.0);
    EXPECT_NEAR(static_cast<double>(plain_forward<float>(c, in, p_rounding::to_bfloat16).lse(0, 0, 0)), log3, 1e-6);
}

/// The library's words for a mask say the same.
TEST(features, masks_are_translated) {
    attention_case c = lengths(3, 4);
    EXPECT_EQ(mask_of(c).left, unbounded);
    EXPECT_EQ(mask_of(c).right, unbounded);
    EXPECT_EQ(mask_of(c).align, alignment::bottom_right);
    c.left = 3;
    c.right = 0;
    c.align = anchor::top_left;
    EXPECT_EQ(mask_of(c).left, 3);
    EXPECT_EQ(mask_of(c).right, 0);
    EXPECT_EQ(mask_of(c).align, alignment::top_left);
    c.align = anchor::explicit_offset;
    c.offset = -2;
    EXPECT_EQ(mask_of(c).align, alignment::explicit_offset);
    EXPECT_EQ(mask_of(c).offset, -2);
}

} // namespace
} // namespace pantile::test
