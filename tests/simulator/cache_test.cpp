// Caches by hand, caches against closed forms, and the shared cache of concurrent blocks.

#include <gtest/gtest.h>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

cache_level level(index_t bytes, index_t ways, index_t line = 64) {
    cache_level l;
    l.name = "L";
    l.bytes = bytes;
    l.ways = ways;
    l.line_bytes = line;
    return l;
}

TEST(cache, two_ways_by_hand) {
    cache c(level(256, 2), true); // two sets of two lines
    EXPECT_FALSE(c.access(0, false).hit);
    EXPECT_FALSE(c.access(2, true).hit);
    EXPECT_TRUE(c.access(0, false).hit);
    const cache::outcome o = c.access(4, false); // evicts 2, which is dirty
    EXPECT_FALSE(o.hit);
    EXPECT_TRUE(o.evicted_dirty);
    EXPECT_EQ(o.evicted, 2U);
    EXPECT_FALSE(c.access(2, false).hit); // a fully associative cache of four lines would have kept it
    EXPECT_EQ(c.seen().compulsory, 3);
    EXPECT_EQ(c.seen().conflict, 1);
    EXPECT_EQ(c.seen().capacity, 0);
    EXPECT_EQ(c.seen().misses(), 4);
    EXPECT_EQ(c.seen().write_backs, 1);
    EXPECT_TRUE(c.flush().empty());
    EXPECT_THROW(cache(level(100, 2)), invalid_argument);
}

TEST(cache, streaming_more_than_fits_misses_every_time) {
    cache c(level(4096, 64), true); // fully associative, 64 lines
    for (int pass = 0; pass < 3; ++pass) {
        for (std::uint64_t line = 0; line < 65; ++line) static_cast<void>(c.access(line, false));
    }
    EXPECT_EQ(c.seen().read_misses, 3 * 65);
    EXPECT_EQ(c.seen().compulsory, 65);
    EXPECT_EQ(c.seen().capacity, 2 * 65);
}

experiment aligned() {
    experiment e;
    e.what = workload::square(256, 64, 4);
    e.what.kv_heads = 2;
    e.what.type = dtype::fp32; // rows of 256 bytes: whole lines
    e.plan = {64, 32, 1};
    return e;
}

// Three speeds, one answer: closed form == walk == lines, for every algorithm and pass.
TEST(cache, lines_asked_for_are_the_bytes_counted) {
    for (const algorithm* a : algorithms()) {
        for (const pass which : {pass::forward, pass::backward}) {
            if (!a->has(which)) continue;
            SCOPED_TRACE(std::string(a->name()) + ' ' + std::string(name(which)));
            experiment e = aligned();
            e.which = which;
            e.plan.key_splits = 3;
            e.what.devices = a->distributed() ? 2 : 1;
            const cached_run r = run_cached(*a, e, {level(index_t{1} << 26, 16)});
            const core::transfers bytes = a->formula(e.what, which, e.plan).bytes(e.what.type);
            EXPECT_EQ(r.result.moved.bytes(e.what.type), bytes);
            EXPECT_EQ(r.levels[0].reads * 64, bytes.reads);
            EXPECT_EQ(r.levels[0].writes * 64, bytes.writes);
        }
    }
}

// A cache that holds everything lets through each tensor once; one that holds less than a tile lets through what is counted.
TEST(cache, large_and_tiny_caches_meet_the_two_models) {
    const algorithm& fa2 = find_algorithm("fa2");
    const experiment e = aligned();
    const cached_run large = run_cached(fa2, e, {level(index_t{1} << 26, 16)}, true);
    const auto volume = [&](tensor t) {
        const auto [places, rows, columns] = shape_of(t, e.what);
        return places * rows * columns * bytes_of(t, e.what.type);
    };
    const index_t inputs = volume(tensor::q) + volume(tensor::k) + volume(tensor::v);
    const index_t outputs = volume(tensor::out) + volume(tensor::lse);
    EXPECT_EQ(large.memory_bytes_read, inputs + outputs); // write-allocate reads an output line first
    EXPECT_EQ(large.memory_bytes_written, outputs);
    EXPECT_EQ(large.levels[0].compulsory, large.levels[0].misses());
    EXPECT_EQ(static_cast<double>(inputs + outputs), compulsory_bytes(e.what, e.which));

    const cached_run tiny = run_cached(fa2, e, {level(1024, 16)});
    const core::transfers counted = large.result.moved.bytes(e.what.type);
    EXPECT_EQ(tiny.levels[0].read_misses * 64, counted.reads);
    EXPECT_EQ(tiny.memory_bytes_written, counted.writes);
}

