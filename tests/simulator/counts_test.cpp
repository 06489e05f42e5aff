// Tensors, types, widths and shapes: every one beside what it is.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

using ::testing::ElementsAre;

TEST(counts, tensors_have_their_names_and_widths) {
    struct row {
        tensor t;
        const char* name;
        bool users; // in the type of the call; else fp32, fp64 in a call on fp64
    };
    const row all[] = {{tensor::q, "q", true},
                       {tensor::k, "k", true},
                       {tensor::v, "v", true},
                       {tensor::out, "out", true},
                       {tensor::lse, "lse", false},
                       {tensor::row_max, "row_max", false},
                       {tensor::row_sum, "row_sum", false},
                       {tensor::scores, "scores", true},
                       {tensor::probabilities, "probabilities", true},
                       {tensor::partial_out, "partial_out", false},
                       {tensor::partial_max, "partial_max", false},
                       {tensor::partial_sum, "partial_sum", false},
                       {tensor::partial_lse, "partial_lse", false},
                       {tensor::dout, "dout", true},
                       {tensor::delta, "delta", false},
                       {tensor::dq_sum, "dq_sum", false},
                       {tensor::dq, "dq", true},
                       {tensor::dk, "dk", true},
                       {tensor::dv, "dv", true},
                       {tensor::dprobabilities, "dprobabilities", true},
                       {tensor::dscores, "dscores", true}};
    ASSERT_EQ(std::size(all), static_cast<std::size_t>(tensor_kinds));
    for (const row& r : all) {
        SCOPED_TRACE(r.name);
        EXPECT_EQ(name(r.t), r.name);
        EXPECT_EQ(bytes_of(r.t, dtype::fp64), 8);
        EXPECT_EQ(bytes_of(r.t, dtype::fp32), 4);
        EXPECT_EQ(bytes_of(r.t, dtype::fp16), r.users ? 2 : 4);
        EXPECT_EQ(bytes_of(r.t, dtype::bf16), r.users ? 2 : 4);
        EXPECT_EQ(bytes_of(r.t, dtype::fp8), r.users ? 1 : 4);
    }
}

TEST(counts, types_have_names) {
    for (const auto& [type, text] : std::initializer_list<std::pair<dtype, const char*>>{{dtype::fp64, "fp64"},
                                                                                         {dtype::fp32, "fp32"},
                                                                                         {dtype::fp16, "fp16"},
                                                                                         {dtype::bf16, "bf16"},
                                                                                         {dtype::fp8, "fp8"}}) {
        EXPECT_EQ(name(type), text);
        EXPECT_EQ(parse_dtype(text), type);
    }
    try {
        static_cast<void>(parse_dtype("int8"));
        FAIL();
    } catch (const invalid_argument& e) {
        EXPECT_STREQ(e.what(), "dtype is 'int8': it must be fp64, fp32, fp16, bf16 or fp8");
    }
    EXPECT_EQ(name(pass::forward), "forward");
    EXPECT_EQ(name(pass::backward), "backward");
}

TEST(counts, sums_over_tensors) {
    counts a;
    a.read(tensor::q, 3);
    a.write(tensor::q, 5);
    a.read(tensor::lse, 7);
    counts b;
    b.read(tensor::q, 10);
    b.write(tensor::dq_sum, 20);
    a += b;
    EXPECT_EQ(a[tensor::q], (core::transfers{13, 5}));
    EXPECT_EQ(a[tensor::dq_sum], (core::transfers{0, 20}));
    EXPECT_EQ(a.elements(), (core::transfers{20, 25}));
    EXPECT_EQ(a.bytes(dtype::bf16), (core::transfers{2 * 13 + 4 * 7, 2 * 5 + 4 * 20}));
    EXPECT_EQ(a.bytes(dtype::fp8), (core::transfers{13 + 4 * 7, 5 + 4 * 20}));
}

