// The processor by hand: what a load, a product and a pass over a tile count, what they compute, and what an observer sees.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

using ::testing::ElementsAre;

/// Operands of 2 bytes, sums of 4, statistics of 8; four rows of a product share a pass over its right operand.
near_memory toy() {
    near_memory n;
    n.operand_width = 2;
    n.accumulator_width = 4;
    n.statistic_width = 8;
    n.product_rows = 4;
    return n;
}

/// Five query rows, seven keys, d = 3, e = 2.
workload sizes() {
    workload w = workload::square(5, 3);
    w.k_len = 7;
    w.value_dim = 2;
    return w;
}

TEST(processor, a_load_counts_its_elements_and_an_operands_fill_of_the_scratchpad) {
    processor p(toy());
    tile q = p.hold("Q", 5, 3, tile_role::operand);
    p.load(q, tensor::q, 0, {1, 5});
    EXPECT_EQ(p.moved()[tensor::q], (core::transfers{4 * 3, 0}));
    EXPECT_EQ(p.done(), (work{0, 0, 0, 4 * 3 * 2}));
    EXPECT_EQ(q.rows(), 4);
    EXPECT_EQ(q.columns(), 3);
    tile o = p.hold("O", 5, 2, tile_role::accumulator);
    p.load(o, tensor::out, 0, {0, 5}, {1, 2});
    EXPECT_EQ(p.moved()[tensor::out], (core::transfers{5, 0}));
    EXPECT_EQ(p.done().near_bytes, 4 * 3 * 2) << "accumulators are not filled through the scratchpad";
    p.store(o, tensor::out, 0, {0, 5}, 1);
    EXPECT_EQ(p.moved()[tensor::out], (core::transfers{5, 5}));
    p.stream({tensor::v, true, 0, {0, 7}, {0, 2}});
    EXPECT_EQ(p.moved()[tensor::v], (core::transfers{0, 14}));
    EXPECT_EQ(p.sent(), counts{});
    p.send(tensor::k, 0, {0, 7}, {0, 3}); // read here, written there, and once over the link
    EXPECT_EQ(p.moved()[tensor::k], (core::transfers{21, 21}));
    EXPECT_EQ(p.sent()[tensor::k], (core::transfers{0, 21}));
    EXPECT_EQ(p.done(), (work{0, 0, 0, 4 * 3 * 2})) << "transfers are no arithmetic";
}

TEST(processor, a_product_counts_flops_and_the_operand_bytes_it_reads) {
    processor p(toy());
    const tile q = p.hold("Q", 5, 3, tile_role::operand);
    const tile k = p.hold("K", 7, 3, tile_role::operand);
    const tile v = p.hold("V", 7, 2, tile_role::operand);
    tile s = p.hold("S", 5, 7, tile_role::accumulator);
    tile o = p.hold("O", 5, 2, tile_role::accumulator);
    tile dv = p.hold("dV", 7, 2, tile_role::accumulator);
    // 2·5·7·3 FLOP; Q once (15 numbers), K (21) for each of ceil(5 / 4) = 2 groups of rows; 2 bytes a number.
    p.multiply(s, q, k, transpose::right);
    EXPECT_EQ(p.done(), (work{210, 0, 0, 2 * 15 + 2 * 2 * 21}));
    // 2·5·2·7 FLOP; P is an accumulator, held in registers: V (14) twice.
    p.multiply(o, s, v, transpose::none, true);
    EXPECT_EQ(p.done(), (work{210 + 140, 0, 0, 114 + 2 * 2 * 14}));
    // 2·7·2·5 FLOP; seven rows of Pᵀ make two groups; the right operand (O in dO's place) has 5·2 numbers.
    p.multiply(dv, s, o, transpose::left, true);
    EXPECT_EQ(p.done(), (work{350 + 140, 0, 0, 170 + 2 * 2 * 10}));
    EXPECT_EQ(p.moved(), counts{}) << "products move nothing between far and near memory";
}

TEST(processor, passes_over_a_tile_count_every_number_in_use) {
    processor p(toy());
    tile s = p.hold("S", 5, 7, tile_role::accumulator);
    s.use(2, 3);
    p.each(s, 4, 5, [](index_t, index_t) { FAIL() << "nothing is computed without numbers"; });
    EXPECT_EQ(p.done(), (work{0, 5 * 6, 4 * 6, 0}));
    work sum{1, 2, 3, 4};
    sum += work{10, 20, 30, 40};
    EXPECT_EQ(sum, (work{11, 22, 33, 44}));
}

