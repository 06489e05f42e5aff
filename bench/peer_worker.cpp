// pantile as one of the processes that peers.py times in turn. It reads one request a line and answers with one line; the
// requests are described in peer_worker.py, which does the same for the other libraries.
//     prepare DIR pass dtype mask batch q_heads kv_heads q_len k_len head_dim threads
//                       -> ok KERNEL        q.bin, k.bin, v.bin (backward: dout.bin too) are read from DIR; dense (B, H, S, D)
//     run SECONDS       -> seconds T        median seconds a call over about SECONDS of calls
//     store             -> ok               DIR/pantile.out.bin, or .dq.bin, .dk.bin, .dv.bin
//     peak              -> gflops G         multiply-adds from registers, same instruction set, threads and arithmetic type
//     read              -> gbytes G         plain reading of the prepared K and V, same threads
// and `error TEXT` for whatever fails.
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include <pantile/attention.hpp>

#include "limits.hpp"

namespace {

using pantile::index_t;

/// Median seconds a call. A first call warms caches and wakes threads; where it alone outlasts the budget, it is the answer.
double time_calls(const std::function<void()>& call, double budget) {
    std::vector<double> seconds;
    const double begin = bench::seconds_now();
    call();
    const double first = bench::seconds_now() - begin;
    if (first > budget) return first;
    for (double t = bench::seconds_now(), end = t + budget; t < end;) {
        call();
        const double after = bench::seconds_now();
        seconds.push_back(after - t);
        t = after;
    }
    return bench::median(std::move(seconds));
}

// ------------------------------------------------------------------------------------------------------------ one problem

struct shape {
    std::string folder, pass, dtype, mask;
    index_t batch = 0, q_heads = 0, kv_heads = 0, q_len = 0, k_len = 0, dim = 0;
    int threads = 1;
};

/// Memory on a cache line, as the other libraries allocate it.
template <class T>
class buffer {
  public:
    buffer() = default;
    explicit buffer(index_t size) : size_(size) {
        const auto bytes = (static_cast<std::size_t>(size) * sizeof(T) + 63) / 64 * 64;
        data_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
        if (!data_) throw std::bad_alloc();
        std::fill_n(data_.get(), size, T{});
    }
    buffer(const std::string& file, index_t size) : buffer(size) {
        std::ifstream in(file, std::ios::binary);
        const auto bytes = static_cast<std::streamsize>(size) * static_cast<std::streamsize>(sizeof(T));
        if (!in.read(reinterpret_cast<char*>(data_.get()), bytes)) {
            throw std::runtime_error("cannot read " + std::to_string(bytes) + " bytes from " + file);
        }
    }
    void store(const std::string& file) const {
        std::ofstream out(file, std::ios::binary);
        out.write(reinterpret_cast<const char*>(data_.get()),
                  static_cast<std::streamsize>(size_) * static_cast<std::streamsize>(sizeof(T)));
        if (!out.flush()) throw std::runtime_error("cannot write " + file);
    }
    [[nodiscard]] T* data() const { return data_.get(); }
    [[nodiscard]] index_t bytes() const { return size_ * static_cast<index_t>(sizeof(T)); }

  private:
    struct release {
        void operator()(T* p) const { std::free(p); }
    };
    std::unique_ptr<T[], release> data_;
    index_t size_ = 0;
};

class problem {
  public:
    virtual ~problem() = default;
    virtual void call() = 0;
    virtual void store() const = 0;
    [[nodiscard]] virtual double peak_gflops() const = 0;
    [[nodiscard]] virtual double read_gbytes() const = 0;
    [[nodiscard]] virtual std::string kernel() const = 0;
};

template <class T>
class problem_of final : public problem {
    using stat = std::conditional_t<std::is_same_v<T, double>, double, float>;

  public:
    explicit problem_of(const shape& s)
        : s_(s), q_(file("q"), q_size()), k_(file("k"), k_size()), v_(file("v"), k_size()), out_(q_size()) {
        if (s.mask == "causal") options_.mask = pantile::causal();
        options_.threads = s.threads;
        if (s.pass == "backward") {
            dout_ = buffer<T>(file("dout"), q_size());
            lse_ = buffer<stat>(s.batch * s.q_heads * s.q_len);
            dq_ = buffer<T>(q_size());
            dk_ = buffer<T>(k_size());
            dv_ = buffer<T>(k_size());
            pantile::attention(queries(q_), keys(k_), keys(v_), queries(out_), rows(), options_);
            explanation_ = pantile::explain_backward(input(queries(q_)), input(keys(k_)), input(keys(v_)), options_);
        } else {
            explanation_ = pantile::explain(input(queries(q_)), input(keys(k_)), input(keys(v_)), options_);
        }
    }

