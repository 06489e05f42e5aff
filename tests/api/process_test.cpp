// Calls at the edges of a process's life: while threads and the process end, in a forked child, and where the system gives
// no more threads. Each in a process of its own.
#include <algorithm>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
constexpr bool sanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool sanitized = false;
#endif

constexpr int wrong = 5;
constexpr unsigned patience = 120; // seconds, then the alarm ends the process: a hang fails

/// Two calls: tiles of rows with large scratch and a backward pass in chunks; and few rows, keys split. Their results are
/// compared with those of one thread, in memory of the caller's.
struct some_calls {
    attention_case tiles, splits;
    attention_inputs tiles_in, splits_in;
    call_results tiles_expected, splits_expected;

    some_calls() {
        tiles.q_heads = 2;
        tiles.q_len = 300;
        tiles.k_len = 1100;
        tiles.head_dim = tiles.value_dim = 128;
        splits.q_heads = 4;
        splits.q_len = 1;
        splits.k_len = 5000;
        splits.head_dim = splits.value_dim = 64;
        tiles.scale = splits.scale = 0.1;
        tiles_in = make_inputs(tiles, dtype::fp32, data_kind::normal, 1);
        splits_in = make_inputs(splits, dtype::fp32, data_kind::normal, 2);
    }
    /// With one thread: no parallel region.
    void expect() {
        tiles_expected = call(tiles, tiles_in, 1);
        splits_expected = call(splits, splits_in, 1);
    }
    [[nodiscard]] bool are_right(int threads) const {
        return same(call(tiles, tiles_in, threads), tiles_expected) &&
               same(call(splits, splits_in, threads), splits_expected);
    }

  private:
    static call_results call(const attention_case& c, const attention_inputs& in, int threads) {
        call_style s;
        s.threads = threads;
        return call_attention(c, in, s, true);
    }
    static bool same(const call_results& a, const call_results& b) {
        return a.out.data == b.out.data && a.lse.data == b.lse.data && a.dq.data == b.dq.data &&
               a.dk.data == b.dk.data && a.dv.data == b.dv.data;
    }
};

/// Freed memory is taken and marked, so that a call that works in it is found out.
class marked_heap {
  public:
    marked_heap() {
        for (std::size_t bytes = 1 << 10; bytes <= std::size_t{4} << 20; bytes *= 2) {
            for (int n = 0; n < 8; ++n) blocks_.emplace_back(bytes, std::byte{0x5a});
        }
    }
    [[nodiscard]] bool untouched() const {
        for (const auto& block : blocks_) {
            for (const std::byte b : block) {
                if (b != std::byte{0x5a}) return false;
            }
        }
        return true;
    }

  private:
    std::vector<std::vector<std::byte>> blocks_;
};

void call_in_the_end(const some_calls& calls) {
    const marked_heap heap;
    for (const int threads : {1, 3}) {
        if (!calls.are_right(threads) || !heap.untouched()) _exit(wrong);
    }
}

/// Calls in its destructor. What is constructed before a thread's first call is destroyed after what that call left.
struct last_words {
    const some_calls* calls = nullptr;
    last_words() = default;
    last_words(const last_words&) = delete;
    last_words& operator=(const last_words&) = delete;
    ~last_words() {
        if (calls != nullptr) call_in_the_end(*calls);
    }
};

