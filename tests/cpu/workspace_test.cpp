// Work memory by its own: where its pieces lie, what threads keep, and what they give back.
#include <array>
#include <cstring>
#include <functional>
#include <latch>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <pantile/error.hpp>
#include <support/guarded_new.hpp>

#include "threads/scratch.hpp"
#include "threads/threads.hpp"

namespace pantile::test {
namespace {

using cpu::workspace;

constexpr index_t large = index_t{5} << 20; // a thread: more than it keeps

bool is_aligned(const std::byte* p) { return reinterpret_cast<std::uintptr_t>(p) % 64 == 0; }

/// By hand: every piece is whole lines of 64 bytes, and one line more lets any address be aligned.
TEST(workspace, bytes_are_those_of_the_pieces) {
    EXPECT_EQ(workspace::bytes(1, 0, 0), 64);
    EXPECT_EQ(workspace::bytes(1, 1, 0), 64 + 64);
    EXPECT_EQ(workspace::bytes(1, 64, 1), 64 + 64 + 64);
    EXPECT_EQ(workspace::bytes(3, 65, 64), 3 * 128 + 64 + 64);
    EXPECT_EQ(workspace::bytes(7, 128, 129), 7 * 128 + 192 + 64);
}

/// In memory of the caller's, at any address: all pieces aligned, apart, and inside.
TEST(workspace, pieces_of_given_memory_lie_apart_and_inside) {
    constexpr index_t threads = 3;
    for (const index_t own : {1, 64, 100}) {
        for (const index_t shared : {0, 4, 64, 68}) {
            const auto bytes = static_cast<std::size_t>(workspace::bytes(threads, own, shared));
            for (std::size_t shift = 0; shift < 64; ++shift) {
                std::vector<std::byte> memory(bytes + 64);
                const std::span given = std::span(memory).subspan(shift, bytes);
                const workspace w(given, threads, own, shared, "explain");
                std::set<const std::byte*> seen;
                const auto check = [&](const std::byte* piece, index_t count) {
                    EXPECT_TRUE(is_aligned(piece));
                    for (index_t n = 0; n < count; ++n) EXPECT_TRUE(seen.insert(piece + n).second);
                };
                for (index_t t = 0; t < threads; ++t) check(w.of_thread(t), own);
                if (shared == 0) {
                    EXPECT_EQ(w.shared(), nullptr);
                } else {
                    check(w.shared(), shared);
                }
                EXPECT_GE(*seen.begin(), given.data());
                EXPECT_LT(*seen.rbegin(), given.data() + bytes);
                EXPECT_THROW(workspace(given.first(bytes - 1), threads, own, shared, "explain"), invalid_argument);
            }
        }
    }
}

/// In the library's own: a call's memory is large enough for each of its threads, also where it is not kept.
TEST(workspace, pieces_of_own_memory_have_room) {
    if (!new_is_guarded()) GTEST_SKIP() << "a sanitizer watches the memory";
    constexpr index_t threads = 3;
    for (const index_t own : {index_t{100}, index_t{4} << 20, (index_t{4} << 20) + 1, large}) {
        for (const index_t shared : {index_t{0}, index_t{68}, (index_t{128} << 20) + 4}) {
            std::thread([&] { // of its own: what it keeps goes with it
                const workspace w({}, threads, own, shared, "explain");
                std::vector<std::byte*> pieces;
                for (index_t t = 0; t < threads; ++t) pieces.push_back(w.of_thread(t));
                for (std::byte* const piece : pieces) {
                    EXPECT_TRUE(is_aligned(piece));
                    EXPECT_GE(room_behind(piece), static_cast<std::size_t>(own));
                }
                if (own > (index_t{4} << 20)) { // one block for all threads
                    for (index_t t = 1; t < threads; ++t) {
                        EXPECT_GE(pieces[static_cast<std::size_t>(t)] - pieces[static_cast<std::size_t>(t - 1)], own);
                    }
                }
                if (shared > 0) {
                    EXPECT_TRUE(is_aligned(w.shared()));
                    EXPECT_GE(room_behind(w.shared()), static_cast<std::size_t>(shared));
                    EXPECT_NE(w.shared(), pieces[0]);
                }
            })
                .join();
        }
    }
}

/// Calls of two user threads at the same time work in different memory: each thread's own, and what each one's threads share.
TEST(workspace, threads_have_memory_of_their_own) {
    constexpr int users = 3;
    for (const index_t own : {index_t{1000}, large}) {
        std::latch all_have(users);
        std::array<std::byte*, users> scratch{};
        std::array<std::byte*, users> shared{};
        std::vector<std::thread> threads;
        for (std::size_t n = 0; n < users; ++n) {
            threads.emplace_back([&, n] {
                const workspace w({}, 1, own, 1000, "explain");
                scratch[n] = w.of_thread(0);
                shared[n] = w.shared();
                all_have.arrive_and_wait(); // all are alive at once
            });
        }
        for (std::thread& t : threads) t.join();
        const std::set<std::byte*> different{scratch[0], scratch[1], scratch[2], shared[0], shared[1], shared[2]};
        EXPECT_EQ(different.size(), 6);
    }
}

/// What the calling thread has taken and not given back.
blocks mine() { return blocks_alive(std::this_thread::get_id()); }

/// Small memory stays for the next call, large memory does not, and a thread that ends leaves nothing.
TEST(workspace, small_memory_is_kept_until_the_thread_ends) {
    if (!new_is_guarded()) GTEST_SKIP() << "nothing is counted under a sanitizer";
    std::thread::id taker;
    std::thread([&taker] {
        taker = std::this_thread::get_id();
        const auto call = [](index_t own, index_t shared) {
            const workspace w({}, 1, own, shared, "explain");
            std::memset(w.of_thread(0), 1, static_cast<std::size_t>(own));
            if (shared > 0) std::memset(w.shared(), 1, static_cast<std::size_t>(shared));
        };
        call(1000, 2000);
        EXPECT_EQ(mine().count, 2U);
        EXPECT_EQ(blocks_taken(), 2U);
        call(1000, 2000);
        call(10, 20);
        EXPECT_EQ(blocks_taken(), 2U) << "the same memory serves again";
        call(5000, 1 << 20); // grown: the old blocks are gone
        EXPECT_EQ(mine().count, 2U);
        EXPECT_EQ(blocks_taken(), 4U);
        call(5000, 1 << 20);
        EXPECT_EQ(blocks_taken(), 4U);
        const blocks kept = mine();
        call(large, (index_t{128} << 20) + 1);
        EXPECT_EQ(blocks_taken(), 6U);
        EXPECT_EQ(mine(), kept) << "given back after the call";
    }).join();
    EXPECT_EQ(blocks_alive(taker).count, 0U);
}

/// What a thread does last, after its work memory is given back.
struct last_will {
    std::function<void()> will;
    last_will() = default;
    last_will(const last_will&) = delete;
    last_will& operator=(const last_will&) = delete;
    ~last_will() {
        if (will) will();
    }
};

/// Calls may come while a thread ends: they work alone, and in memory of their own.
TEST(workspace, a_thread_that_is_ending_keeps_nothing_and_works_alone) {
    bool ended_before = true, ended = false;
    index_t allowed = 0, startable = 0;
    blocks left{1, 1};
    std::thread([&] {
        static thread_local last_will last; // ends after what the library leaves in this thread
        const auto call = [] {
            for (const index_t own : {index_t{1000}, large}) {
                const workspace w({}, 1, own, 1000, "explain");
                std::memset(w.of_thread(0), 1, static_cast<std::size_t>(own));
                std::memset(w.shared(), 1, 1000);
            }
        };
        last.will = [&, call] {
            ended = cpu::thread_is_ending();
            allowed = cpu::allowed_threads(3);
            startable = cpu::startable_threads(3);
            call();
            left = mine();
        };
        call();
        ended_before = cpu::thread_is_ending();
    }).join();
    EXPECT_FALSE(ended_before);
    EXPECT_TRUE(ended);
    EXPECT_EQ(allowed, 1);
    EXPECT_EQ(startable, 1);
    EXPECT_EQ(left.count, 0U);
}

/// Memory that cannot be had: the error arrives, and smaller calls go on as before.
TEST(workspace, a_failed_growth_leaves_nothing_stale) {
    if (!new_is_guarded()) GTEST_SKIP() << "nothing is refused under a sanitizer";
    std::thread::id taker;
    std::thread([&taker] {
        taker = std::this_thread::get_id();
        const auto room = [](index_t own, index_t shared) {
            const workspace w({}, 1, own, shared, "explain");
            EXPECT_GE(room_behind(w.of_thread(0)), static_cast<std::size_t>(own));
            EXPECT_GE(room_behind(w.shared()), static_cast<std::size_t>(shared));
        };
        room(100, 100);
        for (const auto& [own, shared] : {std::pair{100, 9000}, {9000, 100}, {20000, 20000}}) {
            {
                const refused_memory from(5000);
                EXPECT_THROW(room(own, shared), std::bad_alloc);
            }
            room(100, 100);
            room(own, shared);
            EXPECT_EQ(mine().count, 2U);
        }
    }).join();
    EXPECT_EQ(blocks_alive(taker).count, 0U);
}

} // namespace
} // namespace pantile::test
