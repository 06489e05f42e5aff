// Caches against another one, written for this test: lists that are searched; address maps, chains and the shared cache by hand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <list>
#include <random>
#include <set>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

cache_level level(index_t sets, index_t ways, index_t line = 64) {
    cache_level l;
    l.name = "L";
    l.bytes = sets * ways * line;
    l.ways = ways;
    l.line_bytes = line;
    return l;
}

struct plain_lru {
    std::size_t ways;
    std::list<std::pair<std::uint64_t, bool>> lines; // most recent first; dirty
    /// (hit, the dirty line that left or none)
    std::pair<bool, std::optional<std::uint64_t>> access(std::uint64_t line, bool write) {
        for (auto at = lines.begin(); at != lines.end(); ++at) {
            if (at->first != line) continue;
            const bool dirty = at->second || write;
            lines.erase(at);
            lines.emplace_front(line, dirty);
            return {true, std::nullopt};
        }
        lines.emplace_front(line, write);
        if (lines.size() <= ways) return {false, std::nullopt};
        const auto [gone, dirty] = lines.back();
        lines.pop_back();
        return {false, dirty ? std::optional(gone) : std::nullopt};
    }
};

TEST(caches, any_sequence_meets_a_plain_list) {
    std::mt19937_64 random(8);
    for (const auto& [sets, ways] :
         std::initializer_list<std::pair<index_t, index_t>>{{1, 1}, {4, 1}, {1, 5}, {3, 2}, {8, 4}}) {
        cache subject(level(sets, ways), true);
        std::vector<plain_lru> own(static_cast<std::size_t>(sets), plain_lru{static_cast<std::size_t>(ways), {}});
        plain_lru whole{static_cast<std::size_t>(sets * ways), {}};
        std::set<std::uint64_t> seen;
        cache_counts c;
        for (int i = 0; i < 4000; ++i) {
            const std::uint64_t line = random() % static_cast<std::uint64_t>(2 * sets * ways + 3);
            const bool write = random() % 3 == 0;
            const bool allocating = !write && random() % 4 == 0;
            const auto [hit, gone] = own[line % static_cast<std::uint64_t>(sets)].access(line, write);
            const bool whole_hit = whole.access(line, write).first;
            const cache::outcome o = subject.access(line, write, allocating);
            ASSERT_EQ(o.hit, hit) << i;
            ASSERT_EQ(o.evicted_dirty, gone.has_value()) << i;
            if (gone) {
                ASSERT_EQ(o.evicted, *gone);
            }
            ++(write ? c.writes : c.reads);
            c.write_backs += gone ? 1 : 0;
            const bool fresh = seen.insert(line).second;
            if (hit) continue;
            ++(write ? c.write_misses : c.read_misses);
            c.allocating_misses += allocating ? 1 : 0;
            ++(fresh ? c.compulsory : whole_hit ? c.conflict : c.capacity);
        }
        EXPECT_EQ(subject.seen(), c) << sets << ' ' << ways;
        EXPECT_EQ(subject.seen().misses(), c.compulsory + c.capacity + c.conflict);
        std::vector<std::uint64_t> dirty;
        for (const plain_lru& s : own) {
            for (const auto& [line, is_dirty] : s.lines) {
                if (is_dirty) dirty.push_back(line);
            }
        }
        EXPECT_THAT(subject.flush(), ::testing::UnorderedElementsAreArray(dirty));
        EXPECT_EQ(subject.seen().write_backs, c.write_backs + static_cast<index_t>(dirty.size()));
        EXPECT_TRUE(subject.flush().empty()) << "clean after the first flush";
    }
}

TEST(caches, sizes_are_whole_sets) {
    for (const auto& [bytes, ways, line] : std::initializer_list<std::array<index_t, 3>>{
             {0, 2, 64}, {-128, 2, 64}, {100, 2, 64}, {192, 2, 64}, {128, 0, 64}, {128, 2, 0}}) {
        cache_level l = level(1, 1);
        l.bytes = bytes;
        l.ways = ways;
        l.line_bytes = line;
        try {
            const cache c(l);
            ADD_FAILURE() << bytes;
        } catch (const invalid_argument& e) {
            EXPECT_EQ(e.what(), "cache L has " + std::to_string(bytes) +
                                    " bytes: it must be a multiple of ways x line, " + std::to_string(ways * line));
        }
    }
}

