// The schedule against one oracle, visible(i, j): every visible pair is visited once, no skipped tile holds a visible
// pair, no full tile a hidden one; from both sides, for bands × block maps × pages × ragged tiles.
#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <pantile/core/schedule.hpp>
#include <pantile/core/walk.hpp>

#include <support/generators.hpp>

namespace pantile::inline v0::core {
namespace {

// ------------------------------------------------------------------------------------------- at compile time, by hand
constexpr band causal_5x8{unbounded, 0, 3, 8}; // the last of 5 rows stands at the last of 8 keys
static_assert(causal_5x8.lo(0) == 0 && causal_5x8.hi(0) == 4 && causal_5x8.hi(4) == 8);
static_assert(causal_5x8.visible(0, 3) && !causal_5x8.visible(0, 4));
static_assert(causal_5x8.rows(5, {6, 8}) == span{3, 5});

constexpr band window_2_1{2, 1, 0, 6};
static_assert(window_2_1.keys(3) == span{1, 5} && window_2_1.keys(0) == span{0, 2} && window_2_1.keys(5) == span{3, 6});
static_assert(window_2_1.keys(9).empty(), "rows behind the keys see none");
static_assert(window_2_1.rows(10, {0, 1}) == span{0, 3});

constexpr band everything{unbounded, unbounded, 0, 4};
static_assert(everything.keys(0) == span{0, 4} && everything.rows(7, {3, 4}) == span{0, 7});
static_assert(band{unbounded, 0, -5, 3}.keys(4).empty(), "more rows than keys: the first rows see none");
static_assert(band{unbounded, unbounded, index_t{1} << 48, 3}.keys(2) == span{0, 3}, "no sum of limits overflows");

constexpr schedule causal_tiles{sequence{0, 5, 0, 8, 3}, causal_5x8, 2, 4};
static_assert(causal_tiles.row_tiles() == 3 && causal_tiles.key_tiles() == 2);
static_assert(causal_tiles.classify({0, 2}, {0, 4}) == visit::full);
static_assert(causal_tiles.classify({0, 2}, {4, 8}) == visit::partial);
static_assert(causal_tiles.classify({0, 1}, {4, 8}) == visit::skip);
static_assert(causal_tiles.classify({4, 5}, {4, 8}) == visit::full);

constexpr schedule paged{sequence{0, 1, 0, 23, 22}, band{unbounded, 0, 22, 23}, 1, 4, 10};
static_assert(paged.key_tiles() == 3 + 3 + 1, "pages of 10 keys hold tiles of 4, 4 and 2");
static_assert(paged.keys(2) == span{8, 10} && paged.keys(3) == span{10, 14} && paged.keys(6) == span{20, 23});
static_assert(paged.tile_of_key(9) == 2 && paged.tile_of_key(10) == 3 && paged.tile_of_key(22) == 6);

constexpr unsigned char checkerboard[] = {1, 0, 0, 1};
constexpr schedule mapped{sequence{0, 8, 0, 8, 0},        band{unbounded, unbounded, 0, 8}, 4, 4, 0,
                          tile_map{checkerboard, 4, 4, 2}};
static_assert(mapped.classify({0, 4}, {0, 4}) == visit::full && mapped.classify({0, 4}, {4, 8}) == visit::skip);
static_assert(mapped.classify({0, 8}, {0, 4}) == visit::partial);

/// A machine that a constant expression can drive: the walk itself runs at compile time.
struct counting_machine {
    index_t pairs = 0, tiles = 0, fetched = 0, opened = 0, closed = 0;
    constexpr void open(const row_tile&) { ++opened; }
    constexpr void fetch_key(const key_tile&) { ++fetched; }
    constexpr void fetch_value(const key_tile&) { ++fetched; }
    constexpr void score(const key_tile& t, full_tile) { pairs += t.keys.size(); }
    constexpr void score(const key_tile& t, partial_tile) { pairs += t.keys.size(); }
    constexpr void accumulate(const key_tile&) { ++tiles; }
    constexpr void close() { ++closed; }
};
static_assert(forward_machine<counting_machine>);
constexpr counting_machine walked(const schedule& s) {
    counting_machine m;
    for (index_t i = 0; i < s.row_tiles(); ++i) walk::forward(m, s, i);
    return m;
}
static_assert(walked(causal_tiles).tiles == 6 && walked(causal_tiles).fetched == 12);
static_assert(walked(causal_tiles).opened == 3 && walked(causal_tiles).closed == 3);
static_assert(walked(mapped).tiles == 2);

// --------------------------------------------------------------------------------------------------------- properties

/// A schedule and the memory of its map.
struct any_tiling {
    schedule plan;
    std::vector<unsigned char> map;
    void attach() {
        if (!map.empty()) plan.map.visible = map.data();
    }
};

any_tiling make_tiling() {
    using test::detail::chance;
    using test::detail::pick;
    any_tiling t;
    sequence s;
    s.q_len = chance(10) ? pick(0, 1) : pick(0, 60);
    s.k_len = chance(10) ? pick(0, 1) : pick(0, 60);
    s.offset = chance(50) ? s.k_len - s.q_len : pick(-70, 70);
    const index_t left = chance(40) ? unbounded : pick(-4, 40);
    const index_t right = chance(30) ? unbounded : chance(40) ? 0 : pick(-4, 40);
    const index_t rows = pick(1, 17);
    const index_t keys = pick(1, 17);
    const index_t run = chance(60) ? 0 : pick(1, 25);
    t.plan = schedule(s, band{left, right, s.offset, s.k_len}, rows, keys, run);
    if (chance(50)) {
        t.plan.map.block_rows = pick(1, 20);
        t.plan.map.block_cols = pick(1, 20);
        t.plan.map.row_stride = ceil_div(s.k_len, t.plan.map.block_cols) + pick(0, 2);
        const int density = *rc::gen::element(10, 50, 90);
        t.map.resize(static_cast<std::size_t>(ceil_div(s.q_len, t.plan.map.block_rows) * t.plan.map.row_stride + 1));
        for (unsigned char& x : t.map) x = chance(density) ? 1 : 0;
    }
    t.attach();
    return t;
}

/// What there is to see in a rectangle, pair by pair.
visit look(const schedule& s, span rows, span keys) {
    bool any = false;
    bool all = true;
    for (index_t i = rows.begin; i < rows.end; ++i) {
        for (index_t j = keys.begin; j < keys.end; ++j) {
            const bool here = s.visible(i, j);
            any = any || here;
            all = all && here;
        }
    }
    return !any ? visit::skip : all ? visit::full : visit::partial;
}

RC_GTEST_PROP(schedule, tiles_partition_rows_and_keys, ()) {
    const any_tiling t = make_tiling();
    index_t next = 0;
    for (index_t i = 0; i < t.plan.row_tiles(); ++i) {
        const span r = t.plan.rows(i);
        RC_ASSERT(r.begin == next && r.end > r.begin && r.size() <= t.plan.row_size);
        next = r.end;
    }
    RC_ASSERT(next == t.plan.seq.q_len);
    next = 0;
    for (index_t j = 0; j < t.plan.key_tiles(); ++j) {
        const span k = t.plan.keys(j);
        RC_ASSERT(k.begin == next && k.end > k.begin && k.size() <= t.plan.key_size);
        const index_t run = t.plan.run_length;
        if (run > 0) RC_ASSERT(k.begin / run == (k.end - 1) / run); // no tile crosses a page
        for (index_t key = k.begin; key < k.end; ++key) RC_ASSERT(t.plan.tile_of_key(key) == j);
        next = k.end;
    }
    RC_ASSERT(next == t.plan.seq.k_len);
}

RC_GTEST_PROP(schedule, band_agrees_with_visible, ()) {
    const band m = make_tiling().plan.mask;
    const index_t q_len = 65;
    for (index_t i = 0; i < q_len; ++i) {
        for (index_t j = 0; j < m.k_len; ++j) {
            RC_ASSERT(m.visible(i, j) == (j >= m.keys(i).begin && j < m.keys(i).end));
            if (m.visible(i, j)) {
                const span rows = m.rows(q_len, {j, j + 1});
                RC_ASSERT(i >= rows.begin && i < rows.end);
            }
        }
        RC_ASSERT(!m.visible(i, -1) && !m.visible(i, m.k_len));
        if (i > 0) RC_ASSERT(m.lo(i) >= m.lo(i - 1) && m.hi(i) >= m.hi(i - 1)); // the monotony that skipping rests on
    }
}

/// classify: skip and full are never wrong; and without a map partial is not said of a tile that is full or empty.
RC_GTEST_PROP(schedule, classify_agrees_with_every_pair, ()) {
    const any_tiling t = make_tiling();
    for (index_t i = 0; i < t.plan.row_tiles(); ++i) {
        for (index_t j = 0; j < t.plan.key_tiles(); ++j) {
            const visit said = t.plan.classify(t.plan.rows(i), t.plan.keys(j));
            const visit seen = look(t.plan, t.plan.rows(i), t.plan.keys(j));
            if (said == visit::skip) RC_ASSERT(seen == visit::skip);
            if (said == visit::full) RC_ASSERT(seen == visit::full);
            if (t.map.empty()) RC_ASSERT(said == seen);
        }
    }
}

/// The ranges that walks search are those of the tiles that show something: no tile longer on either side.
RC_GTEST_PROP(schedule, ranges_begin_and_end_with_a_tile_that_shows_something, ()) {
    any_tiling t = make_tiling();
    t.plan.map = {};
    RC_PRE(t.plan.mask.left + t.plan.mask.right >= 0); // else nobody sees anything, and a range may have tiles to skip
    const auto hull = [](index_t tiles, auto&& shows) {
        span s{0, 0};
        for (index_t n = 0; n < tiles; ++n) {
            if (shows(n)) s = {s.empty() ? n : s.begin, n + 1};
        }
        return s;
    };
    for (index_t i = 0; i < t.plan.row_tiles(); ++i) {
        const span seen = hull(t.plan.key_tiles(),
                               [&](index_t j) { return look(t.plan, t.plan.rows(i), t.plan.keys(j)) != visit::skip; });
        RC_ASSERT(seen == t.plan.key_range(i));
    }
    for (index_t j = 0; j < t.plan.key_tiles(); ++j) {
        const span seen = hull(t.plan.row_tiles(),
                               [&](index_t i) { return look(t.plan, t.plan.rows(i), t.plan.keys(j)) != visit::skip; });
        RC_ASSERT(seen == t.plan.row_range(j));
    }
}

/// A block map whose blocks agree with the tiles: skipping is exact there too.
RC_GTEST_PROP(schedule, classify_is_exact_for_a_map_of_whole_tiles, ()) {
    any_tiling t = make_tiling();
    RC_PRE(!t.map.empty() && t.plan.run_length == 0);
    t.plan.mask = band{unbounded, unbounded, 0, t.plan.seq.k_len};
    t.plan.row_size = t.plan.map.block_rows;
    t.plan.key_size = t.plan.map.block_cols;
    for (index_t i = 0; i < t.plan.row_tiles(); ++i) {
        for (index_t j = 0; j < t.plan.key_tiles(); ++j) {
            RC_ASSERT(t.plan.classify(t.plan.rows(i), t.plan.keys(j)) == look(t.plan, t.plan.rows(i), t.plan.keys(j)));
        }
    }
}

using pair_list = std::set<std::pair<index_t, index_t>>;

pair_list visible_pairs_of(const schedule& s) {
    pair_list pairs;
    for (index_t i = 0; i < s.seq.q_len; ++i) {
        for (index_t j = 0; j < s.seq.k_len; ++j) {
            if (s.visible(i, j)) pairs.emplace(i, j);
        }
    }
    return pairs;
}

/// Notes the order of calls and which pairs the tiles cover; refuses a pair seen twice and a full tile that is not.
struct recording_machine {
    explicit recording_machine(const schedule& s) : plan(s) {}
    const schedule& plan;
    pair_list pairs;
    std::vector<std::pair<index_t, index_t>> tiles; // (row tile, key tile), in the order visited
    span rows{}, keys{};
    index_t open_index = -1;
    index_t fetched = -1, fetched_value = -1, scored = -1;
    bool is_open = false;