TEST(workload, shapes_of_every_tensor) {
    workload w;
    w.batch = 2;
    w.q_heads = 6;
    w.kv_heads = 3;
    w.q_len = 5;
    w.k_len = 7;
    w.head_dim = 4;
    w.value_dim = 8;
    const auto shape = [&](tensor t) { return shape_of(t, w, 10); };
    for (const tensor t : {tensor::q, tensor::dq, tensor::dq_sum}) EXPECT_THAT(shape(t), ElementsAre(12, 5, 4));
    for (const tensor t : {tensor::out, tensor::dout}) EXPECT_THAT(shape(t), ElementsAre(12, 5, 8));
    for (const tensor t : {tensor::lse, tensor::row_max, tensor::row_sum, tensor::delta}) {
        EXPECT_THAT(shape(t), ElementsAre(12, 5, 1));
    }
    for (const tensor t : {tensor::scores, tensor::probabilities, tensor::dprobabilities, tensor::dscores}) {
        EXPECT_THAT(shape(t), ElementsAre(12, 5, 7));
    }
    EXPECT_THAT(shape(tensor::k), ElementsAre(6, 7, 4));
    EXPECT_THAT(shape(tensor::v), ElementsAre(6, 7, 8));
    EXPECT_THAT(shape(tensor::partial_out), ElementsAre(120, 5, 8));
    for (const tensor t : {tensor::partial_max, tensor::partial_sum, tensor::partial_lse})
        EXPECT_THAT(shape(t), ElementsAre(120, 5, 1));
    EXPECT_THAT(shape(tensor::dk), ElementsAre(12, 7, 4)); // one a query head
    EXPECT_THAT(shape(tensor::dv), ElementsAre(12, 7, 8));
    w.packed_heads = true;
    EXPECT_THAT(shape(tensor::dk), ElementsAre(6, 7, 4));
    EXPECT_THAT(shape(tensor::dv), ElementsAre(6, 7, 8));
    EXPECT_THAT(shape(tensor::q), ElementsAre(12, 5, 4));
}

TEST(workload, core_gets_every_field) {
    workload w = workload::square(5, 4, 6, 2);
    EXPECT_EQ(w.batch, 2);
    EXPECT_EQ(w.q_heads, 6);
    EXPECT_EQ(w.kv_heads, 6);
    w.kv_heads = 3;
    w.k_len = 7;
    w.value_dim = 8;
    w.mask = window(2, 3).at_offset(-1);
    core::problem p = w.problem();
    EXPECT_EQ(p.batch, 2);
    EXPECT_EQ(p.q_heads, 6);
    EXPECT_EQ(p.kv_heads, 3);
    EXPECT_EQ(p.q_len, 5);
    EXPECT_EQ(p.k_len, 7);
    EXPECT_EQ(p.head_dim, 4);
    EXPECT_EQ(p.value_dim, 8);
    EXPECT_EQ(p.mask.left, 2);
    EXPECT_EQ(p.mask.right, 3);
    EXPECT_EQ(p.mask.align, alignment::explicit_offset);
    EXPECT_EQ(p.mask.offset, -1);
    EXPECT_FALSE(p.key_lengths.given());
    w.key_lengths = {1, 2};
    EXPECT_EQ(w.problem().key_lengths.data(), w.key_lengths.data());
    EXPECT_EQ(workload::square(5, 4).value_dim, 4);
}

