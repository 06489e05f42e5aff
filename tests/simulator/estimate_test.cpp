// Time estimates on a machine and a run made of round numbers, each resource worked out by hand.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pantile/error.hpp>
#include <pantile/simulator.hpp>

namespace pantile::inline v0::simulator {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

machine toy() {
    machine m;
    m.name = "toy";
    m.title = "A toy";
    m.processors = 4;
    m.clock_ghz = 1;
    m.scratchpad_bytes = 1000;
    m.matrix_tflops = {{"bf16", 1}};
    m.sustained_share = 0.5;
    m.exponentials_per_clock = 2;
    m.vector_operations_per_clock = 4;
    m.scratchpad_bytes_per_clock = 8;
    m.last_cache_gb_per_s = 2;
    m.memory_gb_per_s = 1;
    m.network_gb_per_s = 0.5;
    return m;
}

experiment sizes() {
    experiment e;
    e.what = workload::square(1024, 64);
    e.what.value_dim = 32;
    return e;
}

/// 1000 / 400: two blocks a processor, eight at once; 12 blocks make two waves, 12 / 16 = 3/4 full. The processors'
/// rates count for 3/4 then: 4 · 1e9 · 3/4 = 3e9 clocks a second, 1e12 · 1/2 · 3/4 FLOP/s.
run_result work_of() {
    run_result r;
    r.blocks = 12;
    r.peak_bytes = 400;
    r.done = {3'750'000, 12'000, 36'000, 96'000}; // 10, 2, 3 and 4 us
    r.moved.read(tensor::q, 1000);                // 2000 bytes
    r.moved.write(tensor::lse, 250);              // 1000 bytes: fp32 whatever the type; 3000 / 2e9 = 1.5 us
    r.sent.write(tensor::k, 100);                 // 200 bytes / 0.5e9 = 0.4 us
    return r;
}

std::vector<std::string> names(const time_estimate& t) {
    std::vector<std::string> list;
    for (const resource_time& x : t.resources) list.push_back(x.name);
    return list;
}
double time_of(const time_estimate& t, const char* resource) {
    for (const resource_time& x : t.resources) {
        if (x.name == resource) return x.seconds;
    }
    return -1;
}

TEST(estimate, each_resource_takes_its_amount_over_its_rate) {
    const time_estimate t = estimate(toy(), sizes(), work_of(), 7000);
    EXPECT_EQ(t.blocks_at_once, 8);
    EXPECT_DOUBLE_EQ(t.wave_efficiency, 0.75);
    EXPECT_THAT(names(t),
                ElementsAre("matrix", "memory", "scratchpad", "vector", "exponentials", "last cache", "network"));
    EXPECT_DOUBLE_EQ(time_of(t, "matrix"), 10e-6);
    EXPECT_DOUBLE_EQ(time_of(t, "exponentials"), 2e-6);
    EXPECT_DOUBLE_EQ(time_of(t, "vector"), 3e-6);
    EXPECT_DOUBLE_EQ(time_of(t, "scratchpad"), 4e-6);
    EXPECT_DOUBLE_EQ(time_of(t, "last cache"), 1.5e-6);
    EXPECT_DOUBLE_EQ(time_of(t, "memory"), 7e-6);
    EXPECT_DOUBLE_EQ(time_of(t, "network"), 0.4e-6);
    EXPECT_DOUBLE_EQ(t.overlapped, 10e-6); // the busiest
    EXPECT_DOUBLE_EQ(t.serial, 15e-6);     // matrix, exponentials and vector in turn
    EXPECT_EQ(t.binding(), "matrix");
    // Memory that takes longer than all arithmetic binds both ways.
    const time_estimate starved = estimate(toy(), sizes(), work_of(), 20000);
    EXPECT_DOUBLE_EQ(starved.overlapped, 20e-6);
    EXPECT_DOUBLE_EQ(starved.serial, 20e-6);
    EXPECT_EQ(starved.binding(), "memory");
}

TEST(estimate, devices_share_everything_evenly) {
    experiment e = sizes();
    e.what.devices = 3;
    run_result r = work_of();
    r.blocks = 18; // 24 at once: one wave, 3/4 full
    const time_estimate t = estimate(toy(), e, r, 7000);
    EXPECT_EQ(t.blocks_at_once, 24);
    EXPECT_DOUBLE_EQ(t.wave_efficiency, 0.75);
    for (const auto& [name, alone] : std::initializer_list<std::pair<const char*, double>>{{"matrix", 10e-6},
                                                                                           {"exponentials", 2e-6},
                                                                                           {"vector", 3e-6},
                                                                                           {"scratchpad", 4e-6},
                                                                                           {"last cache", 1.5e-6},
                                                                                           {"memory", 7e-6},
                                                                                           {"network", 0.4e-6}}) {
        EXPECT_DOUBLE_EQ(time_of(t, name), alone / 3) << name;
    }
}

TEST(estimate, blocks_share_a_processor_by_scratchpad_and_registers) {
    const auto at_once = [](index_t scratchpad, index_t held, index_t registers, index_t registers_held) {
        machine m = toy();
        m.processors = 1;
        m.scratchpad_bytes = scratchpad;
        m.register_bytes = registers;
        run_result r = work_of();
        r.peak_bytes = held;
        r.peak_register_bytes = registers_held;
        return estimate(m, sizes(), r, 0).blocks_at_once;
    };
    EXPECT_EQ(at_once(1000, 500, 0, 0), 2);
    EXPECT_EQ(at_once(1000, 501, 0, 0), 1);
    EXPECT_EQ(at_once(1000, 1001, 0, 0), 1); // at least one
    EXPECT_EQ(at_once(1000, 100, 900, 300), 3);
    EXPECT_EQ(at_once(1000, 500, 900, 300), 2);
    EXPECT_EQ(at_once(1000, 1, 0, 0), 16); // at most sixteen
    EXPECT_EQ(at_once(0, 1000, 900, 0), 16);
}

TEST(estimate, a_wave_may_be_full_and_a_run_empty) {
    run_result r = work_of();
    for (const auto& [blocks, efficiency] : std::initializer_list<std::pair<index_t, double>>{
             {8, 1}, {16, 1}, {9, 9.0 / 16}, {17, 17.0 / 24}, {1, 1.0 / 8}, {0, 1}}) {
        r.blocks = blocks;
        EXPECT_DOUBLE_EQ(estimate(toy(), sizes(), r, 0).wave_efficiency, efficiency) << blocks;
    }
}

TEST(estimate, what_a_machine_does_not_tell_is_left_out) {
    machine m = toy();
    m.exponentials_per_clock = m.vector_operations_per_clock = m.scratchpad_bytes_per_clock = 0;
    m.last_cache_gb_per_s = m.network_gb_per_s = 0;
    const time_estimate t = estimate(m, sizes(), work_of(), 7000);
    EXPECT_THAT(names(t), ElementsAre("matrix", "memory"));
    EXPECT_DOUBLE_EQ(t.serial, 10e-6);
    run_result alone = work_of();
    alone.sent = {};
    EXPECT_EQ(time_of(estimate(toy(), sizes(), alone, 0), "network"), -1) << "nothing is sent: no network";

    const auto refusal = [](const machine& x) {
        try {
            static_cast<void>(estimate(x, sizes(), work_of(), 0));
        } catch (const invalid_argument& e) {
            return std::string(e.what());
        }
        return std::string("accepted");
    };
    const char* text = "machine toy gives no clock or no matrix rate for bf16: there is no time estimate";
    machine slow = toy();
    slow.clock_ghz = 0;
    EXPECT_EQ(refusal(slow), text);
    machine other = toy();
    other.matrix_tflops = {{"fp16", 1}};
    EXPECT_EQ(refusal(other), text);
}

TEST(estimate, compulsory_bytes_are_each_tensor_once) {
    workload w;
    w.batch = 2;
    w.q_heads = 4;
    w.kv_heads = 2;
    w.q_len = 5;
    w.k_len = 7;
    w.head_dim = 3;
    w.value_dim = 2;
    // bf16. q 8·5·3·2 = 240, k 4·7·3·2 = 168, v 4·7·2·2 = 112, out 8·5·2·2 = 160, lse 8·5·4 = 160.
    EXPECT_EQ(compulsory_bytes(w, pass::forward), 840);
    // dout 160, dq 240; dk and dv of each query head: 8·7·3·2 = 336, 8·7·2·2 = 224.
    EXPECT_EQ(compulsory_bytes(w, pass::backward), 840 + 160 + 240 + 336 + 224);
    w.packed_heads = true; // of each key/value head
    EXPECT_EQ(compulsory_bytes(w, pass::backward), 840 + 160 + 240 + 168 + 112);
}

// Papers count 2(d + e) FLOP a visible pair forward, 2(3d + 2e) backward: 2^20 pairs · 192 / 10 us = 20.1 TFLOP/s.
TEST(estimate, text_and_json) {
    const machine m = toy();
    experiment e = sizes();
    const time_estimate t = estimate(m, e, work_of(), 7000);
    EXPECT_EQ(
        estimate_text(m, e, work_of(), t),
        "resource         busy  share\n"
        "matrix        10.0 us  100 %\n"
        "memory         7.0 us   70 %\n"
        "scratchpad     4.0 us   40 %\n"
        "vector         3.0 us   30 %\n"
        "exponentials   2.0 us   20 %\n"
        "last cache     1.5 us   15 %\n"
        "network        0.4 us    4 %\n"
        "\n"
        "on A toy: bound by matrix; between 10.0 us (all overlapped, 20 TFLOP/s) and 15.0 us (arithmetic in turn, "
        "13 TFLOP/s)\n"
        "12 blocks, 8 at once: waves are 75 % full\n");
    e.which = pass::backward; // 2^20 · 512 / 10 us = 53.7, / 15 us = 35.8
    EXPECT_THAT(estimate_text(m, e, work_of(), t),
                HasSubstr("overlapped, 54 TFLOP/s) and 15.0 us (arithmetic in turn, 36"));
    e.what.mask = causal(); // 1024 · 1025 / 2 pairs
    e.what.devices = 2;
    EXPECT_THAT(estimate_text(m, e, work_of(), t),
                HasSubstr("on 2 x A toy: bound by matrix; between 10.0 us (all overlapped, 27 "
                          "TFLOP/s) and 15.0 us (arithmetic in turn, 18 "));
    EXPECT_THAT(run_json(find_algorithm("fa2"), e, work_of(), m, t), EndsWith("  \"estimate\": {\n"
                                                                              "    \"machine\": \"toy\",\n"
                                                                              "    \"devices\": 2,\n"
                                                                              "    \"bound_by\": \"matrix\",\n"
                                                                              "    \"seconds_overlapped\": 1e-05,\n"
                                                                              "    \"seconds_serial\": 1.5e-05,\n"
                                                                              "    \"busy_seconds\": {\n"
                                                                              "      \"matrix\": 1e-05,\n"
                                                                              "      \"memory\": 7e-06,\n"
                                                                              "      \"scratchpad\": 4e-06,\n"
                                                                              "      \"vector\": 3e-06,\n"
                                                                              "      \"exponentials\": 2e-06,\n"
                                                                              "      \"last cache\": 1.5e-06,\n"
                                                                              "      \"network\": 4e-07\n"
                                                                              "    },\n"
                                                                              "    \"blocks_at_once\": 8,\n"
                                                                              "    \"wave_efficiency\": 0.75\n"
                                                                              "  }\n"
                                                                              "}\n"));
}

} // namespace
} // namespace pantile::inline v0::simulator
