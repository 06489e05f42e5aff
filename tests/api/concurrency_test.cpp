// Calls from several user threads at once, and from inside OpenMP regions: each gives the bits of a lone call.
#include <atomic>
#include <latch>
#include <thread>

#include <gtest/gtest.h>
#include <omp.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

struct prepared_call {
    attention_case c;
    call_style s;
    attention_inputs in;
    call_results expected;
    partial_results expected_part;
};

prepared_call prepare(prepared_call p, std::uint64_t seed) {
    p.in = make_inputs(p.c, p.s.type, data_kind::normal, seed);
    p.expected = call_attention(p.c, p.in, p.s, true);
    p.expected_part = call_partial(p.c, p.in, p.s);
    return p;
}

/// Calls of different shapes and types.
std::vector<prepared_call> some_calls() {
    std::vector<prepared_call> calls;
    for (int n = 0; n < 6; ++n) {
        prepared_call p;
        p.c.batch = 1 + n % 2;
        p.c.q_heads = 4;
        p.c.kv_heads = 2;
        p.c.q_len = n == 3 ? 1 : 30 + 17 * n;
        p.c.k_len = 40 + 23 * n;
        p.c.head_dim = 8 + 5 * n;
        p.c.value_dim = 16;
        p.c.scale = 0.2;
        if (n % 2 == 0) p.c.right = 0;
        p.s.type = n % 3 == 0 ? dtype::fp32 : n % 3 == 1 ? dtype::fp64 : dtype::bf16;
        p.s.threads = n % 4;
        calls.push_back(prepare(std::move(p), static_cast<std::uint64_t>(n)));
    }
    return calls;
}

/// Calls whose threads share memory: keys in splits forward, in chunks backward. Of all types.
std::vector<prepared_call> calls_that_share() {
    std::vector<prepared_call> calls;
    std::uint64_t seed = 100;
    for (const dtype type : {dtype::fp32, dtype::fp64, dtype::fp16, dtype::bf16}) {
        prepared_call few_rows; // splits of the library's choice, and 6 chunks
        few_rows.c.q_heads = 4;
        few_rows.c.kv_heads = 2;
        few_rows.c.k_len = 3100;
        few_rows.c.head_dim = few_rows.c.value_dim = 24;
        few_rows.c.scale = 0.2;
        few_rows.s.type = type;
        few_rows.s.threads = static_cast<int>(seed % 3);
        calls.push_back(prepare(few_rows, seed++));
        prepared_call rows = few_rows; // row tiles in splits, 2 chunks
        rows.c.q_len = 40;
        rows.c.k_len = 1200;
        rows.c.value_dim = 16;
        rows.s.plan = tile_plan{16, 64, 2};
        rows.s.threads = static_cast<int>(seed % 3);
        calls.push_back(prepare(rows, seed++));
    }
    return calls;
}

bool gives_the_same(const prepared_call& p) {
    const call_results r = call_attention(p.c, p.in, p.s, true);
    const partial_results part = call_partial(p.c, p.in, p.s);
    return r.out.data == p.expected.out.data && r.lse.data == p.expected.lse.data && r.dq.data == p.expected.dq.data &&
           r.dk.data == p.expected.dk.data && r.dv.data == p.expected.dv.data &&
           part.out.data == p.expected_part.out.data && part.max.data == p.expected_part.max.data &&
           part.sum.data == p.expected_part.sum.data;
}

TEST(concurrency, user_threads_do_not_disturb_each_other) {
    const std::vector<prepared_call> calls = some_calls();
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (std::size_t n = 0; n < 12; ++n) {
                if (!gives_the_same(calls[(t + n) % calls.size()])) ++wrong;
            }
        });
    }
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(wrong, 0);
}

/// The same where the threads of a call share memory: it is the call's alone.
TEST(concurrency, user_threads_do_not_share_splits_and_chunks) {
    const std::vector<prepared_call> calls = calls_that_share();
    constexpr std::size_t users = 4;
    std::latch ready(users);
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < users; ++t) {
        threads.emplace_back([&, t] {
            ready.arrive_and_wait();
            for (std::size_t n = 0; n < 2 * calls.size(); ++n) {
                if (!gives_the_same(calls[(t + n) % calls.size()])) ++wrong;
            }
        });
    }
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(wrong, 0);
}

TEST(concurrency, calls_nest_in_openmp_regions) {
    const std::vector<prepared_call> calls = some_calls();
    int wrong = 0;
#pragma omp parallel for num_threads(3) reduction(+ : wrong)
    for (int n = 0; n < 12; ++n) {
        if (!gives_the_same(calls[static_cast<std::size_t>(n) % calls.size()])) ++wrong;
    }
    EXPECT_EQ(wrong, 0);
    omp_set_max_active_levels(2);
#pragma omp parallel for num_threads(2) reduction(+ : wrong)
    for (int n = 0; n < 6; ++n) {
        if (!gives_the_same(calls[static_cast<std::size_t>(n) % calls.size()])) ++wrong;
    }
    omp_set_max_active_levels(1);
    EXPECT_EQ(wrong, 0);
}

/// An error in one thread leaves the others, and later calls, alone.
TEST(concurrency, errors_do_not_linger) {
    const std::vector<prepared_call> calls = some_calls();
    std::atomic<int> wrong = 0;
    std::thread careless([&] {
        const float x = 0.0F;
        float y = 0.0F;
        for (int n = 0; n < 100; ++n) {
            try {
                attention(bhsd(&x, 1, 1, 1, 1), bhsd(&x, 1, 1, 1, 1), bhsd(&x, 1, 1, 1, 1), bhsd(&y, 1, 1, 2, 1));
                ++wrong;
            } catch (const invalid_argument&) { // as it should be
            }
        }
    });
    for (const prepared_call& p : calls) {
        if (!gives_the_same(p)) ++wrong;
    }
    careless.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_TRUE(gives_the_same(calls[0]));
}

} // namespace
} // namespace pantile::test
