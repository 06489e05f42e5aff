// The numbers of explain and explain_backward, exactly, in all types: by hand on a small call, and counted pair by pair on any.
// And its words, in full.
#include <sstream>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

/// Nothing is read.
template <class In>
explanation explained(const std::array<extents, 3>& of, const options& o, bool backward) {
    static const In number{};
    const auto view = [&](std::size_t n) { return strided(&number, of[n], {0, 0, 0, 0}); };
    return backward ? explain_backward(view(0), view(1), view(2), o) : explain(view(0), view(1), view(2), o);
}

explanation explained(dtype t, const std::array<extents, 3>& of, const options& o, bool backward = false) {
    switch (t) {
    case dtype::fp64:
        return explained<double>(of, o, backward);
    case dtype::fp32:
        return explained<float>(of, o, backward);
    case dtype::fp16:
        return explained<float16>(of, o, backward);
    case dtype::bf16:
        return explained<bfloat16>(of, o, backward);
    case dtype::fp8:
        break;
    }
    return {};
}

constexpr dtype types[] = {dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16};
index_t size_of(dtype t) { return t == dtype::fp64 ? 8 : t == dtype::fp32 ? 4 : 2; }
index_t computed_bytes_of(dtype t) { return t == dtype::fp64 ? 8 : 4; }

/// q (1, 2, 4, 2), k (1, 1, 8, 2), v (1, 1, 8, 3).
constexpr std::array<extents, 3> small_call{extents{1, 2, 4, 2}, extents{1, 1, 8, 2}, extents{1, 1, 8, 3}};

TEST(explain_numbers, forward_by_hand) {
    // Causal: rows 0 to 3 see 5, 6, 7 and 8 keys. Two rows a tile, three keys a tile: rows 0 and 1 need keys 0 to 5, rows 2 and
    // 3 all 8, together 14 a head. Of 2 heads: Q 2·4·2, K 2·14·2, V 2·14·3, out 2·4·3, lse 2·4.
    core::traffic t;
    t.q.reads = 16;
    t.k.reads = 56;
    t.v.reads = 84;
    t.out.writes = 24;
    t.lse.writes = 8;
    for (const dtype type : types) {
        const explanation e = explained(type, small_call, {.mask = causal(), .threads = 1, .plan = tile_plan{2, 3, 1}});
        EXPECT_EQ(e.machine, "cpu");
        EXPECT_EQ(e.kernel, "tile");
        EXPECT_EQ(e.threads, 1);
        EXPECT_EQ(e.tiles.row_tile, 2);
        EXPECT_EQ(e.tiles.key_tile, 3);
        EXPECT_EQ(e.tiles.key_splits, 1);
        EXPECT_EQ(e.traffic, t);
        EXPECT_EQ(e.read_bytes, 156 * size_of(type));
        EXPECT_EQ(e.write_bytes, 24 * size_of(type) + 8 * computed_bytes_of(type));
        EXPECT_EQ(e.flops, 2 * 26 * 10.0); // 26 pairs a head, (2 + 3) multiplications and additions each
        EXPECT_EQ(e.note, "");
    }
}

TEST(explain_numbers, few_rows_by_hand) {
    // One row of each head against all 8 keys. Both heads share K and V, which pass once.
    core::traffic t;
    t.q.reads = 4;
    t.k.reads = 16;
    t.v.reads = 24;
    t.out.writes = 6;
    t.lse.writes = 2;
    std::array<extents, 3> one_row = small_call;
    one_row[0][2] = 1;
    for (const dtype type : types) {
        const explanation e = explained(type, one_row, {.mask = causal(), .threads = 1, .plan = tile_plan{0, 4, 2}});
        EXPECT_EQ(e.kernel, "decode");
        EXPECT_EQ(e.tiles.row_tile, 1);
        EXPECT_EQ(e.tiles.key_tile, 4);
        EXPECT_EQ(e.tiles.key_splits, 2);
        EXPECT_EQ(e.traffic, t);
        EXPECT_EQ(e.read_bytes, 44 * size_of(type));
        EXPECT_EQ(e.write_bytes, 6 * size_of(type) + 2 * computed_bytes_of(type));
        EXPECT_EQ(e.flops, 160.0);
    }
}