class process : public testing::Test {
  protected:
    process() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(process, may_call_in_the_destructor_of_a_global) {
    EXPECT_EXIT(
        {
            alarm(patience);
            static some_calls calls;
            static last_words last;
            calls.expect();
            if (!calls.are_right(2)) _exit(wrong);
            last.calls = &calls;
            std::exit(0);
        },
        testing::ExitedWithCode(0), "");
}

TEST_F(process, may_call_for_the_first_time_in_the_destructor_of_a_global) {
    EXPECT_EXIT(
        {
            alarm(patience);
            static some_calls calls;
            static last_words last;
            std::thread([] { calls.expect(); }).join();
            last.calls = &calls;
            std::exit(0);
        },
        testing::ExitedWithCode(0), "");
}

TEST_F(process, may_call_while_a_thread_ends) {
    EXPECT_EXIT(
        {
            alarm(patience);
            static some_calls calls;
            calls.expect();
            for (const bool first : {false, true}) {
                std::thread([first] {
                    static thread_local last_words last;
                    last.calls = &calls;
                    if (!first && !calls.are_right(2)) _exit(wrong);
                }).join();
            }
            std::exit(0);
        },
        testing::ExitedWithCode(0), "");
}

/// The destructors of POSIX's thread-specific data run after those of thread_local objects.
TEST_F(process, may_call_in_a_destructor_of_posix_threads) {
    EXPECT_EXIT(
        {
            alarm(patience);
            static some_calls calls;
            calls.expect();
            static pthread_key_t key;
            pthread_key_create(&key, [](void* p) { call_in_the_end(*static_cast<some_calls*>(p)); });
            std::thread([] {
                pthread_setspecific(key, &calls);
                if (!calls.are_right(2)) _exit(wrong);
            }).join();
            std::exit(0);
        },
        testing::ExitedWithCode(0), "");
}

/// After a call on several threads, a child has OpenMP's pool without its threads: it runs on one, and says so.
void call_in_a_child() {
    alarm(patience);
    some_calls calls;
    calls.expect();
    if (!calls.are_right(2)) _exit(wrong);
    const pid_t child = fork();
    if (child == 0) {
        alarm(patience / 2);
        const stored<float> q(calls.tiles_in.q, layout::bhsd), k(calls.tiles_in.k, layout::bhsd);
        options two;
        two.threads = 2;
        if (!calls.are_right(2) || !calls.are_right(0)) _exit(wrong);
        const bool alone = explain(q.view(), k.view(), k.view(), two).threads == 1 &&
                           explain_backward(q.view(), k.view(), k.view(), two).threads == 1;
        _exit(alone ? 0 : wrong);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) _exit(wrong);
    _exit(calls.are_right(2) ? 0 : wrong); // the parent goes on as before
}

TEST_F(process, may_fork_after_a_call) { EXPECT_EXIT(call_in_a_child(), testing::ExitedWithCode(0), ""); }

/// Work for 45,000 threads.
void call_with_many_threads(int threads) {
    alarm(patience);
    constexpr index_t heads = 64;
    constexpr index_t rows = 8 * 704;
    std::vector<float> q(heads * rows, 1.0F), out(heads * rows);
    const float k[] = {1.0F, 1.0F};
    const float v[] = {1.0F, 3.0F};
    options o;
    o.threads = threads;
    o.plan = tile_plan{8, 0, 1};
    const auto queries = bhsd<const float>(q.data(), 1, heads, rows, 1);
    attention(queries, bhsd(k, 1, 1, 2, 1), bhsd(v, 1, 1, 2, 1), bhsd(out.data(), 1, heads, rows, 1), o);
    const bool right = std::all_of(out.begin(), out.end(), [](float x) { return x == 2.0F; });
    _exit(right ? 0 : wrong);
}

/// More threads than there are processors for are not started, whatever is asked.
TEST_F(process, may_ask_for_any_number_of_threads) {
    const float x = 0.0F;
    const auto t = strided(&x, {3, 64, 10'000, 8}, {0, 0, 0, 0});
    const auto most = std::max(16, 4 * static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
    for (const int threads : {17, 40'000, 100'000, INT_MAX}) {
        options o;
        o.threads = threads;
        for (const explanation& e : {explain(t, t, t, o), explain_backward(t, t, t, o)}) {
            EXPECT_EQ(e.threads, std::min(threads, most));
            EXPECT_LT(e.workspace_bytes, index_t{1} << 32);
        }
        EXPECT_EXIT(call_with_many_threads(threads), testing::ExitedWithCode(0), "");
    }
}

void call_under(const std::function<void()>& limit) {
    alarm(patience);
    some_calls calls;
    calls.expect();
    limit();
    for (const int threads : {16, 3, 16, 0}) {
        if (!calls.are_right(threads)) _exit(wrong);
    }
    _exit(0);
}

void set_limit(decltype(RLIMIT_AS) which, rlim_t value) {
    const rlimit both{value, value};
    if (setrlimit(which, &both) != 0) _exit(wrong + 1);
}

/// Address space for some stacks, but not for 15.
void limit_memory() {
    std::FILE* file = std::fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    if (file == nullptr || std::fscanf(file, "%lu", &pages) != 1) _exit(wrong + 1);
    std::fclose(file);
    rlimit stack{};
    getrlimit(RLIMIT_STACK, &stack);
    const rlim_t a_stack = stack.rlim_cur == RLIM_INFINITY ? rlim_t{2} << 20 : stack.rlim_cur;
    set_limit(RLIMIT_AS, pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + 8 * a_stack);
}

TEST_F(process, goes_on_with_fewer_threads_where_memory_is_limited) {
    if (sanitized) GTEST_SKIP() << "sanitizers need the address space";
    EXPECT_EXIT(call_under(limit_memory), testing::ExitedWithCode(0), "");
}

TEST_F(process, goes_on_with_fewer_threads_where_threads_are_limited) {
    if (geteuid() != 0)
        GTEST_SKIP() << "the limit counts all processes of a user: only root can become one without any";
    for (const rlim_t most : {1, 2, 5}) {
        EXPECT_EXIT(call_under([most] {
                        set_limit(RLIMIT_NPROC, most);
                        if (setuid(54321) != 0) _exit(wrong + 1); // not root: nothing counts against root
                    }),
                    testing::ExitedWithCode(0), "");
    }
}

/// An alternate signal stack that is large enough without AMX, and too small once a process may use its registers.
bool set_small_signal_stack() {
    static std::byte memory[8192];
    stack_t stack{};
    stack.ss_sp = memory;
    stack.ss_size = sizeof memory;
    return sigaltstack(&stack, nullptr) == 0;
}

/// 64 rows in bf16: the calls that AMX serves.
explanation explain_bf16() {
    const bfloat16 x(0.0F);
    const auto t = strided(&x, {1, 1, 64, 32}, {0, 0, 0, 0});
    return explain(t, t, t);
}

bool processor_has_amx() {
    std::ifstream cpuinfo("/proc/cpuinfo");
    const std::string text{std::istreambuf_iterator<char>(cpuinfo), {}};
    return text.find(" amx_bf16") != std::string::npos && text.find(" avx512_bf16") != std::string::npos;
}

/// AMX is asked for by calls that want it, and by no others: a process that makes none keeps its small stacks.
TEST_F(process, may_have_a_small_signal_stack_beside_calls_without_amx) {
    EXPECT_EXIT(
        {
            unsetenv("PANTILE_ISA");
            some_calls calls;
            calls.expect();
            call_style s;
            s.type = dtype::bf16;
            const call_results few_rows = call_attention(calls.splits, calls.splits_in, s, true);
            _exit(few_rows.out.data.empty() || !set_small_signal_stack() ? wrong : 0);
        },
        testing::ExitedWithCode(0), "");
}

/// Where such a stack was there first, the system refuses AMX; explain says so.
TEST_F(process, is_told_why_amx_is_not_used) {
    const bool amx = processor_has_amx();
    const auto explain_beside_a_small_stack = [amx] {
        unsetenv("PANTILE_ISA");
        if (!set_small_signal_stack()) _exit(wrong);
        const explanation e = explain_bf16();
        const bool told = e.isa == "avx512" && e.note.find("amx is not used") != std::string::npos &&
                          to_string(e).find(e.note) != std::string::npos;
        _exit((amx ? told : e.note.empty()) ? 0 : wrong);
    };
    EXPECT_EXIT(explain_beside_a_small_stack(), testing::ExitedWithCode(0), "");
}

} // namespace
} // namespace pantile::test