TEST(workload, every_field_is_checked) {
    const auto refusal = [](auto&& change) {
        workload w = workload::square(8, 4, 2, 2);
        change(w);
        try {
            w.check();
        } catch (const invalid_argument& e) {
            return std::string(e.what());
        }
        return std::string("accepted");
    };
    // By the names that calls of the library have for them: its own checks speak.
    const std::initializer_list<std::pair<const char*, index_t workload::*>> sizes{
        {"q.batch", &workload::batch},        {"q.heads", &workload::q_heads}, {"k.heads", &workload::kv_heads},
        {"q.length", &workload::q_len},       {"k.length", &workload::k_len},  {"q.head_dim", &workload::head_dim},
        {"v.value_dim", &workload::value_dim}};
    for (const auto& [field, member] : sizes) {
        EXPECT_EQ(refusal([m = member](workload& w) { w.*m = -3; }),
                  "pantile: " + std::string(field) + " is -3: it must be between 0 and 2^48");
    }
    for (const auto& [field, member] : sizes) {
        if (member == &workload::kv_heads) continue;
        EXPECT_EQ(refusal([m = member](workload& w) { w.*m = 0; }), "accepted") << field;
    }
    EXPECT_EQ(refusal([](workload& w) { w.kv_heads = 0; }),
              "pantile: q.heads is 2, k.heads is 0: q.heads must be a multiple of k.heads");
    EXPECT_EQ(refusal([](workload& w) { w.kv_heads = 4; }),
              "pantile: q.heads is 2, k.heads is 4: q.heads must be a multiple of k.heads");
    for (const dtype type : {dtype::fp64, dtype::fp32, dtype::bf16, dtype::fp8})
        EXPECT_EQ(refusal([&](workload& w) { w.type = type; }), "accepted");
    EXPECT_EQ(refusal([](workload& w) { w.mask.left = -1; }), "accepted"); // a band beside the diagonal
    EXPECT_EQ(refusal([](workload& w) { w.mask.offset = index_t{1} << 49; }),
              "pantile: options.mask.offset is 562949953421312: it must be within ±2^48");
    EXPECT_EQ(refusal([](workload& w) { w.softcap = -1; }),
              "pantile: options.softcap is -1: it must be at least 0 (0: off), and softcap · log2(e) finite in fp32");
    EXPECT_EQ(refusal([](workload& w) {
                  w.slopes = {1, 2, 3};
              }),
              "pantile: options.slopes has 3 entries, q.heads is 2: there must be one a query head, or one a batch and "
              "query head");
    EXPECT_EQ(refusal([](workload& w) { w.slopes = {1, 2, 3, 4}; }), "accepted");
    EXPECT_EQ(refusal([](workload& w) { w.sinks = {1}; }),
              "pantile: options.sinks has 1 entries, q.heads is 2: there must be one a query head");
    EXPECT_EQ(refusal([](workload& w) { w.sinks = {1, -HUGE_VAL}; }), "accepted");
    EXPECT_EQ(refusal([](workload& w) { w.devices = 0; }), "devices is 0: it must be at least 1");
    EXPECT_EQ(refusal([](workload& w) { w.key_lengths = {0, 8}; }), "accepted");
    EXPECT_EQ(refusal([](workload& w) {
                  w.key_lengths = {0, -1};
              }),
              "pantile: options.key_lengths[1] is -1: it must be between 0 and k.length, 8");
    EXPECT_EQ(refusal([](workload& w) {
                  w.key_lengths = {9, 0};
              }),
              "pantile: options.key_lengths[0] is 9: it must be between 0 and k.length, 8");
    const auto blocks = [&](index_t rows, index_t cols, std::size_t entries) {
        return refusal([&](workload& w) {
            w.block_rows = rows;
            w.block_cols = cols;
            w.blocks.assign(entries, 1);
        });
    };
    EXPECT_EQ(blocks(3, 5, 6), "accepted"); // ceil(8 / 3) · ceil(8 / 5)
    EXPECT_EQ(blocks(3, 5, 5), "blocks has 5 entries: 6 blocks cover the scores");
    EXPECT_EQ(blocks(3, 5, 7), "blocks has 7 entries: 6 blocks cover the scores");
    EXPECT_EQ(blocks(0, 5, 6), "blocks of 0x5: both must be positive");
    EXPECT_EQ(blocks(3, 0, 6), "blocks of 3x0: both must be positive");
}

/// "batch q_place/kv_place rows x keys of row tiles x key tiles, scale, group" of each task.
std::vector<std::string> tasks_of(const workload& w, const tile_plan& plan) {
    std::vector<std::string> list;
    for_each_head(w, plan, [&](const head_task& t) {
        list.push_back(std::to_string(t.batch) + ' ' + std::to_string(t.q_place) + '/' + std::to_string(t.kv_place) +
                       ' ' + std::to_string(t.q_rows()) + 'x' + std::to_string(t.plan.seq.k_len) + ' ' +
                       std::to_string(t.plan.row_tiles()) + 'x' + std::to_string(t.plan.key_tiles()) + ' ' +
                       std::to_string(t.row_scale) + ' ' + std::to_string(t.group));
    });
    return list;
}