TEST(explain_numbers, backward_by_hand) {
    // No mask, three keys a tile: all 4 rows pass by 3 times, 12 a head. Of 2 heads: delta from out and dout, 4 rows of 3
    // each; then Q 12·2, dout 12·3, lse 12, delta 12, dQ 12·2 read and written, which before were 4·2 zeroed, and are 4·2
    // read and converted at the end; K and V of each head once; dK and dV of each head once.
    core::traffic t;
    t.q.reads = 48;
    t.k.reads = 32;
    t.v.reads = 48;
    t.out.reads = 24;
    t.dout.reads = 24 + 72;
    t.lse.reads = 24;
    t.delta = {24, 8};
    t.dq = {48 + 16, 16 + 48 + 16};
    t.dk.writes = 32;
    t.dv.writes = 48;
    for (const dtype type : types) {
        const explanation e = explained(type, small_call, {.threads = 1, .plan = tile_plan{1, 3, 1}}, true);
        const index_t size = size_of(type);
        const index_t computed = computed_bytes_of(type);
        EXPECT_EQ(e.machine, "cpu");
        EXPECT_EQ(e.kernel, "backward");
        EXPECT_EQ(e.threads, 1);
        EXPECT_EQ(e.tiles.key_tile, 3);
        EXPECT_EQ(e.tiles.key_splits, 1);
        EXPECT_EQ(e.traffic, t);
        EXPECT_EQ(e.read_bytes, 248 * size + 112 * computed);
        EXPECT_EQ(e.write_bytes, 80 * size + 88 * computed);
        EXPECT_EQ(e.flops, 64 * 24.0); // 64 pairs; S, dQ, dK of 2 dims each, dP and dV of 3
        EXPECT_EQ(e.note, "");
    }
}

/// Pairs that the masks of a case let through, by their definition.
struct pairs {
    explicit pairs(const attention_case& c) : case_(c) {}
    [[nodiscard]] index_t keys(index_t b) const {
        return case_.key_lengths.empty() ? case_.k_len : case_.key_lengths[static_cast<std::size_t>(b)];
    }
    [[nodiscard]] bool visible(index_t b, index_t i, index_t j) const {
        const index_t offset = case_.align == anchor::top_left       ? 0
                               : case_.align == anchor::bottom_right ? keys(b) - case_.q_len
                                                                     : case_.offset;
        if (j >= keys(b)) return false;
        return (!case_.left || j >= i + offset - *case_.left) && (!case_.right || j <= i + offset + *case_.right);
    }
    [[nodiscard]] bool visible(index_t b, index_t i0, index_t i1, index_t j0, index_t j1) const {
        for (index_t i = i0; i < i1; ++i) {
            for (index_t j = j0; j < j1; ++j) {
                if (visible(b, i, j)) return true;
            }
        }
        return false;
    }

  private:
    const attention_case& case_;
};

/// Keys that row tiles read and rows that key tiles read, of one head of every batch, and all visible pairs.
struct counted {
    index_t keys = 0, rows = 0, pairs = 0, all_keys = 0;
};
counted count(const attention_case& c, const tile_plan& tiles) {
    counted n;
    const pairs p(c);
    for (index_t b = 0; b < c.batch; ++b) {
        const index_t keys = p.keys(b);
        n.all_keys += keys;
        for (index_t i = 0; i < c.q_len; ++i) {
            for (index_t j = 0; j < keys; ++j) n.pairs += p.visible(b, i, j) ? 1 : 0;
        }
        for (index_t i = 0; i < c.q_len; i += tiles.row_tile) {
            const index_t row_end = std::min(i + tiles.row_tile, c.q_len);
            for (index_t j = 0; j < keys; j += tiles.key_tile) {
                const index_t key_end = std::min(j + tiles.key_tile, keys);
                if (!p.visible(b, i, row_end, j, key_end)) continue;
                n.keys += key_end - j;
                n.rows += row_end - i;
            }
        }
    }
    return n;
}

