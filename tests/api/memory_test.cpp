// Work memory of public calls: what is written beside it, what happens where there is none, and what stays behind.
#include <chrono>
#include <thread>

#include <gtest/gtest.h>
#include <support/guarded_new.hpp>

#include "api_call.hpp"

namespace pantile::test {
namespace {

constexpr dtype types[] = {dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16};

/// Calls with every kind of work memory: small, of several threads, shared by splits and by chunks.
std::vector<attention_case> cases() {
    attention_case rows;
    rows.q_heads = 4;
    rows.kv_heads = 2;
    rows.q_len = 70;
    rows.k_len = 90;
    rows.head_dim = 17;
    rows.value_dim = 9;
    rows.right = 0;
    attention_case few = rows; // splits, chunks
    few.q_len = 1;
    few.k_len = 3000;
    few.right.reset();
    attention_case odd =
        rows; // by hand: 3 splits · 1 row · (9 + 2) numbers end one number behind whole lines of 16 or 8
    odd.q_heads = odd.kv_heads = 1;
    odd.q_len = 1;
    return {rows, few, odd};
}

bool same(const call_results& a, const call_results& b) {
    return a.out.data == b.out.data && a.lse.data == b.lse.data && a.dq.data == b.dq.data && a.dk.data == b.dk.data &&
           a.dv.data == b.dv.data;
}

/// In memory of the caller's, at every distance from an aligned address: call_attention holds the bytes around it. The
/// results are those of the library's own memory.
TEST(memory, a_given_workspace_is_not_left) {
    for (const dtype type : types) {
        for (const attention_case& c : cases()) {
            call_style s;
            s.type = type;
            const auto in = make_inputs(c, type, data_kind::normal, 7);
            for (const int splits : {0, 3}) {
                s.plan.reset();
                if (splits > 0) s.plan = tile_plan{0, 16, splits};
                s.workspace = -1;
                s.threads = 1;
                const call_results expected = call_attention(c, in, s, true);
                const partial_results part = call_partial(c, in, s);
                for (const int shift : {0, 1, 4, 32, 60, 63}) {
                    s.workspace = shift;
                    s.threads = 1 + shift % 3;
                    EXPECT_TRUE(same(call_attention(c, in, s, true), expected)) << name(type) << ", " << splits;
                    EXPECT_EQ(call_partial(c, in, s).out.data, part.out.data) << name(type) << ", " << splits;
                }
            }
        }
    }
}

/// In the library's own, small and large: guarded_new ends the program over a byte beside a block, when a thread gives it
/// back at the latest.
TEST(memory, blocks_are_not_left) {
    attention_case large; // some MiB a thread, forward (with the row tile below) and backward
    large.q_heads = 3;
    large.q_len = 3000;
    large.k_len = 5;
    large.head_dim = large.value_dim = 128;
    for (const dtype type : types) {
        std::vector<attention_case> all = cases();
        if (type == dtype::fp32) all.push_back(large);
        for (const attention_case& c : all) {
            const auto in = make_inputs(c, type, data_kind::normal, 7);
            std::thread([&] {
                for (const int threads : {1, 3}) {
                    call_style s;
                    s.type = type;
                    s.threads = threads;
                    const call_results first = call_attention(c, in, s, true);
                    s.plan = tile_plan{4096, 0, 2};
                    (void)call_attention(c, in, s, true);
                    s.plan.reset();
                    EXPECT_TRUE(same(call_attention(c, in, s, true), first)) << name(type);
                }
            }).join();
        }
    }
}

/// The threads of OpenMP end some time after the one that they worked for.
bool blocks_fall_to(std::size_t count) {
    for (int n = 0; n < 2000 && blocks_alive() > count; ++n) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return blocks_alive() <= count;
}

/// Where a call finds no memory, on any of its threads, the error arrives. It leaves nothing that a later call stumbles
/// over, and nothing is lost.
TEST(memory, calls_without_memory_throw_and_the_next_one_is_right) {
    if (!new_is_guarded()) GTEST_SKIP() << "nothing is refused under a sanitizer";
    const auto some = cases();
    (void)call_attention(some[0], make_inputs(some[0], dtype::fp32, data_kind::normal, 1), {}, true);
    const std::size_t before = blocks_alive() + 2; // this thread's own blocks, which it may still take
    for (const dtype type : types) {
        for (const attention_case& c : some) {
            const auto in = make_inputs(c, type, data_kind::normal, 7);
            call_style s;
            s.type = type;
            s.threads = 1;
            const call_results expected = call_attention(c, in, s, true);
            for (const int threads : {1, 2, 3}) {
                std::thread([&] { // which keeps nothing yet
                    s.threads = threads;
                    for (int round = 0; round < 2; ++round) {
                        {
                            const refused_memory all;
                            const std::size_t refused = blocks_refused();
                            if (round == 0) {
                                EXPECT_THROW((void)call_attention(c, in, s, true), std::bad_alloc);
                                EXPECT_THROW((void)call_partial(c, in, s), std::bad_alloc);
                                EXPECT_GT(blocks_refused(), refused);
                            }
                        }
                        EXPECT_TRUE(same(call_attention(c, in, s, true), expected))
                            << name(type) << ", " << threads << " threads";
                    }
                })
                    .join();
            }
        }
    }
    EXPECT_TRUE(blocks_fall_to(before)) << "threads that ended keep " << blocks_alive() << " blocks";
}

} // namespace
} // namespace pantile::test
