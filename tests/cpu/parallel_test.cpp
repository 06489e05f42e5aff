// The loop over threads by its own: every number once, errors, numbers of threads, the environment.
#include <algorithm>
#include <atomic>
#include <cfenv>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "threads/parallel.hpp"

namespace pantile::test {
namespace {

using cpu::parallel_for;

/// Waits until `count` threads have come, so that each of them has one piece of work. False: they never came together.
class meeting {
  public:
    explicit meeting(int count) : wanted_(count) {}
    bool attend() {
        ++here_;
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
        while (here_ < wanted_) {
            if (std::chrono::steady_clock::now() > end) return false;
            std::this_thread::yield();
        }
        return true;
    }

  private:
    std::atomic<int> here_ = 0;
    int wanted_;
};

TEST(parallel, visits_every_number_once) {
    for (const index_t count : {0, 1, 2, 7, 1000}) {
        for (const index_t threads : {0, 1, 2, 5}) {
            std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count) + 1);
            parallel_for(count, threads, [&](index_t i, index_t thread) {
                ++visits[static_cast<std::size_t>(i)];
                if (thread < 0 || thread >= std::max<index_t>(threads, 1)) visits.back() = 1;
            });
            for (index_t i = 0; i < count; ++i) EXPECT_EQ(visits[static_cast<std::size_t>(i)], 1) << i;
            EXPECT_EQ(visits.back(), 0) << "a thread's number, or an index beyond the last";
        }
    }
}

/// Threads have different numbers, from 0 on: each is where its scratch lies. No more work than were asked for.
TEST(parallel, numbers_its_threads) {
    constexpr index_t threads = 3;
    if (cpu::startable_threads(threads) < threads) GTEST_SKIP() << "this machine gives no 3 threads";
    const int setting = omp_get_max_threads();
    for (const int others : {1, 8}) { // what OpenMP would use does not matter
        omp_set_num_threads(others);
        meeting all(threads);
        std::vector<std::atomic<int>> seen(threads);
        std::atomic<int> wrong = 0;
        parallel_for(threads, threads, [&](index_t, index_t thread) {
            if (!all.attend() || thread < 0 || thread >= threads) {
                ++wrong;
                return;
            }
            ++seen[static_cast<std::size_t>(thread)];
        });
        EXPECT_EQ(wrong, 0);
        for (const auto& times : seen) EXPECT_EQ(times, 1);
        std::atomic<int> beyond = 0;
        parallel_for(200, 2, [&](index_t, index_t thread) { beyond += thread < 2 ? 0 : 1; });
        EXPECT_EQ(beyond, 0);
    }
    omp_set_num_threads(setting);
}

/// An error of any thread is thrown to the caller, after all other pieces of work; the next loop is as new.
TEST(parallel, throws_what_a_thread_threw) {
    for (const index_t threads : {1, 2, 3}) {
        for (const index_t bad : {0, 5, 39}) {
            std::atomic<int> visited = 0;
            const auto work = [&](index_t i, index_t) {
                ++visited;
                if (i == bad) throw std::runtime_error("number " + std::to_string(i));
            };
            try {
                parallel_for(40, threads, work);
                ADD_FAILURE() << "the error of number " << bad << " was lost, " << threads << " threads";
            } catch (const std::runtime_error& e) {
                EXPECT_EQ(e.what(), "number " + std::to_string(bad));
            }
            EXPECT_TRUE(threads == 1 || visited == 40) << visited;
            EXPECT_NO_THROW(parallel_for(40, threads, [](index_t, index_t) {}));
        }
    }
}

/// The same where every thread throws, and where only those that OpenMP started do.
TEST(parallel, throws_what_workers_threw) {
    constexpr index_t threads = 3;
    if (cpu::startable_threads(threads) < threads) GTEST_SKIP() << "this machine gives no 3 threads";
    for (const bool caller_too : {false, true}) {
        meeting all(threads);
        EXPECT_THROW(parallel_for(threads, threads,
                                  [&](index_t, index_t thread) {
                                      if (all.attend() && (caller_too || thread > 0)) throw std::bad_alloc();
                                  }),
                     std::bad_alloc);
    }
}

/// As SSE rounds; std::fegetround asks another unit.
bool rounds_upwards() {
    volatile float one = 1.0F;
    volatile float little = 0x1p-40F;
    return one + little != 1.0F;
}

/// Threads inherit what their starter set. Several round to nearest whatever that is; the caller gets its own back.
TEST(parallel, computes_in_the_standard_environment) {
    constexpr index_t threads = 3;
    std::thread([] { // whose pool is new
        if (cpu::startable_threads(threads) < threads) return;
        std::fesetround(FE_UPWARD);
        meeting all(threads);
        std::atomic<int> otherwise = 0;
        parallel_for(threads, threads,
                     [&](index_t, index_t) { otherwise += all.attend() && !rounds_upwards() ? 0 : 1; });
        EXPECT_EQ(otherwise, 0);
        EXPECT_TRUE(rounds_upwards());
        std::fesetround(FE_TONEAREST);
    })
        .join();
}

} // namespace
} // namespace pantile::test
