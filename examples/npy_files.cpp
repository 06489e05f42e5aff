// Attention from .npy files to a .npy file: q, k, v as (batch, heads, length, dim), float32 or float64.
#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <npy.hpp>
#include <pantile/attention.hpp>

namespace {

template <class T>
npy::array attend(const npy::array& q, const npy::array& k, const npy::array& v, const pantile::options& options) {
    const auto q_data = q.as<T>();
    const auto k_data = k.as<T>();
    const auto v_data = v.as<T>();
    const auto view = [](const std::vector<T>& data, const std::vector<std::int64_t>& s) {
        return pantile::bhsd(data.data(), s[0], s[1], s[2], s[3]);
    };
    const std::vector<std::int64_t> shape = {q.shape[0], q.shape[1], q.shape[2], v.shape[3]};
    std::vector<T> out(static_cast<std::size_t>(shape[0] * shape[1] * shape[2] * shape[3]));
    pantile::attention(view(q_data, q.shape), view(k_data, k.shape), view(v_data, v.shape),
                       pantile::bhsd(out.data(), shape[0], shape[1], shape[2], shape[3]), options);
    return npy::make(shape, out.data());
}

/// Largest absolute difference; infinite if the shapes differ.
double difference(const npy::array& a, const npy::array& b) {
    if (a.shape != b.shape || a.type != b.type) return INFINITY;
    const auto largest = [](const auto& x, const auto& y) {
        double worst = 0;
        for (std::size_t i = 0; i < x.size(); ++i) worst = std::fmax(worst, std::abs(double{x[i]} - double{y[i]}));
        return worst;
    };
    return a.type == npy::type::f4 ? largest(a.as<float>(), b.as<float>()) : largest(a.as<double>(), b.as<double>());
}

int run(std::vector<std::string> arguments) {
    pantile::options options;
    if (!arguments.empty() && arguments[0] == "--causal") {
        options.mask = pantile::causal();
        arguments.erase(arguments.begin());
    }
    if (arguments.size() != 4 && arguments.size() != 5) {
        std::fprintf(stderr, "usage: npy_files [--causal] Q.npy K.npy V.npy OUT.npy [EXPECTED.npy]\n");
        return 2;
    }
    const npy::array q = npy::read(arguments[0]);
    const npy::array k = npy::read(arguments[1]);
    const npy::array v = npy::read(arguments[2]);
    if (q.shape.size() != 4 || k.shape.size() != 4 || v.shape.size() != 4) {
        throw npy::error("q, k and v must have four axes: batch, heads, length, dim");
    }
    const npy::array out = q.type == npy::type::f4 ? attend<float>(q, k, v, options) : attend<double>(q, k, v, options);
    npy::write(arguments[3], out);
    std::printf("wrote %s: (%lld, %lld, %lld, %lld) %s\n", arguments[3].c_str(), static_cast<long long>(out.shape[0]),
                static_cast<long long>(out.shape[1]), static_cast<long long>(out.shape[2]),
                static_cast<long long>(out.shape[3]), npy::descr(out.type));
    if (arguments.size() == 4) return 0;

    const double worst = difference(out, npy::read(arguments[4]));
    std::printf("largest difference from %s: %.2g\n", arguments[4].c_str(), worst);
    return worst < 1e-5 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    try {
        return run({argv + 1, argv + argc});
    } catch (const std::exception& e) { // an unreadable file, shapes that do not fit: the text says which
        std::fprintf(stderr, "npy_files: %s\n", e.what());
        return 1;
    }
}
