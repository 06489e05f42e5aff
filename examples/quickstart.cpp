// What pantile is about, on one screen: is it exact, is it fast, how much memory does it take, how many bytes does it move.
//
//   quickstart [--small]        --small: sizes for a slow machine or a sanitizer
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <npy.hpp>
#include <omp.h>
#include <pantile/attention.hpp>
#include <pantile/simulator.hpp>

#include "plain_formula.hpp"

namespace {

using pantile::index_t;

std::string size_text(double bytes) {
    const std::array<const char*, 5> unit = {"B", "KB", "MB", "GB", "TB"};
    std::size_t u = 0;
    for (; bytes >= 1000 && u + 1 < unit.size(); ++u) bytes /= 1000;
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), bytes < 9.95 && u > 0 ? "%.1f %s" : "%.0f %s", bytes, unit[u]);
    return text.data();
}

// ------------------------------------------------------------------------------- 1. is it right? the shipped data

/// Largest absolute difference of `actual` from a shipped array.
template <class T>
double error_of(const std::vector<T>& actual, const npy::array& expected) {
    const auto right = expected.as<double>();
    double worst = 0;
    for (std::size_t i = 0; i < right.size(); ++i) worst = std::fmax(worst, std::abs(double{actual[i]} - right[i]));
    return worst;
}

/// Forward and backward of one shipped case in T; prints the errors. Batch 1, 4 query heads over 2 key/value heads, causal,
/// 18 queries at the end of 22 keys, head dim 40, value dim 16.
template <class T>
bool shipped_case(const char* name, double tolerance) {
    const std::string folder = std::string(PANTILE_SHIPPED_DATA) + "/value_dim_smaller/";
    const auto input = [&](const char* file, std::vector<T>& data) {
        const npy::array a = npy::read(folder + file);
        const auto numbers = a.as<double>();
        data.assign(numbers.size(), T(0));
        std::transform(numbers.begin(), numbers.end(), data.begin(), [](double x) { return static_cast<T>(x); });
        return pantile::bhsd(data.data(), a.shape[0], a.shape[1], a.shape[2], a.shape[3]);
    };
    std::vector<T> q_data, k_data, v_data, dout_data;
    const auto q = input("Q.npy", q_data);
    const auto k = input("K.npy", k_data);
    const auto v = input("V.npy", v_data);
    const auto dout = input("dO.npy", dout_data);

    // Outputs in the shapes of what they belong to.
    std::vector<T> out_data(dout_data.size()), dq_data(q_data.size()), dk_data(k_data.size()), dv_data(v_data.size());
    std::vector<T> lse_data(static_cast<std::size_t>(q.batch() * q.heads() * q.length()));
    const auto like = [](auto view, std::vector<T>& data) {
        return pantile::bhsd(data.data(), view.batch(), view.heads(), view.length(), view.dim());
    };
    const auto out = like(dout, out_data);
    const auto lse = pantile::bhs(lse_data.data(), q.batch(), q.heads(), q.length());

    pantile::attention(q, k, v, out, lse, {.mask = pantile::causal()});
    pantile::attention_backward(q, k, v, out, lse, dout, like(q, dq_data), like(k, dk_data), like(v, dv_data),
                                {.mask = pantile::causal()});

    const std::array<double, 5> errors = {
        error_of(out_data, npy::read(folder + "O.npy")), error_of(lse_data, npy::read(folder + "LSE.npy")),
        error_of(dq_data, npy::read(folder + "dQ.npy")), error_of(dk_data, npy::read(folder + "dK.npy")),
        error_of(dv_data, npy::read(folder + "dV.npy"))};
    std::printf("   %-14s", name);
    for (const double e : errors) std::printf("%12.1e", e);
    const bool right = *std::max_element(errors.begin(), errors.end()) <= tolerance;
    std::printf("   %s\n", right ? "ok" : "WRONG");
    return right;
}

// --------------------------------------------------------------------- 2. is it fast? against the formula, as written

/// A line of a /proc file, "VmHWM:" or "model name"; empty where there is none.
std::string proc_line(const char* file, const std::string& key) {
    std::ifstream stream(file);
    for (std::string line; std::getline(stream, line);) {
        if (line.compare(0, key.size(), key) == 0) return line.substr(line.find(':') + 1);
    }
    return {};
}

