#include "limits.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string>

namespace bench {
namespace {

// Each loop keeps enough independent sums to hide 4 clocks of latency on two ports. The body becomes part of functions for
// different processors: inlined there, it is compiled for theirs.

/// `rounds` multiply-adds of `sums` vectors.
template <class vector, int sums>
[[gnu::always_inline]] inline double multiply_adds(std::int64_t rounds) {
    vector x[sums];
    for (vector& s : x) s = vector{} + 1;
    const vector a = vector{} + static_cast<decltype(x[0][0] + 0)>(0.999);
    for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
        for (vector& s : x) s = s * a + a;
    }
    for (const vector& s : x) x[0] += s;
    return static_cast<double>(x[0][0]);
}

using floats_16 [[gnu::vector_size(16)]] = float;
using doubles_16 [[gnu::vector_size(16)]] = double;

#if defined(__x86_64__)
using floats_32 [[gnu::vector_size(32)]] = float;
using doubles_32 [[gnu::vector_size(32)]] = double;
using floats_64 [[gnu::vector_size(64)]] = float;
using doubles_64 [[gnu::vector_size(64)]] = double;

[[gnu::target("avx512f"), gnu::noinline]] double burst_avx512(std::int64_t rounds, bool wide) {
    return wide ? multiply_adds<doubles_64, 16>(rounds) : multiply_adds<floats_64, 16>(rounds);
}
[[gnu::target("avx2,fma"), gnu::noinline]] double burst_avx2(std::int64_t rounds, bool wide) {
    return wide ? multiply_adds<doubles_32, 12>(rounds) : multiply_adds<floats_32, 12>(rounds);
}
#endif

/// Multiplications and additions of 16-byte vectors.
[[gnu::noinline]] double burst_baseline(std::int64_t rounds, bool wide) {
    return wide ? multiply_adds<doubles_16, 8>(rounds) : multiply_adds<floats_16, 8>(rounds);
}

struct burst {
    double (*run)(std::int64_t rounds, bool wide);
    int sums;
    int vector_bytes;
};

burst burst_of(const std::string& isa) {
#if defined(__x86_64__)
    if (isa == "avx512" || isa == "amx") return {burst_avx512, 16, 64};
    if (isa == "avx2") return {burst_avx2, 12, 32};
#else
    static_cast<void>(isa);
#endif
    return {burst_baseline, 8, 16};
}

/// Seconds of work(thread) on all threads at once.
template <class F>
double time_on_threads(int threads, F&& work) {
    double sink = 0;
    const double begin = seconds_for(threads);
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : sink)
    for (int t = 0; t < threads; ++t) sink += work(t);
    const double seconds = seconds_for(threads) - begin;
    volatile double keep = sink;
    static_cast<void>(keep);
    return seconds;
}

} // namespace

double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double seconds_for(int threads) {
    timespec t{};
    if (threads > 1 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0) return seconds_now();
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double median(std::vector<double> x) {
    const auto middle = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2);
    std::nth_element(x.begin(), middle, x.end());
    return *middle;
}

double multiply_add_peak(const char* isa, int number_bytes, int threads) {
    constexpr std::int64_t rounds = 400000; // about 1 ms
    const burst b = burst_of(isa);
    const double seconds = time_on_threads(threads, [&](int) { return b.run(rounds, number_bytes == 8); });
    const int numbers = b.sums * b.vector_bytes / number_bytes;
    return 2.0 * static_cast<double>(rounds) * numbers * threads / seconds;
}

double plain_read(const void* data, std::size_t bytes, int threads) {
    constexpr std::size_t line = 64;
    const std::size_t lines = bytes / line;
    const double seconds = time_on_threads(threads, [&](int t) {
        const auto part = static_cast<std::size_t>(t);
        const auto count = static_cast<std::size_t>(threads);
        const char* p = static_cast<const char*>(data) + lines * part / count * line;
        const char* end = static_cast<const char*>(data) + lines * (part + 1) / count * line;
        floats_16 x[8] = {};
        for (; p + 2 * line <= end; p += 2 * line) {
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) {
                floats_16 v;
                std::memcpy(&v, p + 16 * i, 16);
                x[i] += v;
            }
        }
        for (const floats_16& s : x) x[0] += s;
        return static_cast<double>(x[0][0]);
    });
    return static_cast<double>(bytes) / seconds;
}

} // namespace bench