    void call() override {
        if (s_.pass == "backward") {
            pantile::attention_backward(queries(q_), keys(k_), keys(v_), queries(out_), rows(), queries(dout_),
                                        queries(dq_), keys(dk_), keys(dv_), options_);
        } else {
            pantile::attention(queries(q_), keys(k_), keys(v_), queries(out_), options_);
        }
    }

    void store() const override {
        if (s_.pass == "backward") {
            dq_.store(file("pantile.dq"));
            dk_.store(file("pantile.dk"));
            dv_.store(file("pantile.dv"));
        } else {
            out_.store(file("pantile.out"));
        }
    }

    /// The best of 20 bursts of about a millisecond: in the first ones threads may still be waking up.
    [[nodiscard]] double peak_gflops() const override {
        double best = 0;
        for (int burst = 0; burst < 20; ++burst) {
            best = std::max(
                best, bench::multiply_add_peak(explanation_.isa.c_str(), static_cast<int>(sizeof(stat)), s_.threads));
        }
        return best / 1e9;
    }

    /// Median over as many passes as take some milliseconds; K and V lie in one buffer each.
    [[nodiscard]] double read_gbytes() const override {
        const auto bytes = static_cast<std::size_t>(k_.bytes());
        std::vector<double> speeds;
        for (index_t passes = 20 + 50'000'000 / k_.bytes(); passes > 0; --passes) {
            speeds.push_back(2 / (1 / bench::plain_read(k_.data(), bytes, s_.threads) +
                                  1 / bench::plain_read(v_.data(), bytes, s_.threads)));
        }
        return bench::median(std::move(speeds)) / 1e9;
    }

    [[nodiscard]] std::string kernel() const override { return explanation_.isa + " " + explanation_.kernel; }

  private:
    [[nodiscard]] std::string file(const char* name) const { return s_.folder + "/" + name + ".bin"; }
    [[nodiscard]] index_t q_size() const { return s_.batch * s_.q_heads * s_.q_len * s_.dim; }
    [[nodiscard]] index_t k_size() const { return s_.batch * s_.kv_heads * s_.k_len * s_.dim; }
    [[nodiscard]] auto queries(const buffer<T>& x) const {
        return pantile::bhsd(x.data(), s_.batch, s_.q_heads, s_.q_len, s_.dim);
    }
    [[nodiscard]] auto keys(const buffer<T>& x) const {
        return pantile::bhsd(x.data(), s_.batch, s_.kv_heads, s_.k_len, s_.dim);
    }
    [[nodiscard]] auto rows() const { return pantile::bhs(lse_.data(), s_.batch, s_.q_heads, s_.q_len); }
    static pantile::tensor_view<const T> input(pantile::tensor_view<T> x) { return x; }

    shape s_;
    buffer<T> q_, k_, v_, out_, dout_, dq_, dk_, dv_;
    buffer<stat> lse_;
    pantile::options options_;
    pantile::explanation explanation_;
};

std::unique_ptr<problem> prepare(std::istream& words) {
    shape s;
    if (!(words >> s.folder >> s.pass >> s.dtype >> s.mask >> s.batch >> s.q_heads >> s.kv_heads >> s.q_len >>
          s.k_len >> s.dim >> s.threads)) {
        throw std::runtime_error(
            "prepare needs: folder pass dtype mask batch q_heads kv_heads q_len k_len head_dim threads");
    }
    if (s.dtype == "fp32") return std::make_unique<problem_of<float>>(s);
    if (s.dtype == "fp64") return std::make_unique<problem_of<double>>(s);
    if (s.dtype == "fp16") return std::make_unique<problem_of<pantile::float16>>(s);
    if (s.dtype == "bf16") return std::make_unique<problem_of<pantile::bfloat16>>(s);
    throw std::runtime_error("unknown dtype " + s.dtype);
}

std::string answer(const std::string& line, std::unique_ptr<problem>& current) {
    std::istringstream words(line);
    std::string request;
    words >> request;
    if (request == "prepare") {
        current.reset(); // first, so that two problems never share the memory
        current = prepare(words);
        current->call();
        return "ok " + current->kernel();
    }
    if (!current) throw std::runtime_error("nothing is prepared");
    std::ostringstream out;
    if (request == "run") {
        double budget = 0;
        words >> budget;
        out << "seconds " << time_calls([&] { current->call(); }, budget);
    } else if (request == "store") {
        current->store();
        out << "ok";
    } else if (request == "peak") {
        out << "gflops " << current->peak_gflops();
    } else if (request == "read") {
        out << "gbytes " << current->read_gbytes();
    } else {
        throw std::runtime_error("unknown request " + request);
    }
    return out.str();
}

} // namespace

int main() {
    std::unique_ptr<problem> current;
    for (std::string line; std::getline(std::cin, line);) {
        try {
            std::cout << answer(line, current) << std::endl;
        } catch (const std::exception& e) {
            std::string text = e.what();
            std::replace(text.begin(), text.end(), '\n', ' ');
            std::cout << "error " << text << std::endl;
        }
    }
}
