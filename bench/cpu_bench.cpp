// Speed of the CPU machine as a share of what the processor can do, measured in turn with it in the same process:
//     forward, backward    share of the multiply-add peak of the instruction set in use, same number type and threads
//     decode               share of the speed of plainly reading K and V
//     …/softcap, /alibi, /sinks, /all: the same calls with what changes a logit; beside them …/plain, which is without
//     versus_eigen         speed over that of the formula written with Eigen (three passes, not fused)
// One thread is timed by its CPU time, several by the wall.
// Names are pass/dtype/mask/d:…/n:…/threads:…; pick with --benchmark_filter. PANTILE_ISA forces an instruction set. Times
// are medians over the iterations; so are the shares, each taken within one iteration.
#include <algorithm>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include <benchmark/benchmark.h>
#include <pantile/attention.hpp>

#include "aligned.hpp"
#include "eigen_baseline.hpp"
#include "limits.hpp"

namespace {

using pantile::index_t;

template <class T>
constexpr const char* name_of() {
    if constexpr (std::is_same_v<T, float>) return "f32";
    if constexpr (std::is_same_v<T, double>) return "f64";
    if constexpr (std::is_same_v<T, pantile::float16>) return "f16";
    return "bf16";
}

/// The type of the arithmetic.
template <class T>
using computed = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// What changes a call's logits. Each of them alone, and all.
enum class feature : unsigned char { none, plain, softcap, alibi, sinks, all };
constexpr const char* feature_names[] = {"", "/plain", "/softcap", "/alibi", "/sinks", "/all"};

struct shape {
    index_t batch = 1;
    index_t heads = 1;
    index_t kv_heads = 1;
    index_t q_len = 1;
    index_t k_len = 1;
    index_t dim = 64;
    bool causal = false;
    int threads = 1;
    feature on = feature::none;

    [[nodiscard]] bool has(feature f) const { return on == f || on == feature::all; }
    [[nodiscard]] pantile::options options() const {
        static const std::vector<float> slopes(64, 0.01F), sinks(64, 0.5F);
        pantile::options o;
        if (causal) o.mask = pantile::causal();
        if (has(feature::softcap)) o.softcap = 50;
        if (has(feature::alibi)) o.slopes = {slopes.data(), static_cast<std::size_t>(heads)};
        if (has(feature::sinks)) o.sinks = {sinks.data(), static_cast<std::size_t>(heads)};
        o.threads = threads;
        return o;
    }
    [[nodiscard]] std::string name() const {
        return std::string(causal ? "causal" : "full") + "/d:" + std::to_string(dim) + "/n:" + std::to_string(k_len) +
               "/threads:" + std::to_string(threads) + feature_names[static_cast<int>(on)];
    }
};

/// Inputs and outputs of one shape, dense (batch, heads, length, dim).
template <class T>
struct tensors {
    shape s;
    bench::aligned_vector<T> q, k, v, out;