/// How far the process's resident memory rises above where it stood, while `work` runs. Bytes; Linux.
template <class F>
double memory_rise(F work) {
    std::ofstream("/proc/self/clear_refs") << "5"; // the high-water mark starts anew
    const double before = std::strtod(proc_line("/proc/self/status", "VmHWM").c_str(), nullptr);
    work();
    return 1024 * (std::strtod(proc_line("/proc/self/status", "VmHWM").c_str(), nullptr) - before);
}

template <class F>
double seconds(F work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct measured {
    std::vector<double> times;
    double memory = 0;
    double worst = 0; ///< largest absolute error against fp64
    double mean_square = 0;
    [[nodiscard]] double median() {
        std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
        return times[times.size() / 2];
    }
};

struct contest {
    index_t heads, length, dim;
    std::vector<float> q, k, v, fused, unfused;
    double pantile_memory = 0; ///< the most that any call took: threads keep small scratch for the next one

    contest(index_t h, index_t n, index_t d) : heads(h), length(n), dim(d) {
        std::mt19937 engine(2022);
        std::normal_distribution<float> normal;
        for (auto* tensor : {&q, &k, &v, &fused, &unfused}) {
            tensor->resize(static_cast<std::size_t>(h * n * d));
            std::generate(tensor->begin(), tensor->end(), [&] { return normal(engine); });
        }
    }
    [[nodiscard]] auto view(std::vector<float>& t) const { return pantile::bhsd(t.data(), 1, heads, length, dim); }
    [[nodiscard]] auto head(const std::vector<float>& t, index_t h) const {
        return Eigen::Map<const rows<float>>(t.data() + h * length * dim, length, dim);
    }

    void run_pantile(const pantile::options& o) { pantile::attention(view(q), view(k), view(v), view(fused), o); }
    void run_plain(bool causal) {
        for (index_t h = 0; h < heads; ++h) {
            Eigen::Map<rows<float>>(unfused.data() + h * length * dim, length, dim) =
                plain_formula<float>(head(q, h), head(k, h), head(v, h), causal);
        }
    }
    /// Errors of both results against the formula in fp64, every element of every head.
    void compare(bool causal, measured& pantile, measured& plain) const {
        for (index_t h = 0; h < heads; ++h) {
            const rows<double> exact = plain_formula<double>(head(q, h).cast<double>(), head(k, h).cast<double>(),
                                                             head(v, h).cast<double>(), causal);
            const auto account = [&](const std::vector<float>& result, measured& m) {
                const rows<double> difference = head(result, h).cast<double>() - exact;
                m.worst = std::max(m.worst, difference.cwiseAbs().maxCoeff());
                m.mean_square += difference.squaredNorm() / static_cast<double>(result.size());
            };
            account(fused, pantile);
            account(unfused, plain);
        }
    }
};

bool race(contest& c, bool causal) {
    const pantile::options options = {.mask = causal ? pantile::causal() : pantile::full()};
    measured pantile, plain;
    c.pantile_memory = std::max(c.pantile_memory, memory_rise([&] { c.run_pantile(options); }));
    pantile.memory = c.pantile_memory;
    plain.memory = memory_rise([&] { c.run_plain(causal); });
    for (int round = 0; round < 5; ++round) { // in turn, so that both meet the same machine
        pantile.times.push_back(seconds([&] { c.run_pantile(options); }));
        plain.times.push_back(seconds([&] { c.run_plain(causal); }));
    }
    c.compare(causal, pantile, plain);

    const double pairs = causal ? static_cast<double>(c.length) * static_cast<double>(c.length + 1) / 2
                                : static_cast<double>(c.length) * static_cast<double>(c.length);
    const double flops = 4.0 * static_cast<double>(c.heads * c.dim) * pairs;
    const auto print = [&](const char* name, measured& m) {
        std::printf("   %-7s %-14s %9.1f ms %7.0f %12s %12.1e %10.1e\n", causal ? "causal" : "full", name,
                    1e3 * m.median(), flops / m.median() / 1e9, size_text(m.memory).c_str(), m.worst,
                    std::sqrt(m.mean_square));
    };
    print("pantile", pantile);
    print("plain formula", plain);
    std::printf("           %.1f times as fast\n", plain.median() / pantile.median());
    return pantile.worst <= 2 * plain.worst + 1e-6;
}

bool same_bits_on_any_thread_count(contest& c) {
    c.run_pantile({.mask = pantile::causal(), .threads = 1});
    const std::vector<float> one = c.fused;
    bool same = true;
    for (const int threads : {2, 3, 7}) {
        c.run_pantile({.mask = pantile::causal(), .threads = threads});
        same = same && std::memcmp(one.data(), c.fused.data(), one.size() * sizeof(float)) == 0;
    }
    return same;
}

// ---------------------------------------------------------- 3. how many bytes move? the same calls, on a simulated memory

/// Runs the unfused and the tiled algorithm on a memory that counts, with the tiles that the CPU used; prints a line each.
bool traffic(contest& c, bool causal) {
    namespace sim = pantile::simulator;
    const pantile::options options = {.mask = causal ? pantile::causal() : pantile::full()};
    const auto plan = pantile::explain(c.view(c.q), c.view(c.k), c.view(c.v), options);
    sim::experiment e;
    e.what = sim::workload::square(c.length, c.dim, c.heads);
    e.what.mask = options.mask;
    e.what.type = sim::dtype::fp32;
    e.plan = plan.tiles;

    const auto unfused = sim::run(sim::find_algorithm("standard"), e).moved.bytes(e.what.type);
    const auto tiled = sim::run(sim::find_algorithm("fa2"), e).moved.bytes(e.what.type);
    const auto print = [&](const char* name, const pantile::core::transfers& t) {
        std::printf("   %-7s %-14s %12s %12s %12s\n", causal ? "causal" : "full", name,
                    size_text(static_cast<double>(t.reads)).c_str(), size_text(static_cast<double>(t.writes)).c_str(),
                    size_text(static_cast<double>(t.reads + t.writes)).c_str());
    };
    print("pantile (FA-2)", tiled);
    print("plain formula", unfused);
    std::printf("           %.0f times fewer bytes\n",
                static_cast<double>(unfused.reads + unfused.writes) / static_cast<double>(tiled.reads + tiled.writes));
    return tiled.reads == plan.read_bytes && tiled.writes == plan.write_bytes; // what explain predicts, counted
}

} // namespace

