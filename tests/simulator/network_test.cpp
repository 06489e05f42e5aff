// Several devices: what crosses the link, and block masks in words.

#include <gtest/gtest.h>

#include <fstream>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

#include "oracle.hpp"

namespace pantile::inline v0::simulator {
namespace {

experiment on_devices(index_t devices) {
    experiment e;
    e.what = workload::square(96, 8, 6);
    e.what.kv_heads = 2;
    e.what.devices = devices;
    e.plan = {8, 8, 1};
    return e;
}

TEST(network, a_ring_sends_every_key_to_every_other_device) {
    const algorithm& ring = find_algorithm("ring");
    const index_t keys = 2 * 96; // of both key/value heads, not of the six query heads
    for (const index_t devices : {1, 2, 3, 4}) {
        const run_result r = run(ring, on_devices(devices));
        EXPECT_EQ(r.sent[tensor::k].writes, (devices - 1) * keys * 8);
        EXPECT_EQ(r.sent[tensor::v].writes, (devices - 1) * keys * 8);
        EXPECT_EQ(r.sent, ring.sent_formula(on_devices(devices).what, pass::forward, {8, 8, 1}));
        // A causal mask hides half of the pairs; the keys go round all the same.
        experiment masked = on_devices(devices);
        masked.what.mask = causal();
        EXPECT_EQ(run(ring, masked).sent, r.sent);
        EXPECT_LT(run(ring, masked).moved[tensor::partial_out].reads, r.moved[tensor::partial_out].reads + 1);
    }
}

TEST(network, a_ring_of_one_is_fa2) {
    EXPECT_EQ(run(find_algorithm("ring"), on_devices(1)).moved, run(find_algorithm("fa2"), on_devices(1)).moved);
}

TEST(network, split_keys_send_queries_out_and_partial_results_back) {
    experiment e = on_devices(4);
    e.what.q_len = 1;
    e.plan.key_splits = 6; // parts 0 and 4 on the first device, 1 and 5 on the second, 2, 3
    const run_result r = run(find_algorithm("split-keys"), e);
    EXPECT_EQ(r.sent[tensor::q].writes, 3 * 6 * 8);
    EXPECT_EQ(r.sent[tensor::partial_out].writes, 4 * 6 * 8);
    EXPECT_EQ(r.sent[tensor::partial_max].writes, 4 * 6);
    EXPECT_EQ(r.sent[tensor::partial_sum].writes, 4 * 6);
    EXPECT_EQ(r.sent[tensor::k].writes, 0);
}

TEST(network, the_answer_does_not_depend_on_the_devices) {
    std::mt19937_64 random(5);
    experiment e = on_devices(3);
    e.what.mask = window(20, 4);
    const oracle::attention_inputs in = oracle::random_inputs(e.what, random);
    const oracle::attention_result expected = oracle::attend(e.what, in);
    far_memory far = oracle::filled(e, in, expected);
    static_cast<void>(execute(find_algorithm("ring"), e, far));
    EXPECT_LT(oracle::difference(far[tensor::out], expected.out), 1e-12);
    EXPECT_LT(oracle::difference(far[tensor::lse], expected.lse), 1e-12);
}

TEST(network, a_link_is_a_resource_like_another) {
    const machine h100 = find_machine("h100");
    experiment e = on_devices(8);
    e.what = workload::square(16384, 128, 8);
    e.what.devices = 8;
    e.plan = {128, 128, 1};
    e.near = h100.near(dtype::bf16);
    const run_result r = run(find_algorithm("ring"), e);
    const time_estimate t = estimate(h100, e, r, compulsory_bytes(e.what, e.which));
    double network = 0;
    for (const resource_time& x : t.resources) network += x.name == "network" ? x.seconds : 0;
    // 7 hops of K and V, over eight links of 450 GB/s.
    EXPECT_DOUBLE_EQ(network, 7.0 * 2 * 8 * 16384 * 128 * 2 / (8 * 450e9));
    experiment few = e;
    few.what.devices = 1;
    EXPECT_THROW(static_cast<void>(run(find_algorithm("fa2"), e)), invalid_argument);
    EXPECT_NO_THROW(static_cast<void>(run(find_algorithm("fa2"), few)));
}

std::string drawn(const workload& w) {
    std::string text;
    for (std::size_t i = 0; i < w.blocks.size(); ++i) text += w.blocks[i] != 0 ? '1' : '0';
    return text;
}

TEST(blocks, patterns) {
    workload w = workload::square(60, 4); // 4 x 4 blocks of 16, the last of 12
    const auto pattern = [&](const char* text) {
        set_blocks(w, text);
        return drawn(w);
    };
    EXPECT_EQ(pattern("16x16:local:1"), "1100111001110011");
    EXPECT_EQ(pattern("16x16:butterfly"), "1110110110110111");
    EXPECT_EQ(pattern("16x16:strided:2"), "1101010101110101");
    EXPECT_EQ(pattern("16x16:random:0"), "0000000000000000");
    EXPECT_EQ(pattern("16x16:random:100"), "1111111111111111");
    EXPECT_EQ(pattern("16x16:random:25:3"), pattern("16x16:random:25:3"));
    EXPECT_DOUBLE_EQ(visible_share(w), 0.25);
    EXPECT_NE(pattern("16x16:random:50:3"), pattern("16x16:random:50:4"));
    for (const char* wrong : {"16:local:1", "16x16", "16x16:local", "0x16:butterfly", "16x16:random:101",
                              "16x16:file:", "16x16:random:-3", "16x16:strided:0", "1ex16:butterfly"}) {
        EXPECT_THROW(set_blocks(w, wrong), invalid_argument) << wrong;
    }
}

TEST(blocks, a_file_holds_the_mask) {
    const std::string path = ::testing::TempDir() + "pantile_blocks.txt";
    workload w = workload::square(40, 4);
    std::ofstream(path) << "1 0\n0 1\n";
    set_blocks(w, "20x20:file:" + path);
    EXPECT_EQ(drawn(w), "1001");
    std::ofstream(path) << "10\n011\n";
    EXPECT_THROW(set_blocks(w, "20x20:file:" + path), invalid_argument);
    std::ofstream(path) << "10\n";
    EXPECT_THROW(set_blocks(w, "20x20:file:" + path), invalid_argument);
    std::ofstream(path) << "10\n0x\n";
    EXPECT_THROW(set_blocks(w, "20x20:file:" + path), invalid_argument);
}

// Proposition 4 of arXiv 2205.14135: tiles as large as the blocks save the hidden share of what depends on the mask.
TEST(blocks, hidden_blocks_are_not_read) {
    const algorithm& fa2 = find_algorithm("fa2");
    experiment e;
    e.what = workload::square(1024, 16);
    e.plan = {64, 64, 1};
    const index_t dense = run(fa2, e).moved[tensor::k].reads;
    set_blocks(e.what, "64x64:random:25");
    EXPECT_EQ(run(fa2, e).moved[tensor::k].reads * 4, dense);
    EXPECT_TRUE(check_one(fa2, e).empty());
}

} // namespace
} // namespace pantile::inline v0::simulator