RC_GTEST_PROP(explain_numbers, forward_is_what_the_tiles_of_the_plan_read, ()) {
    const attention_case c = *any_case();
    call_style s = *any_style();
    const explanation e = explained(s.type, {c.q_extent(), c.k_extent(), c.v_extent()}, options_of(c, s));
    const index_t d = c.head_dim, v = c.value_dim, h = c.q_heads, rows = c.batch * c.q_heads * c.q_len;
    const counted n = count(c, e.tiles);
    // Few rows: the heads of a group are served by one pass over K and V.
    const index_t passes = e.kernel == "decode" ? c.kv_heads : h;
    RC_ASSERT(e.read_bytes == size_of(s.type) * (rows * d + passes * n.keys * (d + v)));
    RC_ASSERT(e.write_bytes == size_of(s.type) * rows * v + computed_bytes_of(s.type) * rows);
    RC_ASSERT(e.flops == static_cast<double>(2 * (d + v) * h * n.pairs));
    RC_ASSERT(e.traffic.total().reads * size_of(s.type) == e.read_bytes);
    if (s.plan) { // what is asked for is done
        const index_t most_keys = std::max(c.k_len, index_t{1});
        if (s.plan->key_tile > 0) RC_ASSERT(e.tiles.key_tile == std::min(s.plan->key_tile, most_keys));
        if (s.plan->row_tile > 0) RC_ASSERT(e.kernel == "tile");
        if (s.plan->row_tile > 0 && s.plan->row_tile <= c.q_len) RC_ASSERT(e.tiles.row_tile == s.plan->row_tile);
        const index_t key_tiles = (most_keys + e.tiles.key_tile - 1) / e.tiles.key_tile;
        if (s.plan->key_splits > 0) RC_ASSERT(e.tiles.key_splits == std::min(s.plan->key_splits, key_tiles));
    }
}

RC_GTEST_PROP(explain_numbers, backward_is_what_the_tiles_of_the_plan_read, ()) {
    const attention_case c = *any_case();
    const call_style s = *any_style();
    const explanation e = explained(s.type, {c.q_extent(), c.k_extent(), c.v_extent()}, options_of(c, s), true);
    const index_t d = c.head_dim, v = c.value_dim, h = c.q_heads, rows = c.batch * c.q_heads * c.q_len;
    const counted n = count(c, e.tiles);
    const index_t size = size_of(s.type);
    const index_t computed = computed_bytes_of(s.type);
    RC_ASSERT(e.kernel == "backward");
    const index_t inputs = h * n.all_keys * (d + v) + h * n.rows * (d + v) + 2 * rows * v;
    const index_t sums_read = h * n.rows * (d + 2) + rows * d;
    const index_t sums_written = h * n.rows * d + 2 * rows * d + rows;
    RC_ASSERT(e.read_bytes == size * inputs + computed * sums_read);
    RC_ASSERT(e.write_bytes == size * h * n.all_keys * (d + v) + computed * sums_written);
    RC_ASSERT(e.flops == static_cast<double>((6 * d + 4 * v) * h * n.pairs));
    RC_ASSERT(e.threads >= 1);
    if (s.threads > 0) RC_ASSERT(e.threads <= s.threads);
    if (s.plan && s.plan->key_tile > 0) {
        RC_ASSERT(e.tiles.key_tile == std::min(s.plan->key_tile, std::max(c.k_len, index_t{1})));
    }
    // AMX serves forward calls only.
    if (s.set != isa::automatic) RC_ASSERT(e.isa == name(s.set == isa::amx ? isa::avx512 : s.set));
}