// One line in the first level, two in the second.
TEST(chains, misses_go_down_and_dirty_lines_follow) {
    const workload w = workload::square(1, 1);
    cache_chain chain(w, {level(1, 1), level(1, 2)});
    chain.access(1, true);  // 1 is read down: memory 1. L1 {1*}, L2 {1}
    chain.access(2, false); // 1* leaves to L2 (a write that hits), 2 is read: memory 2. L1 {2}, L2 {2, 1*}
    chain.access(3, false); // 3 is read: memory 3; 1* leaves L2: memory write 1. L1 {3}, L2 {3, 2}
    chain.access(3, true);  // hits. L1 {3*}
    chain.access(2, false); // 3* to L2 (hit), 2 from L2 (hit). L1 {2}, L2 {2, 3*}
    const auto lines = [](std::size_t reads, std::size_t writes) {
        return std::make_pair(static_cast<index_t>(reads * 64), static_cast<index_t>(writes * 64));
    };
    EXPECT_EQ(std::make_pair(chain.memory_bytes_read(), chain.memory_bytes_written()), lines(3, 1));
    cache_counts first;
    first.reads = 3;
    first.writes = 2;
    first.read_misses = 3;
    first.write_misses = 1;
    first.write_backs = 2;
    EXPECT_EQ(chain.levels()[0].seen(), first);
    cache_counts second;
    second.reads = 4;
    second.writes = 2;
    second.read_misses = 3;
    second.allocating_misses = 1; // 1, for the write above
    second.write_backs = 1;
    EXPECT_EQ(chain.levels()[1].seen(), second);
    chain.access(4, true); // 4 is read; 3* leaves L2. L1 {4*}, L2 {4, 2}
    EXPECT_EQ(std::make_pair(chain.memory_bytes_read(), chain.memory_bytes_written()), lines(4, 2));
    chain.flush(); // 4* to L2, from there to memory
    EXPECT_EQ(std::make_pair(chain.memory_bytes_read(), chain.memory_bytes_written()), lines(4, 3));
    EXPECT_EQ(chain.levels()[0].seen().write_backs, 3);
    EXPECT_EQ(chain.levels()[1].seen().write_backs, 3);
}

TEST(chains, a_dirty_line_that_misses_below_is_not_read) {
    cache_chain chain(workload::square(1, 1), {level(1, 2), level(1, 1)});
    chain.access(1, true);  // L1 {1*}, L2 {1}
    chain.access(2, false); // L1 {2, 1*}, L2 {2}
    chain.access(3, false); // 1* leaves to L2, where 2 makes room: no read of 1. Then 3 is read, 1* goes to memory
    EXPECT_EQ(chain.memory_bytes_read(), 3 * 64);
    EXPECT_EQ(chain.memory_bytes_written(), 64);
    EXPECT_EQ(chain.levels()[1].seen().write_misses, 1);
}

TEST(chains, are_of_one_line_length) {
    const workload w = workload::square(1, 1);
    EXPECT_THROW(cache_chain(w, {}), invalid_argument);
    EXPECT_THROW(cache_chain(w, {level(1, 1, 64), level(1, 1, 128)}), invalid_argument);
    cache_chain wide(w, {level(1, 1, 128)});
    wide.access(0, false);
    EXPECT_EQ(wide.memory_bytes_read(), 128);
}

std::vector<std::pair<index_t, index_t>> runs(const address_map& map, const transfer& t) {
    std::vector<std::pair<index_t, index_t>> list;
    map.for_each_run(t, [&](index_t first, index_t bytes) { list.emplace_back(first, bytes); });
    return list;
}

TEST(addresses, tensors_follow_one_another_from_pages) {
    workload w = workload::square(100, 8, 4, 2); // bf16
    w.kv_heads = 2;
    const address_map map(w);
    using run = std::pair<index_t, index_t>;
    // q: 8 heads · 100 rows · 16 bytes = 12,800, four pages with their rest; k and v 4 · 100 · 16 = 6,400, two each.
    EXPECT_THAT(runs(map, {tensor::q, false, 0, {0, 2}, {0, 8}}), ElementsAre(run{0, 32}));
    EXPECT_THAT(runs(map, {tensor::q, false, 3, {10, 12}, {0, 8}}), ElementsAre(run{3 * 1600 + 160, 32}));
    EXPECT_THAT(runs(map, {tensor::k, false, 1, {5, 7}, {0, 8}}), ElementsAre(run{16384 + 1600 + 80, 32}));
    EXPECT_THAT(runs(map, {tensor::v, false, 0, {5, 7}, {2, 5}}), ElementsAre(run{24576 + 84, 6}, run{24576 + 100, 6}));
    EXPECT_THAT(runs(map, {tensor::out, true, 0, {0, 1}, {0, 8}}), ElementsAre(run{32768, 16}));
    EXPECT_THAT(runs(map, {tensor::lse, true, 1, {3, 5}, {0, 1}}), ElementsAre(run{49152 + 412, 8})); // fp32
    w.packed_heads = true; // row 5 of the second group: position 2 of its head 1, query head 3
    const address_map packed(w);
    EXPECT_THAT(runs(packed, {tensor::q, false, 1, {5, 7}, {0, 8}}),
                ElementsAre(run{3 * 1600 + 32, 16}, run{2 * 1600 + 48, 16}));
    EXPECT_THAT(runs(packed, {tensor::k, false, 1, {5, 7}, {0, 8}}), ElementsAre(run{16384 + 1680, 32}));
    // Partial results take room for each split.
    const index_t once = address_map(workload::square(4096, 4)).bytes();
    EXPECT_EQ(address_map(workload::square(4096, 4), 3).bytes(), once + 2 * 4096 * (4 * 4 + 3 * 4));
}

