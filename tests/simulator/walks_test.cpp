// The walks themselves, operation by operation, on three rows and three keys in tiles of two; and the work of each algorithm
// by hand on ragged tiles. Counts alone would not notice tiles that come in another order.

#include <gtest/gtest.h>

#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

/// "[place.tile" and "]" a block, "<" a read and ">" a write of rows (and columns, of a score), "x" a product.
class transcript : public observer {
  public:
    std::string text;

    void begin_block(index_t place, index_t tile) override {
        new_line();
        text += '[' + std::to_string(place) + '.' + std::to_string(tile);
        inside_ = true;
    }
    void moved(const transfer& t) override {
        if (!inside_ && (text.empty() || text.back() == '\n')) {
            text += "between:";
        }
        text += (t.write ? " >" : " <") + std::string(name(t.what)) + std::to_string(t.place) + ':' + of(t.rows);
        if (t.columns.begin != 0 || t.columns.end != 1) text += '/' + of(t.columns);
    }
    void worked(const work& w) override {
        if (w.matrix_flops > 0) text += " x";
    }
    void end_block() override {
        text += "]\n";
        inside_ = false;
    }

  private:
    static std::string of(core::span s) { return std::to_string(s.begin) + '-' + std::to_string(s.end); }
    void new_line() {
        if (!text.empty() && text.back() != '\n') text += '\n';
    }
    bool inside_ = false;
};

struct walk {
    const char* who;
    pass which;
    const char* text;
};