TEST(processor, room_is_rows_times_columns_times_width_and_is_given_back) {
    near_memory near = toy();
    {
        processor p(near);
        const tile q = p.hold("Q", 5, 3, tile_role::operand);
        const tile m = p.hold("m", 5, 1, tile_role::statistic);
        const tile x = p.hold("X", 1000, 1000, tile_role::streamed);
        EXPECT_EQ(p.peak_bytes(), 5 * 3 * 2 + 5 * 8);
        { const tile s = p.hold("S", 5, 7, tile_role::accumulator); }
        EXPECT_EQ(p.peak_bytes(), 30 + 40 + 140);
        { const tile s = p.hold("S", 5, 6, tile_role::accumulator); }
        EXPECT_EQ(p.peak_bytes(), 30 + 40 + 140) << "the first S was given back";
        EXPECT_EQ(p.peak_register_bytes(), 0);
    }
    near.accumulator_bytes = 1000; // registers take accumulators and statistics, and nothing else
    near.bytes = 30;
    processor p(near);
    tile q = p.hold("Q", 5, 3, tile_role::operand);
    const tile m = p.hold("m", 5, 1, tile_role::statistic);
    tile s = p.hold("S", 5, 7, tile_role::accumulator);
    EXPECT_EQ(p.peak_bytes(), 30);
    EXPECT_EQ(p.peak_register_bytes(), 40 + 140);
    EXPECT_THROW(static_cast<void>(p.hold("K", 1, 1, tile_role::operand)), does_not_fit);
    EXPECT_THROW(static_cast<void>(p.hold("O", 5, 42, tile_role::accumulator)), does_not_fit); // 840 of 820 left
    // A tile that takes another's place gives its own room back first.
    q = tile();
    q = p.hold("K", 5, 3, tile_role::operand);
    tile moved(std::move(s));
    EXPECT_EQ(moved.columns(), 7);
    moved = tile();
    EXPECT_NO_THROW(static_cast<void>(p.hold("O", 5, 42, tile_role::accumulator)));
}

/// What it hears, as words.
class listener : public observer {
  public:
    std::vector<std::string> heard;
    void begin_block(index_t place, index_t tile) override {
        heard.push_back("begin " + std::to_string(place) + ' ' + std::to_string(tile));
    }
    void moved(const transfer& t) override {
        heard.push_back((t.write ? "write " : "read ") + std::string(name(t.what)) + ' ' +
                        std::to_string(t.elements()));
    }
    void worked(const work& w) override {
        heard.push_back("work " + std::to_string(w.matrix_flops) + ' ' + std::to_string(w.exponentials) + ' ' +
                        std::to_string(w.vector_flops) + ' ' + std::to_string(w.near_bytes));
    }
    void holds(index_t bytes) override { heard.push_back("holds " + std::to_string(bytes)); }
    void end_block() override { heard.emplace_back("end"); }
};

TEST(processor, an_observer_hears_everything_in_order) {
    near_memory near = toy();
    near.accumulator_bytes = 1000;
    listener l;
    processor p(near, nullptr, &l);
    {
        p.begin_block(3, 1);
        tile q = p.hold("Q", 2, 3, tile_role::operand);
        tile s = p.hold("S", 2, 2, tile_role::accumulator);
        p.load(q, tensor::q, 3, {0, 2});
        p.load(q, tensor::q, 3, {2, 2}); // no rows: nothing moves
        p.each(s, 1, 1, [](index_t, index_t) {});
        p.store(s, tensor::scores, 3, {0, 2});
        p.send(tensor::k, 3, {0, 1}, {0, 3});
        p.end_block();
    }
    EXPECT_THAT(l.heard,
                ElementsAre("begin 3 1", "holds 12", "holds 28", "read q 6", "work 0 0 0 12", "work 0 0 0 0",
                            "work 0 4 4 0", "write scores 4", "read k 3", "write k 3", "end", "holds 12", "holds 0"));
    EXPECT_EQ(p.blocks(), 1);

    listener deaf;
    far_memory numbers(sizes());
    processor silent(toy(), &numbers, &deaf, false);
    silent.begin_block(0, 0);
    tile q = silent.hold("Q", 5, 3, tile_role::operand);
    silent.load(q, tensor::q, 0, {0, 5});
    silent.send(tensor::q, 0, {0, 5}, {0, 3});
    silent.end_block();
    EXPECT_TRUE(deaf.heard.empty()) << deaf.heard.front();
    EXPECT_EQ(silent.moved(), counts{});
    EXPECT_EQ(silent.sent(), counts{});
    EXPECT_EQ(silent.done(), work{});
    EXPECT_EQ(silent.blocks(), 0);
}