/// Chunks of keys of a backward call: enough for 16 pieces of work, at most 8, none of fewer than 512 keys.
TEST(explain_numbers, backward_chunks_follow_from_shapes) {
    const auto chunks = [](index_t batch, index_t heads, index_t keys, int threads) {
        const extents e{batch, heads, keys, 16};
        return explained(dtype::fp32, {e, e, e}, {.threads = threads}, true).tiles.key_splits;
    };
    for (const int threads : {1, 2, 3}) { // which do not count
        EXPECT_EQ(chunks(1, 1, 1023, threads), 1);
        EXPECT_EQ(chunks(1, 1, 1024, threads), 2);
        EXPECT_EQ(chunks(1, 1, 2048, threads), 4);
        EXPECT_EQ(chunks(1, 1, 4096, threads), 8);
        EXPECT_EQ(chunks(1, 1, 8192, threads), 8);
        EXPECT_EQ(chunks(1, 4, 8192, threads), 4);
        EXPECT_EQ(chunks(2, 4, 8192, threads), 2);
        EXPECT_EQ(chunks(1, 16, 8192, threads), 1);
    }
}

/// A workspace of the told size is enough and one byte less is refused, in every type; the results are the same bits.
template <class In, class Out, class Stat>
void workspace_is_exact(const attention_case& c, const attention_inputs& in, options o) {
    const stored<In> q(in.q, layout::bhsd), k(in.k, layout::bhsd), v(in.v, layout::bhsd), dout(in.dout, layout::bhsd);
    stored<Out> out(c.out_extent(), layout::bhsd);
    stored<Stat> lse(c.lse_extent(), layout::bhsd);
    std::vector<std::byte> memory;
    const auto expect_exact = [&](const explanation& e, const auto& call, const auto& result) {
        o.workspace = {};
        call();
        const tensor<double> expected = result.values();
        memory.assign(static_cast<std::size_t>(e.workspace_bytes), std::byte{0xff}); // NaN in every type
        o.workspace = memory;
        call();
        const tensor<double> again = result.values();
        for (std::size_t n = 0; n < expected.data.size(); ++n) {
            RC_ASSERT(__builtin_bit_cast(std::uint64_t, again.data[n]) ==
                      __builtin_bit_cast(std::uint64_t, expected.data[n]));
        }
        o.workspace = std::span<std::byte>(memory.data(), memory.size() - 1);
        RC_ASSERT_THROWS_AS(call(), invalid_argument);
    };
    const explanation forward = explain(q.view(), k.view(), v.view(), o);
    const explanation backward = explain_backward(q.view(), k.view(), v.view(), o);
    RC_ASSERT(forward.workspace_bytes > 0 && backward.workspace_bytes > 0);
    expect_exact(
        forward, [&] { attention(q.view(), k.view(), v.view(), out.view(), lse.rows(), o); }, out);
    expect_exact(
        forward, [&] { attention(q.view(), k.view(), v.view(), out.view(), o); }, out);
    stored<Stat> part(c.out_extent(), layout::bhsd), max(c.lse_extent(), layout::bhsd),
        sum(c.lse_extent(), layout::bhsd);
    const partial_view<Stat> view{part.view(), max.rows(), sum.rows()};
    expect_exact(
        forward, [&] { attention_partial(q.view(), k.view(), v.view(), view, o); }, part);

    const stored<In> given(out.values(), layout::bhsd);
    stored<Out> dq(c.q_extent(), layout::bhsd), dk(c.k_extent(), layout::bhsd), dv(c.v_extent(), layout::bhsd);
    const auto backward_call = [&] {
        attention_backward(q.view(), k.view(), v.view(), given.view(), lse.rows(), dout.view(), dq.view(), dk.view(),
                           dv.view(), o);
    };
    expect_exact(backward, backward_call, dq);
    expect_exact(backward, backward_call, dk);
    expect_exact(backward, backward_call, dv);
}