// Split keys in two parts on two devices, the ring on two devices.
const walk walks[] = {
    {"fa1", pass::forward,
     "[0.0 >out0:0-2 >row_max0:0-2 >row_sum0:0-2]\n"
     "[0.1 >out0:2-3 >row_max0:2-3 >row_sum0:2-3]\n"
     "[0.0 <k0:0-2 <v0:0-2 <q0:0-2 <out0:0-2 <row_max0:0-2 <row_sum0:0-2 x x >out0:0-2 >row_max0:0-2 >row_sum0:0-2 "
     "<q0:2-3 <out0:2-3 <row_max0:2-3 <row_sum0:2-3 x x >out0:2-3 >row_max0:2-3 >row_sum0:2-3]\n"
     "[0.1 <k0:2-3 <v0:2-3 <q0:0-2 <out0:0-2 <row_max0:0-2 <row_sum0:0-2 x x >out0:0-2 >row_max0:0-2 >row_sum0:0-2 "
     "<q0:2-3 <out0:2-3 <row_max0:2-3 <row_sum0:2-3 x x >out0:2-3 >row_max0:2-3 >row_sum0:2-3]\n"},
    {"fa1", pass::backward,
     "[0.0 >dq0:0-2]\n"
     "[0.1 >dq0:2-3]\n"
     "[0.0 >dk0:0-2 >dv0:0-2]\n"
     "[0.1 >dk0:2-3 >dv0:2-3]\n"
     "[0.0 <k0:0-2 <v0:0-2 <q0:0-2 <out0:0-2 <dout0:0-2 <dq0:0-2 <row_max0:0-2 <row_sum0:0-2 x x x x >dq0:0-2 x "
     "<q0:2-3 <out0:2-3 <dout0:2-3 <dq0:2-3 <row_max0:2-3 <row_sum0:2-3 x x x x >dq0:2-3 x >dk0:0-2 >dv0:0-2]\n"
     "[0.1 <k0:2-3 <v0:2-3 <q0:0-2 <out0:0-2 <dout0:0-2 <dq0:0-2 <row_max0:0-2 <row_sum0:0-2 x x x x >dq0:0-2 x "
     "<q0:2-3 <out0:2-3 <dout0:2-3 <dq0:2-3 <row_max0:2-3 <row_sum0:2-3 x x x x >dq0:2-3 x >dk0:2-3 >dv0:2-3]\n"},
    {"fa1-lazy", pass::forward,
     "[0.0 <k0:0-2 <v0:0-2 <q0:0-2 x x >out0:0-2 >row_max0:0-2 >row_sum0:0-2 <q0:2-3 x x >out0:2-3 >row_max0:2-3 "
     ">row_sum0:2-3]\n"
     "[0.1 <k0:2-3 <v0:2-3 <q0:0-2 <out0:0-2 <row_max0:0-2 <row_sum0:0-2 x x >out0:0-2 >row_max0:0-2 >row_sum0:0-2 "
     "<q0:2-3 <out0:2-3 <row_max0:2-3 <row_sum0:2-3 x x >out0:2-3 >row_max0:2-3 >row_sum0:2-3]\n"},
    {"fa2", pass::forward,
     "[0.0 <q0:0-2 <k0:0-2 <v0:0-2 x <k0:2-3 x <v0:2-3 x x >out0:0-2 >lse0:0-2]\n"
     "[0.1 <q0:2-3 <k0:0-2 <v0:0-2 x <k0:2-3 x <v0:2-3 x x >out0:2-3 >lse0:2-3]\n"},
    {"fa2", pass::backward,
     "[0.0 <out0:0-2 <dout0:0-2 >delta0:0-2]\n"
     "[0.1 <out0:2-3 <dout0:2-3 >delta0:2-3]\n"
     "[0.0 >dq_sum0:0-2]\n"
     "[0.1 >dq_sum0:2-3]\n"
     "[0.0 <k0:0-2 <v0:0-2 <q0:0-2 <dout0:0-2 <lse0:0-2 <delta0:0-2 x x x x <dq_sum0:0-2 x >dq_sum0:0-2 <q0:2-3 "
     "<dout0:2-3 <lse0:2-3 <delta0:2-3 x x x x <dq_sum0:2-3 x >dq_sum0:2-3 >dk0:0-2 >dv0:0-2]\n"
     "[0.1 <k0:2-3 <v0:2-3 <q0:0-2 <dout0:0-2 <lse0:0-2 <delta0:0-2 x x x x <dq_sum0:0-2 x >dq_sum0:0-2 <q0:2-3 "
     "<dout0:2-3 <lse0:2-3 <delta0:2-3 x x x x <dq_sum0:2-3 x >dq_sum0:2-3 >dk0:2-3 >dv0:2-3]\n"
     "[0.0 <dq_sum0:0-2 >dq0:0-2]\n"
     "[0.1 <dq_sum0:2-3 >dq0:2-3]\n"},
    {"fa2-printed", pass::backward,
     "[0.0 <out0:0-2 <dout0:0-2 >delta0:0-2]\n"
     "[0.1 <out0:2-3 <dout0:2-3 >delta0:2-3]\n"
     "[0.0 >dq0:0-2]\n"
     "[0.1 >dq0:2-3]\n"
     "[0.0 <k0:0-2 <v0:0-2 <q0:0-2 <dout0:0-2 <lse0:0-2 <delta0:0-2 <out0:0-2 x x x x <dq0:0-2 x >dq0:0-2 <q0:2-3 "
     "<dout0:2-3 <lse0:2-3 <delta0:2-3 <out0:2-3 x x x x <dq0:2-3 x >dq0:2-3 >dk0:0-2 >dv0:0-2]\n"
     "[0.1 <k0:2-3 <v0:2-3 <q0:0-2 <dout0:0-2 <lse0:0-2 <delta0:0-2 <out0:0-2 x x x x <dq0:0-2 x >dq0:0-2 <q0:2-3 "
     "<dout0:2-3 <lse0:2-3 <delta0:2-3 <out0:2-3 x x x x <dq0:2-3 x >dq0:2-3 >dk0:2-3 >dv0:2-3]\n"},
    {"fa2-recompute", pass::backward,
     "[0.0 <out0:0-2 <dout0:0-2 >delta0:0-2]\n"
     "[0.1 <out0:2-3 <dout0:2-3 >delta0:2-3]\n"
     "[0.0 <k0:0-2 <v0:0-2 <q0:0-2 <dout0:0-2 <lse0:0-2 <delta0:0-2 x x x x <q0:2-3 <dout0:2-3 <lse0:2-3 <delta0:2-3 x "
     "x x x >dk0:0-2 >dv0:0-2]\n"
     "[0.1 <k0:2-3 <v0:2-3 <q0:0-2 <dout0:0-2 <lse0:0-2 <delta0:0-2 x x x x <q0:2-3 <dout0:2-3 <lse0:2-3 <delta0:2-3 x "
     "x x x >dk0:2-3 >dv0:2-3]\n"
     "[0.0 <q0:0-2 <dout0:0-2 <lse0:0-2 <delta0:0-2 <k0:0-2 <v0:0-2 x x x <k0:2-3 <v0:2-3 x x x >dq0:0-2]\n"
     "[0.1 <q0:2-3 <dout0:2-3 <lse0:2-3 <delta0:2-3 <k0:0-2 <v0:0-2 x x x <k0:2-3 <v0:2-3 x x x >dq0:2-3]\n"},
    {"split-keys", pass::forward,
     "[0.0 <q0:0-2 <k0:0-2 <v0:0-2 x x >partial_out0:0-2 >partial_max0:0-2 >partial_sum0:0-2]\n"
     "[0.1 <q0:2-3 <k0:0-2 <v0:0-2 x x >partial_out0:2-3 >partial_max0:2-3 >partial_sum0:2-3]\n"
     "between: <q0:0-3 >q0:0-3\n"
     "[1.0 <q0:0-2 <k0:2-3 <v0:2-3 x x >partial_out1:0-2 >partial_max1:0-2 >partial_sum1:0-2]\n"
     "[1.1 <q0:2-3 <k0:2-3 <v0:2-3 x x >partial_out1:2-3 >partial_max1:2-3 >partial_sum1:2-3]\n"
     "between: <partial_out1:0-3 >partial_out1:0-3 <partial_max1:0-3 >partial_max1:0-3 <partial_sum1:0-3 "
     ">partial_sum1:0-3\n"
     "[0.0 <partial_out0:0-2 <partial_max0:0-2 <partial_sum0:0-2 <partial_out1:0-2 <partial_max1:0-2 <partial_sum1:0-2 "
     ">out0:0-2 >lse0:0-2]\n"
     "[0.1 <partial_out0:2-3 <partial_max0:2-3 <partial_sum0:2-3 <partial_out1:2-3 <partial_max1:2-3 <partial_sum1:2-3 "
     ">out0:2-3 >lse0:2-3]\n"},
    {"ring", pass::forward,
     "[0.0 <q0:0-2 <k0:0-2 <v0:0-2 x x >partial_out0:0-2 >partial_lse0:0-2]\n"
     "[0.1 <q0:2-3 <k0:2-3 <v0:2-3 x x >partial_out0:2-3 >partial_lse0:2-3]\n"
     "between: <k0:2-3 >k0:2-3 <v0:2-3 >v0:2-3\n"
     "[0.0 <q0:0-2 <partial_out0:0-2 <partial_lse0:0-2 <k0:2-3 <v0:2-3 x x >out0:0-2 >lse0:0-2]\n"
     "between: <k0:0-2 >k0:0-2 <v0:0-2 >v0:0-2\n"
     "[0.1 <q0:2-3 <partial_out0:2-3 <partial_lse0:2-3 <k0:0-2 <v0:0-2 x x >out0:2-3 >lse0:2-3]\n"},
    {"small-cache", pass::forward,
     "[0.0 <q0:0-2 <k0:0-2 x >scores0:0-2/0-2 <q0:0-2 <k0:2-3 x >scores0:0-2/2-3 >lse0:0-2 <lse0:0-2 <scores0:0-2/0-2 "
     ">probabilities0:0-2/0-2 <scores0:0-2/2-3 >probabilities0:0-2/2-3 <probabilities0:0-2/0-2 <v0:0-2 x "
     "<probabilities0:0-2/2-3 <v0:2-3 x >out0:0-2]\n"
     "[0.1 <q0:2-3 <k0:0-2 x >scores0:2-3/0-2 <q0:2-3 <k0:2-3 x >scores0:2-3/2-3 >lse0:2-3 <lse0:2-3 <scores0:2-3/0-2 "
     ">probabilities0:2-3/0-2 <scores0:2-3/2-3 >probabilities0:2-3/2-3 <probabilities0:2-3/0-2 <v0:0-2 x "
     "<probabilities0:2-3/2-3 <v0:2-3 x >out0:2-3]\n"},
    {"small-cache", pass::backward,
     "[0.0 <out0:0-2 <dout0:0-2 <dout0:0-2 <v0:0-2 x <probabilities0:0-2/0-2 >dscores0:0-2/0-2 <dout0:0-2 <v0:2-3 x "
     "<probabilities0:0-2/2-3 >dscores0:0-2/2-3 <dscores0:0-2/0-2 <k0:0-2 x <dscores0:0-2/2-3 <k0:2-3 x >dq0:0-2]\n"
     "[0.1 <out0:2-3 <dout0:2-3 <dout0:2-3 <v0:0-2 x <probabilities0:2-3/0-2 >dscores0:2-3/0-2 <dout0:2-3 <v0:2-3 x "
     "<probabilities0:2-3/2-3 >dscores0:2-3/2-3 <dscores0:2-3/0-2 <k0:0-2 x <dscores0:2-3/2-3 <k0:2-3 x >dq0:2-3]\n"
     "[0.0 <probabilities0:0-2/0-2 <dout0:0-2 x <probabilities0:2-3/0-2 <dout0:2-3 x >dv0:0-2 <dscores0:0-2/0-2 "
     "<q0:0-2 x <dscores0:2-3/0-2 <q0:2-3 x >dk0:0-2]\n"
     "[0.1 <probabilities0:0-2/2-3 <dout0:0-2 x <probabilities0:2-3/2-3 <dout0:2-3 x >dv0:2-3 <dscores0:0-2/2-3 "
     "<q0:0-2 x <dscores0:2-3/2-3 <q0:2-3 x >dk0:2-3]\n"},
};