TEST(addresses, a_transfer_touches_every_line_of_its_runs) {
    workload w = workload::square(100, 8);
    w.type = dtype::fp32; // rows of 32 bytes
    cache_chain chain(w, {level(64, 4)});
    chain.moved({tensor::q, false, 0, {1, 4}, {0, 8}}); // bytes 32 to 127: two lines
    EXPECT_EQ(chain.levels()[0].seen().reads, 2);
    chain.moved({tensor::q, true, 0, {1, 2}, {0, 8}}); // bytes 32 to 63: one
    EXPECT_EQ(chain.levels()[0].seen().writes, 1);
    chain.moved({tensor::q, false, 0, {1, 1}, {0, 8}});
    EXPECT_EQ(chain.levels()[0].seen().reads, 2);
    chain.moved({tensor::q, false, 0, {2, 3}, {0, 1}}); // byte 64
    EXPECT_EQ(chain.levels()[0].seen().reads, 3);
}

/// `rows` row tiles of one row against three keys in tiles of one; K and V of a key 2·4·2 = 16 bytes.
l2_request small(index_t rows, index_t at_once, index_t bytes, block_order order = block_order::cyclic) {
    l2_request r;
    r.what = workload::square(3, 4);
    r.what.q_len = rows;
    r.plan = {1, 1, 1};
    r.blocks_at_once = at_once;
    r.bytes = bytes;
    r.order = order;
    return r;
}

TEST(l2_by_hand, waves_of_blocks) {
    // Four blocks, two at once, room for two of the three tiles: the second of each pair hits, each wave misses all three.
    const l2_result cyclic = simulate_l2(small(4, 2, 32));
    EXPECT_EQ(cyclic.asked_bytes, 12 * 16);
    EXPECT_EQ(cyclic.unique_bytes, 3 * 16);
    EXPECT_EQ(cyclic.memory_bytes, 6 * 16);
    EXPECT_EQ(cyclic.predicted_bytes, 2 * 48);
    EXPECT_DOUBLE_EQ(cyclic.hit_rate(), 0.5);
    // Back and forth: the second wave finds tiles 2 and 1, and misses 0.
    const l2_result sawtooth = simulate_l2(small(4, 2, 32, block_order::sawtooth));
    EXPECT_EQ(sawtooth.memory_bytes, 4 * 16);
    EXPECT_EQ(sawtooth.predicted_bytes, 48 + (48 - 32));
    // Three waves: 0 1 2, 2 1 0, 0 1 2.
    EXPECT_EQ(simulate_l2(small(6, 2, 32, block_order::sawtooth)).memory_bytes, 5 * 16);
    EXPECT_EQ(simulate_l2(small(5, 2, 32, block_order::sawtooth)).predicted_bytes, 48 + 2 * 16);
    // All fit: 48 bytes, and not a byte less.
    EXPECT_EQ(simulate_l2(small(4, 2, 48)).memory_bytes, 48);
    EXPECT_EQ(simulate_l2(small(4, 2, 48)).predicted_bytes, 48);
    EXPECT_EQ(simulate_l2(small(4, 2, 47)).memory_bytes, 96);
    EXPECT_EQ(simulate_l2(small(4, 2, 47)).predicted_bytes, 96);
    EXPECT_EQ(simulate_l2(small(4, 1, 32)).memory_bytes, 12 * 16); // one at a time: four waves
    EXPECT_EQ(simulate_l2(small(4, 4, 32)).memory_bytes, 3 * 16);  // all at once
}

TEST(l2_by_hand, halves_hold_copies_of_their_own) {
    l2_request r = small(2, 2, 96); // one block a half, each with room for all
    r.halves = true;
    EXPECT_EQ(simulate_l2(r).memory_bytes, 3 * 16); // the second half finds every tile in the first
    EXPECT_EQ(simulate_l2(r).predicted_bytes, 48);
    r = small(4, 2, 64); // 32 bytes a half: two of three tiles each
    r.halves = true;
    EXPECT_EQ(simulate_l2(r).memory_bytes, 2 * 48);
    EXPECT_EQ(simulate_l2(r).predicted_bytes, 2 * 48);
}