int main(int argc, char** argv) {
    const bool small = argc > 1 && std::string(argv[1]) == "--small";
    try {
        bool good = true;
        contest c(small ? 2 : 8, small ? 300 : 4096, 64);
        const auto plan = pantile::explain(c.view(c.q), c.view(c.k), c.view(c.v));
        std::printf("pantile on%s, %s kernels, %d threads\n\n", proc_line("/proc/cpuinfo", "model name").c_str(),
                    plan.isa.c_str(), plan.threads);

        std::printf("1. Is it right?  Shipped .npy files, answers computed in float64 by automatic differentiation.\n"
                    "   Causal, 4 query heads over 2 key/value heads, 18 queries on 22 keys, dims 40 and 16.\n"
                    "   Largest absolute error of\n"
                    "                          out         lse          dq          dk          dv\n");
        good = shipped_case<double>("pantile fp64", 1e-13) && good;
        good = shipped_case<float>("pantile fp32", 1e-5) && good;

        std::printf(
            "\n2. Is it fast?  fp32, %lld heads, %lld queries and keys, head dim %lld, random; medians of 5 in turn.\n"
            "   The plain formula is Eigen's product, softmax, product, compiled for this machine.\n"
            "                                 time GFLOP/s  work memory    error max        rms\n",
            static_cast<long long>(c.heads), static_cast<long long>(c.length), static_cast<long long>(c.dim));
        good = race(c, false) && good;
        good = race(c, true) && good;
        const bool same = same_bits_on_any_thread_count(c);
        good = good && same;
        std::printf("   Error: against the formula in fp64. Same bits on 1, 2, 3 and 7 threads: %s.\n",
                    same ? "yes" : "NO");

        std::printf("\n3. How many bytes move?  The same calls, run by the simulator: a core's near memory holds tiles "
                    "of %lld\n"
                    "   queries and %lld keys, and every byte that crosses into or out of it is counted.\n"
                    "                                 reads       writes        total\n",
                    static_cast<long long>(plan.tiles.row_tile), static_cast<long long>(plan.tiles.key_tile));
        const bool full_counted = traffic(c, false);
        const bool counted = traffic(c, true) && full_counted;
        good = good && counted;
        std::printf("   The counts equal what pantile::explain predicts in closed form: %s.\n", counted ? "yes" : "NO");
        return good ? 0 : 1;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "quickstart: %s\n", e.what());
        return 1;
    }
}