TEST(walks, operation_by_operation) {
    for (const walk& w : walks) {
        SCOPED_TRACE(std::string(w.who) + ' ' + std::string(name(w.which)));
        const algorithm& a = find_algorithm(w.who);
        experiment e;
        e.what = workload::square(3, 1);
        e.what.devices = a.distributed() ? 2 : 1;
        e.which = w.which;
        e.plan = {2, 2, 2};
        transcript t;
        static_cast<void>(run(a, e, &t));
        EXPECT_EQ(t.text, w.text);
    }
}

struct done_by_hand {
    const char* who;
    pass which;
    work done;
    index_t blocks, peak;
};

// q = 5, k = 7, d = 3, e = 2, Br = 2, Bc = 3: 3 x 3 tile pairs, 35 pairs, 15 visits of a row. Elements; one row of a product
// shares a pass over its right operand, so a product of m x n x depth reads m·n·depth numbers of it.
//   S 210 FLOP, P·V 140; backward dV 140, dP 140, dQ 210, dK 210.
//   Vector operations: logits 1 a pair; fold 3 a pair (fa1: 4), 1 a number of {max, sum} and of O a visit; end 1 each a row.
//   Near memory: the fill of each operand tile; a left operand once; a right one m times.
const done_by_hand work_of_algorithms[] = {
    // mask 35 + softmax 4 · 35; K 105 + V 70 as right operands, all of it streamed
    {"standard", pass::forward, {350, 35, 175, 175}, 2, 0},
    // 5 · 35; dO 70, V 70, K 105, Q 105
    {"standard", pass::backward, {700, 0, 175, 350}, 4, 0},
    // 35 + 4 · 35 + 2 · 30 of O; fills K 21, V 14, Q 45; Q 45, K 105, V 70. Three blocks initialise, three keep keys.
    // Q 6, K 9, V 6, O 4, S 6, six statistics of 2
    {"fa1", pass::forward, {350, 35, 235, 80 + 220}, 6, 43},
    {"fa1-lazy", pass::forward, {350, 35, 235, 80 + 220}, 3, 43},
    // delta 2 · 30, P 3 · 35, dS 2 · 35; fills K 21, V 14, Q 45, O 30, dO 30; S 45 + 105, dV 70, dP 30 + 70, dQ 105, dK 105.
    // Q 6, K 9, V 6, O 4, dO 4, dQ 6, dK 9, dV 6, P 6, dS 6, three statistics of 2
    {"fa1", pass::backward, {910, 35, 235, 140 + 530}, 9, 68},
    // 35 + 3 · 35 + 30 + 30 + 10 + 10; fills Q 15, K 63, V 42; Q 45, K 105, V 70. Q 6, K 9, V 6, S 6, O 4, {max, sum} 4
    {"fa2", pass::forward, {350, 35, 220, 120 + 220}, 3, 35},
    {"ring", pass::forward, {350, 35, 220, 120 + 220}, 3, 35},
    // delta 2 · 10, P 2 · 35, dS 2 · 35; delta's fills 20, then K 21, V 14, Q 45, dO 30 and 530 as above.
    // Q 6, dO 4, K 9, V 6, lse 2, delta 2, P 6, dS 6, dK 9, dV 6, dQ 6. Four passes of three blocks
    {"fa2", pass::backward, {910, 35, 160, 20 + 110 + 530}, 12, 62},
    {"fa2-printed", pass::backward, {910, 35, 160, 20 + 110 + 530 + 30}, 9, 66}, // O as well
    // dQ apart: S, dP and dQ once more, their P and dS too; fills Q 15, dO 10, K 63, V 42; 150 + 100 + 105
    {"fa2-recompute", pass::backward, {700 + 560, 70, 20 + 2 * 140, 20 + 110 + 425 + 130 + 355}, 9, 56},
    // two parts: 200 in visits as fa2, and no end; combining 1 of the weights, 3 of O a part, 1 of O: 20 + 60 + 10, and an
    // exponential for each of 20 weights
    {"split-keys", pass::forward, {350, 35 + 20, 200 + 90, 30 + 63 + 42 + 220}, 9, 35},
    // 35 + 3 · 35 + 30 of {max, sum} + 10 + 35 for P; {max, sum} 4, S 6, a column of Q 2 and of K 3
    {"small-cache", pass::forward, {350, 70, 215, 175}, 3, 15},
    // delta 2 · 10, dS 2 · 35; delta 2, dS 6, a column of dO 2 and of V 3
    {"small-cache", pass::backward, {700, 0, 90, 350}, 6, 13},
};

