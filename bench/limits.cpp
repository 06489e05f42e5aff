#include "limits.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bench {
namespace {

// Each loop keeps enough independent sums to hide 4 clocks of latency on two ports. They are written out, because a body
// shared through a template would be compiled for the oldest processor.

#if defined(__x86_64__)
[[gnu::target("avx512f"), gnu::noinline]] double burst_avx512(std::int64_t rounds, bool wide) {
    if (wide) {
        __m512d x[16];
        for (__m512d& s : x) s = _mm512_set1_pd(1);
        const __m512d a = _mm512_set1_pd(0.999);
        for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
            for (__m512d& s : x) s = _mm512_fmadd_pd(s, a, a);
        }
        for (const __m512d& s : x) x[0] = _mm512_add_pd(x[0], s);
        return x[0][0];
    }
    __m512 x[16];
    for (__m512& s : x) s = _mm512_set1_ps(1);
    const __m512 a = _mm512_set1_ps(0.999F);
    for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
        for (__m512& s : x) s = _mm512_fmadd_ps(s, a, a);
    }
    for (const __m512& s : x) x[0] = _mm512_add_ps(x[0], s);
    return static_cast<double>(x[0][0]);
}

[[gnu::target("avx2,fma"), gnu::noinline]] double burst_avx2(std::int64_t rounds, bool wide) {
    if (wide) {
        __m256d x[12];
        for (__m256d& s : x) s = _mm256_set1_pd(1);
        const __m256d a = _mm256_set1_pd(0.999);
        for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
            for (__m256d& s : x) s = _mm256_fmadd_pd(s, a, a);
        }
        for (const __m256d& s : x) x[0] = _mm256_add_pd(x[0], s);
        return x[0][0];
    }
    __m256 x[12];
    for (__m256& s : x) s = _mm256_set1_ps(1);
    const __m256 a = _mm256_set1_ps(0.999F);
    for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
        for (__m256& s : x) s = _mm256_fmadd_ps(s, a, a);
    }
    for (const __m256& s : x) x[0] = _mm256_add_ps(x[0], s);
    return static_cast<double>(x[0][0]);
}
#endif

/// Multiplications and additions of 16-byte vectors.
[[gnu::noinline]] double burst_baseline(std::int64_t rounds, bool wide) {
    if (wide) {
        using vector [[gnu::vector_size(16)]] = double;
        vector x[8];
        for (vector& s : x) s = vector{} + 1;
        const vector a = vector{} + 0.999;
        for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 8
            for (vector& s : x) s = s * a + a;
        }
        for (const vector& s : x) x[0] += s;
        return x[0][0];
    }
    using vector [[gnu::vector_size(16)]] = float;
    vector x[8];
    for (vector& s : x) s = vector{} + 1;
    const vector a = vector{} + 0.999F;
    for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 8
        for (vector& s : x) s = s * a + a;
    }
    for (const vector& s : x) x[0] += s;
    return static_cast<double>(x[0][0]);
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
    return 2.0 * static_cast<double>(rounds) * b.sums * (b.vector_bytes / number_bytes) * threads / seconds;
}

double plain_read(const void* data, std::size_t bytes, int threads) {
    constexpr std::size_t line = 64;
    const std::size_t lines = bytes / line;
    const double seconds = time_on_threads(threads, [&](int t) {
        const auto part = static_cast<std::size_t>(t);
        const auto count = static_cast<std::size_t>(threads);
        const char* p = static_cast<const char*>(data) + lines * part / count * line;
        const char* end = static_cast<const char*>(data) + lines * (part + 1) / count * line;
        using vector [[gnu::vector_size(16)]] = float;
        vector x[8] = {};
        for (; p + 2 * line <= end; p += 2 * line) {
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) {
                vector v;
                std::memcpy(&v, p + 16 * i, 16);
                x[i] += v;
            }
        }
        for (const vector& s : x) x[0] += s;
        return static_cast<double>(x[0][0]);
    });
    return static_cast<double>(bytes) / seconds;
}

} // namespace bench
