// The same bits on any host: whatever OpenMP is told, in the program or by the environment, and whichever way an instruction
// set was chosen. Each call is one whose order of additions would change if its plan looked at threads: keys in splits, keys
// in chunks, rows in tiles.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

constexpr dtype types[] = {dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16};

struct problem {
    attention_case c;
    attention_inputs in[4]; // of each type
};

const std::vector<problem>& problems() {
    static const std::vector<problem> all = [] {
        std::vector<problem> p(2);
        attention_case& few_rows = p[0].c; // splits, and 5 chunks backward
        few_rows.q_heads = 4;
        few_rows.kv_heads = 2;
        few_rows.k_len = 3000;
        few_rows.head_dim = few_rows.value_dim = 20;
        attention_case& rows = p[1].c; // row tiles, forward and backward, and 2 chunks
        rows.q_heads = 2;
        rows.q_len = 150;
        rows.k_len = 1100;
        rows.head_dim = 16;
        rows.value_dim = 12;
        rows.right = 0;
        for (problem& x : p) {
            x.c.scale = 0.25;
            for (std::size_t t = 0; t < 4; ++t) x.in[t] = make_inputs(x.c, types[t], data_kind::normal, t + 1);
        }
        return p;
    }();
    return all;
}

/// The bits of all results, in 16 digits.
std::string digest(int threads, isa set = isa::automatic) {
    std::uint64_t hash = 0xcbf29ce484222325U; // FNV-1a
    const auto add = [&](const tensor<double>& t) {
        for (const double x : t.data) hash = (hash ^ __builtin_bit_cast(std::uint64_t, x)) * 0x100000001b3U;
    };
    for (const problem& p : problems()) {
        for (std::size_t t = 0; t < 4; ++t) {
            call_style s;
            s.type = types[t];
            s.wide_out = compute_dtype(s.type) != s.type; // all digits that were computed
            s.threads = threads;
            s.set = set;
            const call_results r = call_attention(p.c, p.in[t], s, true);
            for (const auto* x : {&r.out, &r.lse, &r.dq, &r.dk, &r.dv}) add(*x);
            const partial_results part = call_partial(p.c, p.in[t], s);
            for (const auto* x : {&part.out, &part.max, &part.sum}) add(*x);
        }
    }
    char text[17];
    std::snprintf(text, sizeof text, "%016" PRIx64, hash);
    return text;
}

/// The calls are what they are meant to be.
TEST(hosts, calls_have_splits_chunks_and_row_tiles) {
    const attention_case& few = problems()[0].c;
    const stored<float> q(problems()[0].in[1].q, layout::bhsd), k(problems()[0].in[1].k, layout::bhsd);
    EXPECT_GT(explain(q.view(), k.view(), k.view(), options_of(few, {})).tiles.key_splits, 1);
    EXPECT_GT(explain_backward(q.view(), k.view(), k.view(), options_of(few, {})).tiles.key_splits, 1);
    const stored<float> rows(problems()[1].in[1].q, layout::bhsd), keys(problems()[1].in[1].k, layout::bhsd);
    EXPECT_LT(explain_backward(rows.view(), keys.view(), keys.view()).tiles.row_tile, problems()[1].c.q_len);
}

TEST(hosts, any_setting_of_openmp_gives_the_same_bits) {
    const int setting = omp_get_max_threads();
    const int dynamic = omp_get_dynamic();
    const std::string expected = digest(1);
    for (const int n : {1, 2, 3, 16}) {
        omp_set_num_threads(n);
        EXPECT_EQ(digest(0), expected) << n << " threads set";
        EXPECT_EQ(digest(2), expected) << n << " threads set, 2 asked for";
    }
    omp_set_dynamic(1);
    EXPECT_EQ(digest(3), expected);
    omp_set_dynamic(dynamic);
    omp_set_num_threads(setting);
}

/// An environment variable for the processes that are started while it lives.
class variable {
  public:
    variable(const char* name, const char* value) : name_(name) {
        if (const char* before = std::getenv(name)) before_ = before;
        setenv(name, value, 1);
    }
    ~variable() {
        if (before_) {
            setenv(name_, before_->c_str(), 1);
        } else {
            unsetenv(name_);
        }
    }
    variable(const variable&) = delete;
    variable& operator=(const variable&) = delete;

  private:
    const char* name_;
    std::optional<std::string> before_;
};

[[noreturn]] void say_digest(int threads) {
    alarm(120);
    std::fprintf(stderr, "digest %s", digest(threads).c_str());
    std::exit(0);
}

/// In processes of their own: what OpenMP or the library asks for once stays as it was found then.
TEST(hosts, any_environment_gives_the_same_bits) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const std::string expected = "digest " + digest(1);
    using setting = std::pair<const char*, const char*>;
    for (const auto& [name, value] :
         {setting{"OMP_NUM_THREADS", "1"}, setting{"OMP_NUM_THREADS", "2"}, setting{"OMP_NUM_THREADS", "13"},
          setting{"OMP_THREAD_LIMIT", "2"}, setting{"OMP_DYNAMIC", "true"}, setting{"OMP_PROC_BIND", "true"}}) {
        SCOPED_TRACE(std::string(name) + "=" + value);
        const variable set(name, value);
        EXPECT_EXIT(say_digest(0), testing::ExitedWithCode(0), expected);
    }
}

[[noreturn]] void say_digest_on_one_processor() {
    cpu_set_t mine, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof mine, &mine) != 0) std::exit(6);
    for (int n = 0; n < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++n) {
        if (CPU_ISSET(n, &mine)) CPU_SET(n, &one);
    }
    if (sched_setaffinity(0, sizeof one, &one) != 0) std::exit(6);
    say_digest(0);
}

TEST(hosts, one_processor_gives_the_same_bits) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const std::string expected = "digest " + digest(1);
    EXPECT_EXIT(say_digest_on_one_processor(), testing::ExitedWithCode(0), expected);
}

/// A set that the environment forces computes what the same set computes that options ask for.
TEST(hosts, a_forced_set_gives_the_bits_of_the_same_set) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    for (const isa set : available_isas()) {
        if (set == isa::automatic) continue;
        SCOPED_TRACE(name(set));
        const std::string expected = "digest " + digest(1, set);
        const variable forced("PANTILE_ISA", name(set));
        const variable threads("OMP_NUM_THREADS", "3");
        EXPECT_EXIT(say_digest(0), testing::ExitedWithCode(0), expected);
    }
}

} // namespace
} // namespace pantile::test