TEST(l2_by_hand, tiles_are_as_large_as_their_keys) {
    l2_request r = small(2, 1, 1000);
    r.what.k_len = 5;
    r.what.value_dim = 2; // (4 + 2) · 2 = 12 bytes a key
    r.plan.key_tile = 2;  // 2, 2 and 1 keys
    EXPECT_EQ(simulate_l2(r).unique_bytes, 5 * 12);
    EXPECT_EQ(simulate_l2(r).asked_bytes, 2 * 5 * 12);
    r.bytes = 36; // a tile of two and the one of one key
    EXPECT_EQ(simulate_l2(r).memory_bytes, 2 * 5 * 12);
    r.order = block_order::sawtooth; // the second block finds the last two tiles
    EXPECT_EQ(simulate_l2(r).memory_bytes, (5 + 2) * 12);
}

TEST(l2_by_hand, heads_and_batches_have_keys_of_their_own) {
    l2_request r = small(1, 1, 1000);
    r.what.batch = 2;
    r.what.q_heads = 4;
    r.what.kv_heads = 2;
    const l2_result x = simulate_l2(r);
    EXPECT_EQ(x.asked_bytes, 8 * 48);
    EXPECT_EQ(x.unique_bytes, 4 * 48);
    EXPECT_EQ(x.memory_bytes, 4 * 48);
    EXPECT_FALSE(x.predicted_bytes.has_value()); // several heads
    r.what.batch = 1;
    r.what.kv_heads = 1;
    EXPECT_FALSE(simulate_l2(r).predicted_bytes.has_value()); // four query heads
    r.what.packed_heads = true;
    EXPECT_EQ(simulate_l2(r).predicted_bytes, 48);
    r.what.mask = causal();
    r.plan.row_tile = 4;
    EXPECT_FALSE(simulate_l2(r).predicted_bytes.has_value());
    EXPECT_FALSE(simulate_l2(small(1, 1, 9, block_order::longest_first)).predicted_bytes.has_value());
}

TEST(l2_by_hand, longest_first_starts_with_the_last_rows) {
    // Causal, three rows, room for one tile, two at once. In order: rows see 1, 2 and 3 tiles.
    // 0 | 0: miss, hit. Row 2 takes the first slot: 0 | 1: hit, miss. Then 1, 2 alone: miss? 1 is there: hit; 2: miss.
    l2_request r = small(3, 2, 16);
    r.what.mask = causal();
    EXPECT_EQ(simulate_l2(r).memory_bytes, 3 * 16);
    // Longest first: row 2 and row 1 in step: 0 miss, 0 hit; 1 miss, 1 hit; 2 miss, then row 0: 0 miss.
    r.order = block_order::longest_first;
    EXPECT_EQ(simulate_l2(r).memory_bytes, 4 * 16);
    EXPECT_EQ(simulate_l2(r).asked_bytes, 6 * 16);
}

TEST(l2_by_hand, what_makes_no_sense_is_refused) {
    const auto refused = [](auto&& change) {
        l2_request r = small(1, 1, 16);
        change(r);
        try {
            static_cast<void>(simulate_l2(r));
        } catch (const invalid_argument& e) {
            return std::string(e.what());
        }
        return std::string("accepted");
    };
    const char* positive = "l2: blocks at once, cache bytes and tiles must be positive";
    EXPECT_EQ(refused([](l2_request& r) { r.blocks_at_once = 0; }), positive);
    EXPECT_EQ(refused([](l2_request& r) { r.bytes = 0; }), positive);
    EXPECT_EQ(refused([](l2_request& r) { r.plan.row_tile = 0; }), positive);
    EXPECT_EQ(refused([](l2_request& r) { r.plan.key_tile = 0; }), positive);
    EXPECT_EQ(refused([](l2_request& r) { r.what.q_len = -2; }),
              "pantile: q.length is -2: it must be between 0 and 2^48");
    EXPECT_EQ(refused([](l2_request&) {}), "accepted");
    l2_request r = small(0, 1, 16); // nothing to do
    EXPECT_EQ(simulate_l2(r).asked_bytes, 0);
    EXPECT_FALSE(simulate_l2(r).predicted_bytes.has_value());
    EXPECT_EQ(simulate_l2(r).hit_rate(), 1);
    try {
        static_cast<void>(parse_order("random"));
        FAIL();
    } catch (const invalid_argument& e) {
        EXPECT_STREQ(e.what(), "order is 'random': it must be cyclic, sawtooth or longest-first");
    }
}

} // namespace
} // namespace pantile::inline v0::simulator