TEST(walks, work_blocks_and_room_by_hand) {
    for (const done_by_hand& w : work_of_algorithms) {
        SCOPED_TRACE(std::string(w.who) + ' ' + std::string(name(w.which)));
        experiment e;
        e.what = workload::square(5, 3);
        e.what.k_len = 7;
        e.what.value_dim = 2;
        e.which = w.which;
        e.plan = {2, 3, 2};
        e.near.product_rows = 1;
        const run_result r = run(find_algorithm(w.who), e);
        EXPECT_EQ(r.done, w.done) << r.done.matrix_flops << ' ' << r.done.exponentials << ' ' << r.done.vector_flops
                                  << ' ' << r.done.near_bytes;
        EXPECT_EQ(r.blocks, w.blocks);
        EXPECT_EQ(r.peak_bytes, w.peak);
        EXPECT_EQ(footprint_of(find_algorithm(w.who), e).bytes, w.peak);
        e.near.bytes = w.peak;
        EXPECT_NO_THROW(static_cast<void>(run(find_algorithm(w.who), e)));
        if (w.peak == 0) continue;
        e.near.bytes = w.peak - 1;
        EXPECT_THROW(static_cast<void>(run(find_algorithm(w.who), e)), does_not_fit);
    }
}

// The shares of K and V go round: in round r device i has what device i - r began with. Two devices could not tell which way.
TEST(walks, a_ring_of_three_goes_one_way) {
    experiment e;
    e.what = workload::square(3, 1);
    e.what.devices = 3;
    e.plan = {1, 1, 1};
    transcript t;
    static_cast<void>(run(find_algorithm("ring"), e, &t));
    std::string keys; // of each block, one row of each device in turn
    for (std::size_t at = t.text.find('['); at != std::string::npos; at = t.text.find('[', at + 1)) {
        keys += t.text[t.text.find("<k0:", at) + 4];
    }
    EXPECT_EQ(keys, "012201120") << t.text;
}