TEST(processor, products_are_those_of_matrices) {
    far_memory far(sizes());
    for (std::size_t i = 0; i < 15; ++i) far[tensor::q][i] = static_cast<double>(i + 1);     // (i, c) -> 3i + c + 1
    for (std::size_t i = 0; i < 21; ++i) far[tensor::k][i] = static_cast<double>(2 * i + 1); // (j, c) -> 6j + 2c + 1
    for (std::size_t i = 0; i < 14; ++i) far[tensor::v][i] = static_cast<double>(10 * i);
    processor p(near_memory{}, &far);
    tile q = p.hold("Q", 5, 3, tile_role::operand);
    tile k = p.hold("K", 7, 3, tile_role::operand);
    tile v = p.hold("V", 7, 2, tile_role::operand);
    p.load(q, tensor::q, 0, {1, 3});         // rows (4, 5, 6) and (7, 8, 9)
    p.load(k, tensor::k, 0, {2, 4});         // rows (13, 15, 17) and (19, 21, 23)
    p.load(v, tensor::v, 0, {5, 7}, {1, 2}); // a column: 110, 130
    tile s = p.hold("S", 5, 7, tile_role::accumulator);
    p.multiply(s, q, k, transpose::right); // Q·Kᵀ
    ASSERT_EQ(s.rows(), 2);
    ASSERT_EQ(s.columns(), 2);
    EXPECT_EQ(s(0, 0), 4 * 13 + 5 * 15 + 6 * 17);
    EXPECT_EQ(s(0, 1), 4 * 19 + 5 * 21 + 6 * 23);
    EXPECT_EQ(s(1, 0), 7 * 13 + 8 * 15 + 9 * 17);
    EXPECT_EQ(s(1, 1), 7 * 19 + 8 * 21 + 9 * 23);
    tile o = p.hold("O", 5, 1, tile_role::accumulator);
    p.multiply(o, s, v, transpose::none); // S·V
    EXPECT_EQ(o(0, 0), s(0, 0) * 110 + s(0, 1) * 130);
    EXPECT_EQ(o(1, 0), s(1, 0) * 110 + s(1, 1) * 130);
    const double before = o(0, 0);
    p.multiply(o, s, v, transpose::left, true); // + Sᵀ·V
    EXPECT_EQ(o(0, 0), before + s(0, 0) * 110 + s(1, 0) * 130);
    p.store(o, tensor::out, 0, {3, 5}, 1);
    EXPECT_EQ(far[tensor::out][3 * 2 + 1], o(0, 0));
    EXPECT_EQ(far[tensor::out][4 * 2 + 1], o(1, 0));
    EXPECT_EQ(far[tensor::out][4 * 2], 0);
    p.clear(o);
    EXPECT_EQ(o(1, 0), 0);
}

TEST(far_memory, fp32_rounds_what_is_stored_in_a_tile) {
    far_memory single(sizes(), 1, far_memory::precision::fp32);
    EXPECT_EQ(single.round(1 + 1e-9), 1);
    EXPECT_NE(far_memory(sizes()).round(1 + 1e-9), 1);
    processor p(near_memory{}, &single);
    tile s = p.hold("S", 2, 2, tile_role::accumulator);
    s.set(1, 0, 1 + 1e-9);
    EXPECT_EQ(s(1, 0), 1);
    EXPECT_EQ(s(0, 1), 0);
}

// Packed rows are (position, head in group), the head fastest: row 5 of a group of three is position 1 of its head 2.
TEST(far_memory, packed_rows_lie_with_their_heads) {
    workload w = workload::square(4, 2, 6);
    w.kv_heads = 2;
    w.packed_heads = true;
    far_memory far(w, 2);
    const auto at = [](index_t place, index_t row, index_t column) {
        return static_cast<std::size_t>((place * 4 + row) * 2 + column);
    };
    far[tensor::q][at(3 + 2, 1, 1)] = 7; // second group, its head 2
    far[tensor::k][at(1, 3, 0)] = 9;
    processor p(near_memory{}, &far);
    tile rows = p.hold("Q", 12, 2, tile_role::operand);
    p.load(rows, tensor::q, 1, {5, 7});
    EXPECT_EQ(rows(0, 1), 7);
    EXPECT_EQ(rows(1, 1), 0);
    p.load(rows, tensor::k, 1, {3, 4});
    EXPECT_EQ(rows(0, 0), 9);
    rows.set(0, 0, 5);
    p.store(rows, tensor::dq, 0, {4, 5}); // position 1 of the first group's head 1
    EXPECT_EQ(far[tensor::dq][at(1, 1, 0)], 5);
    EXPECT_EQ(far[tensor::partial_out].size(), 2U * 6 * 4 * 2);
}

TEST(far_memory, gradients_of_a_group_are_summed) {
    workload w = workload::square(2, 1, 4, 1);
    w.kv_heads = 2;
    far_memory far(w);
    far[tensor::dk] = {1, 2, 10, 20, 100, 200, 1000, 2000};
    EXPECT_THAT(far.grouped(tensor::dk), ElementsAre(11, 22, 1100, 2200));
}

} // namespace
} // namespace pantile::inline v0::simulator