TEST(workload, heads_packed_and_not) {
    workload w = workload::square(5, 4, 4, 2);
    w.kv_heads = 2;
    w.k_len = 7;
    EXPECT_THAT(tasks_of(w, {4, 3, 1}),
                ElementsAre("0 0/0 5x7 2x3 1 1", "0 1/0 5x7 2x3 1 1", "0 2/1 5x7 2x3 1 1", "0 3/1 5x7 2x3 1 1",
                            "1 4/2 5x7 2x3 1 1", "1 5/2 5x7 2x3 1 1", "1 6/3 5x7 2x3 1 1", "1 7/3 5x7 2x3 1 1"));
    w.packed_heads = true; // ten rows of two heads in tiles of four
    EXPECT_THAT(tasks_of(w, {4, 3, 1}),
                ElementsAre("0 0/0 10x7 3x3 1 2", "0 1/1 10x7 3x3 1 2", "1 2/2 10x7 3x3 1 2", "1 3/3 10x7 3x3 1 2"));
    w.mask = causal(); // five positions, two a tile
    EXPECT_THAT(tasks_of(w, {4, 3, 1}),
                ElementsAre("0 0/0 10x7 3x3 2 2", "0 1/1 10x7 3x3 2 2", "1 2/2 10x7 3x3 2 2", "1 3/3 10x7 3x3 2 2"));
    try {
        static_cast<void>(tasks_of(w, {3, 3, 1}));
        FAIL();
    } catch (const invalid_argument& e) {
        EXPECT_STREQ(e.what(), "row_tile is 3, 2 query heads share a key/value head: packed heads under a mask need a "
                               "multiple of it");
    }
    w.mask = full();
    w.key_lengths = {7, 2};
    EXPECT_THAT(tasks_of(w, {10, 3, 1}),
                ElementsAre("0 0/0 10x7 1x3 1 2", "0 1/1 10x7 1x3 1 2", "1 2/2 10x2 1x1 1 2", "1 3/3 10x2 1x1 1 2"));
}

TEST(runs, what_an_algorithm_cannot_do_is_refused) {
    const auto refusal = [](const char* who, auto&& change) {
        experiment e;
        e.what = workload::square(8, 4);
        e.plan = {4, 4, 1};
        change(e);
        try {
            static_cast<void>(run(find_algorithm(who), e));
        } catch (const invalid_argument& error) {
            return std::string(error.what());
        }
        return std::string("accepted");
    };
    EXPECT_EQ(refusal("fa1-lazy", [](experiment& e) { e.which = pass::backward; }), "fa1-lazy has no backward pass");
    EXPECT_EQ(refusal("fa2", [](experiment& e) { e.what.devices = 2; }), "fa2 runs on one device, devices is 2");
    EXPECT_EQ(refusal("ring", [](experiment& e) { e.what.devices = 2; }), "accepted");
    EXPECT_EQ(refusal("ring", [](experiment& e) { set_blocks(e.what, "4x4:local:0"); }),
              "ring does not take a block mask");
    EXPECT_EQ(refusal("fa2", [](experiment& e) { e.what.q_len = -1; }),
              "pantile: q.length is -1: it must be between 0 and 2^48");
    EXPECT_EQ(refusal("fa2", [](experiment& e) { e.plan.row_tile = 0; }),
              "tiles of 0 rows x 4 keys, 1 splits: each must be positive");
    EXPECT_EQ(refusal("fa2", [](experiment& e) { e.plan.key_tile = 0; }),
              "tiles of 4 rows x 0 keys, 1 splits: each must be positive");
    EXPECT_EQ(refusal("fa2", [](experiment& e) { e.plan.key_splits = 0; }),
              "tiles of 4 rows x 4 keys, 0 splits: each must be positive");
    EXPECT_EQ(refusal("standard", [](experiment& e) { e.plan = {0, 0, 0}; }), "accepted"); // has no tiles
    try {
        static_cast<void>(find_algorithm("fa3"));
        FAIL();
    } catch (const invalid_argument& e) {
        EXPECT_STREQ(e.what(), "there is no algorithm 'fa3'; there are standard, fa1, fa1-lazy, fa2, fa2-printed, "
                               "fa2-recompute, split-keys, ring, small-cache");
    }
}

} // namespace
} // namespace pantile::inline v0::simulator