// A second stage holds the tiles that pass by twice: K and V forward, Q and dO backward.
TEST(walks, stages_take_room) {
    experiment e;
    e.what = workload::square(5, 3);
    e.what.k_len = 7;
    e.what.value_dim = 2;
    e.plan = {2, 3, 1};
    e.near.stages = 3;
    EXPECT_EQ(run(find_algorithm("fa2"), e).peak_bytes, 35 + 2 * (9 + 6));
    e.near.probabilities_in_place = false;
    EXPECT_EQ(run(find_algorithm("fa2"), e).peak_bytes, 35 + 2 * (9 + 6) + 6);
    e.which = pass::backward;
    EXPECT_EQ(run(find_algorithm("fa2"), e).peak_bytes, 62 + 2 * (6 + 4));
}

// Tiles larger than the matrices are as large as these.
TEST(walks, room_is_for_what_there_is) {
    experiment e;
    e.what = workload::square(5, 3, 4);
    e.what.kv_heads = 2;
    e.what.k_len = 7;
    e.what.value_dim = 2;
    e.plan = {64, 64, 1};
    const auto room = [](index_t rows) { return rows * 3 + 7 * 3 + 7 * 2 + rows * 7 + rows * 2 + rows * 2; };
    EXPECT_EQ(run(find_algorithm("fa2"), e).peak_bytes, room(5));
    EXPECT_EQ(footprint_of(find_algorithm("fa2"), e).bytes, room(5));
    e.what.packed_heads = true; // ten rows
    EXPECT_EQ(run(find_algorithm("fa2"), e).peak_bytes, room(10));
    EXPECT_EQ(footprint_of(find_algorithm("fa2"), e).bytes, room(10));
    e.what.mask = causal();
    EXPECT_EQ(run(find_algorithm("fa2"), e).peak_bytes, room(10));
}

// Algorithm 1, line 1: Bc = ceil(M / 4d), Br = min(Bc, d).
TEST(walks, the_printed_tiles) {
    const auto tiles = [](index_t d, index_t m) {
        return find_algorithm("fa1").published_tiles(workload::square(8, d), pass::forward, m).value();
    };
    EXPECT_EQ(tiles(64, 65536), (tile_plan{64, 256, 1}));
    EXPECT_EQ(tiles(64, 1024), (tile_plan{4, 4, 1}));
    EXPECT_EQ(tiles(64, 1025), (tile_plan{5, 5, 1}));
    EXPECT_EQ(tiles(64, 64 * 256), (tile_plan{64, 64, 1}));
    EXPECT_EQ(tiles(64, 64 * 256 + 1), (tile_plan{64, 65, 1}));
    EXPECT_EQ(tiles(0, 4), (tile_plan{1, 1, 1}));
    EXPECT_FALSE(find_algorithm("fa2").published_tiles(workload::square(8, 4), pass::forward, 100).has_value());
}

} // namespace
} // namespace pantile::inline v0::simulator