    void cover(span r, span k, bool full) {
        for (index_t i = r.begin; i < r.end; ++i) {
            for (index_t j = k.begin; j < k.end; ++j) {
                if (full) RC_ASSERT(plan.visible(i, j));
                if (plan.visible(i, j)) RC_ASSERT(pairs.emplace(i, j).second);
            }
        }
    }
    void close() {
        RC_ASSERT(is_open && scored == -1);
        is_open = false;
    }
};

struct forward_recorder : recording_machine {
    using recording_machine::recording_machine;
    void open(const row_tile& t) {
        RC_ASSERT(!is_open && t.rows == plan.rows(t.index));
        is_open = true;
        rows = t.rows;
        open_index = t.index;
        fetched = fetched_value = -1;
    }
    void fetch_key(const key_tile& t) {
        RC_ASSERT(is_open && t.index > fetched);
        fetched = t.index;
    }
    void fetch_value(const key_tile& t) {
        RC_ASSERT(t.index == fetched && scored == -1);
        fetched_value = t.index;
    }
    template <class Tag>
    void score(const key_tile& t, Tag) {
        RC_ASSERT(t.index == fetched && fetched_value == t.index && t.keys == plan.keys(t.index));
        cover(rows, t.keys, std::is_same_v<Tag, full_tile>);
        scored = t.index;
    }
    void accumulate(const key_tile& t) {
        RC_ASSERT(t.index == scored);
        tiles.emplace_back(open_index, t.index);
        scored = -1;
    }
};

struct backward_recorder : recording_machine {
    using recording_machine::recording_machine;
    void open(const key_tile& t) {
        RC_ASSERT(!is_open && t.keys == plan.keys(t.index));
        is_open = true;
        keys = t.keys;
        open_index = t.index;
        fetched = -1;
    }
    void fetch_row(const row_tile& t) {
        RC_ASSERT(is_open && t.index > fetched);
        fetched = t.index;
    }
    template <class Tag>
    void score(const row_tile& t, Tag) {
        RC_ASSERT(t.index == fetched && t.rows == plan.rows(t.index));
        cover(t.rows, keys, std::is_same_v<Tag, full_tile>);
        scored = t.index;
    }
    void gradients(const row_tile& t) {
        RC_ASSERT(t.index == scored);
        tiles.emplace_back(t.index, open_index);
        scored = -1;
    }
};

RC_GTEST_PROP(walks, visit_every_visible_pair_once_from_both_sides, ()) {
    any_tiling t = make_tiling();
    t.attach();
    const pair_list wanted = visible_pairs_of(t.plan);
    forward_recorder forward(t.plan);
    for (index_t i = 0; i < t.plan.row_tiles(); ++i) walk::forward(forward, t.plan, i);
    RC_ASSERT(forward.pairs == wanted);
    backward_recorder backward(t.plan);
    for (index_t j = 0; j < t.plan.key_tiles(); ++j) walk::backward(backward, t.plan, j);
    RC_ASSERT(backward.pairs == wanted);
    // The same tiles, seen from the other side.
    std::set<std::pair<index_t, index_t>> rows_first(forward.tiles.begin(), forward.tiles.end());
    std::set<std::pair<index_t, index_t>> keys_first(backward.tiles.begin(), backward.tiles.end());
    RC_ASSERT(rows_first == keys_first);
    RC_ASSERT(rows_first.size() == forward.tiles.size() && keys_first.size() == backward.tiles.size());
}

RC_GTEST_PROP(walks, leave_no_tile_to_visit_that_shows_nothing, ()) {
    any_tiling t = make_tiling();
    RC_PRE(t.map.empty());
    forward_recorder forward(t.plan);
    for (index_t i = 0; i < t.plan.row_tiles(); ++i) walk::forward(forward, t.plan, i);
    for (const auto& [i, j] : forward.tiles) RC_ASSERT(look(t.plan, t.plan.rows(i), t.plan.keys(j)) != visit::skip);
}

RC_GTEST_PROP(schedule, previous_key_tile_mirrors_next, ()) {
    any_tiling t = make_tiling();
    t.attach();
    for (index_t i = 0; i < t.plan.row_tiles(); ++i) {
        const span range = t.plan.key_range(i);
        std::vector<index_t> ascending;
        for (key_tile k = t.plan.next_key_tile(i, range.begin, range); k.due != visit::skip;
             k = t.plan.next_key_tile(i, k.index + 1, range)) {
            ascending.push_back(k.index);
        }
        std::vector<index_t> descending;
        for (key_tile k = t.plan.previous_key_tile(i, range.end - 1, range); k.due != visit::skip;
             k = t.plan.previous_key_tile(i, k.index - 1, range)) {
            descending.push_back(k.index);
        }
        RC_ASSERT(std::vector<index_t>(descending.rbegin(), descending.rend()) == ascending);
    }
}

/// A part of the keys shows what the whole shows there.
RC_GTEST_PROP(sequence, parts_see_what_the_whole_sees, ()) {
    const any_tiling t = make_tiling();
    const schedule& s = t.plan;
    RC_PRE(s.seq.k_len > 0);
    const index_t begin = test::detail::pick(0, s.seq.k_len - 1);
    const index_t end = test::detail::pick(begin, s.seq.k_len);
    const sequence part = s.seq.part({begin, end});
    const band m{s.mask.left, s.mask.right, part.offset, part.k_len};
    RC_ASSERT(part.k_begin == s.seq.k_begin + begin && part.k_len == end - begin);
    for (index_t i = 0; i < s.seq.q_len; ++i) {
        for (index_t j = begin; j < end; ++j) RC_ASSERT(m.visible(i, j - begin) == s.mask.visible(i, j));
    }
}

TEST(problem, places_rows_against_keys) {
    problem p;
    p.q_len = 3;
    p.k_len = 10;
    p.q_heads = 6;
    p.kv_heads = 2;
    const index_t lengths[] = {10, 4, 0};
    EXPECT_EQ(p.sequence_of(0).offset, 7);
    p.key_lengths = {lengths};
    EXPECT_EQ(p.sequence_of(1).offset, 1);
    EXPECT_EQ(p.sequence_of(2).offset, -3);
    EXPECT_EQ(p.sequence_of(1).k_len, 4);
    const index_t out_of_range[] = {11, -1}; // as a GPU may find them
    p.key_lengths = {out_of_range};
    EXPECT_EQ(p.sequence_of(0).k_len, 10);
    EXPECT_EQ(p.sequence_of(1).k_len, 0);
    p.key_lengths = {lengths};
    p.mask.align = alignment::top_left;
    EXPECT_EQ(p.sequence_of(1).offset, 0);
    p.mask.align = alignment::explicit_offset;
    p.mask.offset = 5;
    EXPECT_EQ(p.sequence_of(2).offset, 5);
    EXPECT_EQ(p.group(), 3);
    EXPECT_EQ(p.kv_head(1), 0);
    EXPECT_EQ(p.kv_head(2), 0);
    EXPECT_EQ(p.kv_head(3), 1);
}

/// Positions beyond 2^31: a key tile near the end of a very long sequence.
TEST(schedule, serves_lengths_beyond_2_to_the_31) {
    const index_t n = index_t{1} << 40;
    const schedule s(sequence{0, n, 0, n, 0}, band{100, 0, 0, n}, 128, 96);
    const index_t last = s.row_tiles() - 1;
    const span range = s.key_range(last);
    EXPECT_EQ(s.keys(range.end - 1).end, n);
    EXPECT_LE(s.keys(range.begin).begin, n - 128 - 100);
    EXPECT_GT(s.keys(range.begin).end, n - 128 - 100);
    EXPECT_EQ(s.row_range(s.key_tiles() - 1).end, s.row_tiles());
}

} // namespace
} // namespace pantile::inline v0::core