    explicit tensors(const shape& size) : s(size) {
        std::mt19937 random(1);
        std::uniform_real_distribution<float> in_range(-1, 1);
        const auto fill = [&](bench::aligned_vector<T>& x, index_t heads, index_t length) {
            x.resize(static_cast<std::size_t>(s.batch * heads * length * s.dim));
            for (T& number : x) number = T(in_range(random));
        };
        fill(q, s.heads, s.q_len);
        fill(k, s.kv_heads, s.k_len);
        fill(v, s.kv_heads, s.k_len);
        out.resize(q.size());
    }
    [[nodiscard]] auto q_view() const { return pantile::bhsd<const T>(q.data(), s.batch, s.heads, s.q_len, s.dim); }
    [[nodiscard]] auto k_view() const { return pantile::bhsd<const T>(k.data(), s.batch, s.kv_heads, s.k_len, s.dim); }
    [[nodiscard]] auto v_view() const { return pantile::bhsd<const T>(v.data(), s.batch, s.kv_heads, s.k_len, s.dim); }
    [[nodiscard]] auto out_view() { return pantile::bhsd(out.data(), s.batch, s.heads, s.q_len, s.dim); }
};

/// Times call() beside limit(), which returns the highest possible work/s, until the benchmark has run long enough.
template <class Limit, class Call>
void measure(benchmark::State& state, int threads, double work, const char* unit, Limit&& limit, Call&& call) {
    call();
    std::vector<double> shares;
    std::vector<double> speeds;
    for (auto step : state) {
        static_cast<void>(step);
        const double highest = limit();
        const double begin = bench::seconds_for(threads);
        call();
        const double seconds = bench::seconds_for(threads) - begin;
        state.SetIterationTime(seconds);
        speeds.push_back(work / seconds / 1e9);
        shares.push_back(work / seconds / highest);
    }
    state.counters[unit] = bench::median(speeds);
    state.counters["share"] = bench::median(shares);
}

template <class T>
void forward(benchmark::State& state, const shape& s) {
    tensors<T> t(s);
    const pantile::options o = s.options();
    const pantile::explanation e = pantile::explain(t.q_view(), t.k_view(), t.v_view(), o);
    state.SetLabel(e.isa);
    measure(
        state, s.threads, e.flops, "GFLOP/s",
        [&] { return bench::multiply_add_peak(e.isa.c_str(), sizeof(computed<T>), s.threads); },
        [&] { pantile::attention(t.q_view(), t.k_view(), t.v_view(), t.out_view(), o); });
}

/// 10·N²·d FLOP a head: five products, of which two repeat the forward pass's.
template <class T>
void backward(benchmark::State& state, const shape& s) {
    tensors<T> t(s);
    const tensors<T> gradient(s);
    tensors<T> results(s);
    std::vector<computed<T>> lse(static_cast<std::size_t>(s.batch * s.heads * s.q_len));
    const pantile::options o = s.options();
    const auto lse_view = pantile::bhs(lse.data(), s.batch, s.heads, s.q_len);
    pantile::attention(t.q_view(), t.k_view(), t.v_view(), t.out_view(), lse_view, o);
    const pantile::explanation e = pantile::explain(t.q_view(), t.k_view(), t.v_view(), o);
    state.SetLabel(e.isa);
    const auto dk = pantile::bhsd(results.k.data(), s.batch, s.kv_heads, s.k_len, s.dim);
    const auto dv = pantile::bhsd(results.v.data(), s.batch, s.kv_heads, s.k_len, s.dim);
    const auto dq = pantile::bhsd(results.q.data(), s.batch, s.heads, s.q_len, s.dim);
    measure(
        state, s.threads, 2.5 * e.flops, "GFLOP/s",
        [&] { return bench::multiply_add_peak(e.isa.c_str(), sizeof(computed<T>), s.threads); },
        [&] {
            pantile::attention_backward(t.q_view(), t.k_view(), t.v_view(), t.out_view(), lse_view, gradient.q_view(),
                                        dq, dk, dv, o);
        });
}

/// One query a head against a long cache: bound by reading K and V once.
template <class T>
void decode(benchmark::State& state, const shape& s) {
    tensors<T> t(s);
    const pantile::options o = s.options();
    const pantile::explanation e = pantile::explain(t.q_view(), t.k_view(), t.v_view(), o);
    state.SetLabel(e.isa + ", " + e.kernel);
    const std::size_t bytes = t.k.size() * sizeof(T);
    measure(
        state, s.threads, 2.0 * static_cast<double>(bytes), "GB/s",
        [&] {
            const double k_speed = bench::plain_read(t.k.data(), bytes, s.threads);
            const double v_speed = bench::plain_read(t.v.data(), bytes, s.threads);
            return 2.0 / (1.0 / k_speed + 1.0 / v_speed);
        },
        [&] { pantile::attention(t.q_view(), t.k_view(), t.v_view(), t.out_view(), o); });
}

void versus_eigen(benchmark::State& state, const shape& s) {
    tensors<float> t(s);
    const pantile::options o = s.options();
    const pantile::explanation e = pantile::explain(t.q_view(), t.k_view(), t.v_view(), o);
    state.SetLabel(e.isa);
    bench::aligned_vector<float> other(t.out.size());
    measure(
        state, s.threads, e.flops, "GFLOP/s",
        [&] {
            const double begin = bench::seconds_for(s.threads);
            bench::eigen_attention(t.q.data(), t.k.data(), t.v.data(), other.data(), s.heads, s.k_len, s.dim,
                                   s.threads);
            return e.flops / (bench::seconds_for(s.threads) - begin);
        },
        [&] { pantile::attention(t.q_view(), t.k_view(), t.v_view(), t.out_view(), o); });
    state.counters["x_eigen"] = state.counters["share"];
    state.counters.erase("share");
}

template <class F>
void enroll(const std::string& name, F&& run) {
    benchmark::RegisterBenchmark(name.c_str(), std::forward<F>(run))->UseManualTime()->Unit(benchmark::kMillisecond);
}

/// Heads for about 10 GFLOP a call at the most, so that one iteration stays below a tenth of a second.
index_t heads_for(index_t n, index_t dim) { return std::clamp<index_t>(10'000'000'000 / (4 * n * n * dim), 1, 8); }

template <class T>
void enroll_square(const std::vector<index_t>& lengths, const std::vector<index_t>& dims, bool with_backward) {
    for (const int threads : {1, 2}) {
        for (const index_t dim : dims) {
            for (const bool causal : {false, true}) {
                for (const index_t n : lengths) {
                    shape s;
                    s.heads = s.kv_heads = std::max<index_t>(heads_for(n, dim), threads);
                    s.q_len = s.k_len = n;
                    s.dim = dim;
                    s.causal = causal;
                    s.threads = threads;
                    const std::string rest = std::string("/") + name_of<T>() + "/" + s.name();
                    enroll("forward" + rest, [s](benchmark::State& state) { forward<T>(state, s); });
                    if (with_backward)
                        enroll("backward" + rest, [s](benchmark::State& state) { backward<T>(state, s); });
                }
            }
        }
    }
}

template <class T>
void enroll_decode() {
    for (const int threads : {1, 2}) {
        for (const index_t group : {1, 8}) {
            for (const index_t keys : {4096, 32768}) {
                shape s;
                s.kv_heads = 4;
                s.heads = 4 * group;
                s.q_len = 1;
                s.k_len = keys;
                s.dim = 128;
                s.threads = threads;
                enroll(std::string("decode/") + name_of<T>() + "/group:" + std::to_string(group) + "/" + s.name(),
                       [s](benchmark::State& state) { decode<T>(state, s); });
            }
        }
    }
}

/// What soft caps, ALiBi and sinks cost, beside the same call without.
template <class T>
void enroll_features(bool with_backward) {
    for (const feature f : {feature::plain, feature::softcap, feature::alibi, feature::sinks, feature::all}) {
        for (const index_t dim : {64, 128}) {
            shape s;
            s.heads = s.kv_heads = 4;
            s.q_len = s.k_len = 1024;
            s.dim = dim;
            s.causal = true;
            s.on = f;
            const std::string rest = std::string("/") + name_of<T>() + "/" + s.name();
            enroll("forward" + rest, [s](benchmark::State& state) { forward<T>(state, s); });
            if (with_backward) enroll("backward" + rest, [s](benchmark::State& state) { backward<T>(state, s); });
            if (dim == 64) continue;
            s.heads = 32;
            s.q_len = 1;
            s.k_len = 32768;
            s.causal = false;
            enroll(std::string("decode/") + name_of<T>() + "/group:8/" + s.name(),
                   [s](benchmark::State& state) { decode<T>(state, s); });
        }
    }
}

void enroll_all() {
    const std::vector<index_t> usual{512, 2048, 8192};
    enroll_square<float>(usual, {64, 128}, true);
    enroll_square<double>({512, 2048}, {64, 128}, true);
    enroll_square<pantile::bfloat16>({512, 2048}, {64, 128}, false);
    enroll_square<pantile::float16>({512, 2048}, {64, 128}, false);
    enroll_square<float>({16, 64, 128, 256}, {64, 128}, false);
    enroll_square<float>({2048}, {40, 72, 80, 100, 256}, false);
    enroll_square<float>({1000, 4097}, {64, 128}, false);
    enroll_decode<float>();
    enroll_decode<pantile::bfloat16>();
    enroll_decode<double>();
    enroll_features<float>(true);
    enroll_features<pantile::bfloat16>(false);
    enroll_features<double>(false);
    for (const int threads : {1, 2}) {
        for (const index_t dim : {64, 128}) {
            for (const index_t n : {512, 2048}) {
                shape s;
                s.heads = s.kv_heads = 4;
                s.q_len = s.k_len = n;
                s.dim = dim;
                s.threads = threads;
                enroll("versus_eigen/f32/" + s.name(), [s](benchmark::State& state) { versus_eigen(state, s); });
            }
        }
    }
}

} // namespace

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    enroll_all();
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
