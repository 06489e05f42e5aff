// How many threads a call may have.
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <omp.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "threads/threads.hpp"

namespace pantile::test {
namespace {

using cpu::allowed_threads;
using cpu::startable_threads;

TEST(threads, stack_sizes_are_kibibytes_unless_they_name_a_unit) {
    EXPECT_EQ(cpu::stack_bytes("4096"), 4096U << 10);
    EXPECT_EQ(cpu::stack_bytes("123b"), 123U);
    EXPECT_EQ(cpu::stack_bytes("123B"), 123U);
    EXPECT_EQ(cpu::stack_bytes("10k"), 10U << 10);
    EXPECT_EQ(cpu::stack_bytes("10 K"), 10U << 10);
    EXPECT_EQ(cpu::stack_bytes(" 3 M "), 3U << 20);
    EXPECT_EQ(cpu::stack_bytes("3m"), 3U << 20);
    EXPECT_EQ(cpu::stack_bytes("2g"), std::size_t{2} << 30);
    EXPECT_EQ(cpu::stack_bytes("2 \t G"), std::size_t{2} << 30);
    EXPECT_EQ(cpu::stack_bytes(""), 0U);
    EXPECT_EQ(cpu::stack_bytes("much"), 0U);
}

TEST(threads, allowed_are_those_that_are_asked_for_within_the_machine) {
    const index_t most = std::max<index_t>(16, 4 * static_cast<index_t>(sysconf(_SC_NPROCESSORS_ONLN)));
    const int setting = omp_get_max_threads();
    for (const index_t wanted : {index_t{1}, index_t{2}, index_t{3}, most}) EXPECT_EQ(allowed_threads(wanted), wanted);
    EXPECT_EQ(allowed_threads(most + 1), most);
    EXPECT_EQ(allowed_threads(1'000'000), most);
    for (const int omp : {1, 3, 5}) { // 0: what OpenMP would use, each time anew
        omp_set_num_threads(omp);
        EXPECT_EQ(allowed_threads(0), omp);
        EXPECT_EQ(allowed_threads(2), 2);
    }
    omp_set_num_threads(100'000);
    EXPECT_EQ(allowed_threads(0), most);
    omp_set_num_threads(setting);
}

TEST(threads, as_many_start_as_are_wanted) {
    for (const index_t wanted : {4, 1, 3, 5, 2, 0}) {
        EXPECT_EQ(startable_threads(wanted), std::max<index_t>(wanted, 1));
    }
    std::thread([] { EXPECT_EQ(startable_threads(3), 3); }).join(); // each thread asks for itself
}

/// A limit on processes that only this test's user has.
[[noreturn]] void start_under_a_limit(rlim_t processes, const std::function<bool()>& is_right) {
    alarm(120);
    const rlimit both{processes, processes};
    if (setrlimit(RLIMIT_NPROC, &both) != 0 || setuid(100'000 + static_cast<uid_t>(getpid())) != 0) _exit(6);
    _exit(is_right() ? 0 : 5);
}

#if defined(__SANITIZE_THREAD__)
constexpr bool thread_sanitizer = true;
#elif defined(__has_feature)
constexpr bool thread_sanitizer = __has_feature(thread_sanitizer);
#else
constexpr bool thread_sanitizer = false;
#endif

/// Of those that can be started, half are left to others. What was found once is remembered.
TEST(threads, fewer_start_where_there_are_no_more) {
    if (geteuid() != 0)
        GTEST_SKIP() << "the limit counts all processes of a user: only root can become one without any";
    if (thread_sanitizer) GTEST_SKIP() << "the thread sanitizer starts a thread of its own, which counts";
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    // The caller, and 4 more: 2 of them are taken.
    EXPECT_EXIT(start_under_a_limit(5,
                                    [] {
                                        return startable_threads(16) == 3 && startable_threads(16) == 3 &&
                                               startable_threads(2) == 2 && startable_threads(3) == 3 &&
                                               startable_threads(4) == 3;
                                    }),
                testing::ExitedWithCode(0), "");
    EXPECT_EXIT(start_under_a_limit(1, [] { return startable_threads(2) == 1 && startable_threads(8) == 1; }),
                testing::ExitedWithCode(0), "");
    EXPECT_EXIT(start_under_a_limit(5, [] { return startable_threads(5) == 5; }), testing::ExitedWithCode(0), "");
    // 5 were had before: a try for more than there are takes none of them back.
    EXPECT_EXIT(start_under_a_limit(5, [] { return startable_threads(5) == 5 && startable_threads(9) == 5; }),
                testing::ExitedWithCode(0), "");
}

/// A child of a process that has run several threads works alone; one of a process that has not does not.
TEST(threads, a_forked_child_works_alone) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const auto child_has = [](index_t allowed, index_t startable) {
        const pid_t child = fork();
        if (child == 0) _exit(allowed_threads(3) == allowed && startable_threads(3) == startable ? 0 : 5);
        int status = 0;
        waitpid(child, &status, 0);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    };
    EXPECT_EXIT(
        {
            alarm(120);
            if (!child_has(3, 3)) _exit(5);
            if (startable_threads(2) != 2) _exit(6);
            _exit(child_has(1, 1) && startable_threads(3) == 3 ? 0 : 7);
        },
        testing::ExitedWithCode(0), "");
}

} // namespace
} // namespace pantile::test