TEST(cache, a_chain_filters_level_by_level) {
    const experiment e = aligned();
    const cached_run r = run_cached(find_algorithm("fa1"), e, {level(32768, 8), level(262144, 16)});
    EXPECT_EQ(r.levels[1].reads, r.levels[0].misses());
    EXPECT_EQ(r.levels[1].writes, r.levels[0].write_backs);
    EXPECT_EQ(r.memory_bytes_written, r.levels[1].write_backs * 64);
    EXPECT_GT(r.levels[1].reads, r.memory_bytes_read / 64);
}

TEST(cache, packed_heads_touch_the_same_memory) {
    experiment e = aligned();
    e.plan.row_tile = 512; // one row tile a head, or one a group
    const cached_run plain = run_cached(find_algorithm("fa2"), e, {level(index_t{1} << 26, 16)});
    e.what.packed_heads = true;
    const cached_run packed = run_cached(find_algorithm("fa2"), e, {level(index_t{1} << 26, 16)});
    EXPECT_EQ(plain.memory_bytes_read, packed.memory_bytes_read);
    EXPECT_EQ(plain.memory_bytes_written, packed.memory_bytes_written);
    EXPECT_GT(plain.levels[0].reads, packed.levels[0].reads);
}

l2_request shared(index_t keys, index_t cache_bytes, block_order order) {
    l2_request r;
    r.what = workload::square(keys, 128);
    r.what.q_len = 4096;
    r.plan = {128, 64, 1};
    r.blocks_at_once = 8; // 32 row tiles: 4 waves
    r.bytes = cache_bytes;
    r.order = order;
    return r;
}

TEST(l2, waves_meet_their_closed_forms) {
    const index_t kv = 65536 * 256 * 2;
    for (const block_order order : {block_order::cyclic, block_order::sawtooth}) {
        for (const index_t capacity : {kv / 4, kv / 2, kv * 3 / 4, 2 * kv}) {
            const l2_result r = simulate_l2(shared(65536, capacity, order));
            EXPECT_EQ(r.asked_bytes, 32 * kv);
            EXPECT_EQ(r.unique_bytes, kv);
            ASSERT_TRUE(r.predicted_bytes.has_value());
            // Whole tiles: the turning point may hold one tile more or less a wave.
            EXPECT_NEAR(static_cast<double>(r.memory_bytes) / static_cast<double>(*r.predicted_bytes), 1, 0.005)
                << name(order) << ' ' << capacity;
        }
    }
    const l2_result thrashing = simulate_l2(shared(65536, kv / 2, block_order::cyclic));
    EXPECT_DOUBLE_EQ(thrashing.hit_rate(), 1 - 1.0 / 8); // 1 - 1/W
}

TEST(l2, halves_hold_copies) {
    const index_t kv = 65536 * 256 * 2;
    l2_request r = shared(65536, kv * 3 / 2, block_order::cyclic);
    EXPECT_EQ(simulate_l2(r).memory_bytes, kv); // fits whole
    r.halves = true;
    EXPECT_EQ(simulate_l2(r).memory_bytes, 4 * kv); // each half sees all of it and holds three quarters
}

TEST(l2, longest_first_keeps_the_processors_full) {
    l2_request r = shared(4096, index_t{1} << 20, block_order::longest_first);
    r.what.mask = causal();
    const l2_result longest = simulate_l2(r);
    r.order = block_order::cyclic;
    const l2_result in_order = simulate_l2(r);
    EXPECT_EQ(longest.asked_bytes, in_order.asked_bytes);
    EXPECT_FALSE(longest.predicted_bytes.has_value());
    EXPECT_EQ(longest.asked_bytes,
              find_algorithm("fa2").formula(r.what, pass::forward, r.plan)[tensor::k].reads * 2 * 2); // K and V, bf16
    EXPECT_THROW(static_cast<void>(parse_order("random")), invalid_argument);
}

} // namespace
} // namespace pantile::inline v0::simulator