RC_GTEST_PROP(explain_numbers, workspace_is_exact_in_every_type, (std::uint64_t seed)) {
    const attention_case c = *any_case({.length = 60, .dim = 40, .empty = false});
    const call_style s = *any_style();
    const attention_inputs in = make_inputs(c, s.type, data_kind::normal, seed);
    const options o = options_of(c, s);
    switch (s.type) {
    case dtype::fp64:
        return workspace_is_exact<double, double, double>(c, in, o);
    case dtype::fp32:
        return workspace_is_exact<float, float, float>(c, in, o);
    case dtype::fp16:
        return s.wide_out ? workspace_is_exact<float16, float, float>(c, in, o)
                          : workspace_is_exact<float16, float16, float>(c, in, o);
    case dtype::bf16:
        return s.wide_out ? workspace_is_exact<bfloat16, float, float>(c, in, o)
                          : workspace_is_exact<bfloat16, bfloat16, float>(c, in, o);
    case dtype::fp8:
        break;
    }
}

/// A row's splits share memory: {out, max, sum} of each row and split in the precision computed in, beside the scratch.
TEST(explain_numbers, splits_cost_their_partial_results) {
    const extents q{2, 3, 1, 16}, k{2, 3, 64, 16}, v{2, 3, 64, 10};
    for (const dtype type : types) {
        const auto bytes = [&](index_t splits) {
            return explained(type, {q, k, v}, {.threads = 1, .plan = tile_plan{0, 8, splits}}).workspace_bytes;
        };
        const auto shared = [&](index_t splits) { return splits * 6 * (10 + 2) * computed_bytes_of(type); };
        for (const index_t splits : {2, 3, 8}) {
            EXPECT_EQ(bytes(splits) - bytes(1), core::round_up(shared(splits), 64)) << splits;
        }
    }
}

TEST(explain_words, of_a_call_with_all_there_is) {
    explanation e;
    e.machine = "cpu";
    e.isa = "avx2";
    e.kernel = "decode";
    e.tiles = {12, 256, 3};
    e.threads = 4;
    e.workspace_bytes = 1'572'864;
    e.read_bytes = 10'485'760;
    e.write_bytes = 262'144;
    e.flops = 1'234'567'890.0;
    e.note = "amx is not used: a reason";
    EXPECT_EQ(to_string(e), "machine    cpu, avx2, decode kernel, 4 threads\n"
                            "tiles      12 rows x 256 keys, keys in 3 splits\n"
                            "workspace  1.50 MiB\n"
                            "reads      10.00 MiB, writes 0.25 MiB (predicted)\n"
                            "work       1.23 GFLOP\n"
                            "note       amx is not used: a reason");
}

TEST(explain_words, of_a_plain_call) {
    explanation e;
    e.machine = "cpu";
    e.isa = "baseline";
    e.kernel = "backward";
    e.tiles = {8, 16, 1};
    e.workspace_bytes = 5243; // 0.005 MiB and a little
    e.read_bytes = 1'048'576;
    e.write_bytes = 2'097'152;
    e.flops = 4.996e9;
    const std::string text = "machine    cpu, baseline, backward kernel, 1 thread\n"
                             "tiles      8 rows x 16 keys\n"
                             "workspace  0.01 MiB\n"
                             "reads      1.00 MiB, writes 2.00 MiB (predicted)\n"
                             "work       5.00 GFLOP";
    EXPECT_EQ(to_string(e), text);
    e.tiles.key_splits = 2;
    EXPECT_NE(to_string(e).find("16 keys, keys in 2 splits\n"), std::string::npos);
    e.tiles.key_splits = 1;
    // The stream's own format stays, and does not matter.
    std::ostringstream stream;
    stream.precision(17);
    stream.setf(std::ios::scientific | std::ios::showpos);
    stream << e << 0.5;
    EXPECT_EQ(stream.str(), text + "+5.00000000000000000e-01");
}

} // namespace
} // namespace pantile::test
