// answers ISA: results of the library under that instruction set against the formula in double, rows that see no key, rows with
// NaN, and the 16-bit conversions of the public headers. This program may be compiled with -ffast-math: it looks at the bits of
// what is not finite, and computes with finite numbers only. Exit status 77: this machine has not got the set.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include <pantile/attention.hpp>

namespace {

using pantile::bfloat16;
using pantile::float16;
using pantile::index_t;

constexpr index_t heads = 2, q_len = 70, k_len = 93, dim = 40;
constexpr index_t blind_rows = 9; // of 70: they see no key
constexpr index_t nan_row = 33;

int faults = 0;

void require(bool right, const std::string& what) {
    if (right) return;
    ++faults;
    std::printf("WRONG: %s\n", what.c_str());
}

template <class To, class From>
To bits_of(From x) {
    To to{};
    std::memcpy(&to, &x, sizeof(To));
    return to;
}

bool is_nan(float x) { return (bits_of<std::uint32_t>(x) & 0x7fffffffU) > 0x7f800000U; }
bool is_nan(double x) { return (bits_of<std::uint64_t>(x) & 0x7fffffffffffffffU) > 0x7ff0000000000000U; }
bool is_minus_infinity(float x) { return bits_of<std::uint32_t>(x) == 0xff800000U; }
bool is_minus_infinity(double x) { return bits_of<std::uint64_t>(x) == 0xfff0000000000000U; }

/// The same numbers for every run, between -2 and 2.
std::vector<double> numbers(std::size_t count, std::uint32_t seed) {
    std::vector<double> made(count);
    for (double& x : made) {
        seed = seed * 1664525U + 1013904223U;
        x = static_cast<double>(seed >> 16) / 16384.0 - 2.0;
    }
    return made;
}

template <class T>
std::vector<T> stored(const std::vector<double>& x) {
    std::vector<T> made;
    for (const double value : x)
        made.push_back(static_cast<T>(static_cast<std::conditional_t<sizeof(T) == 8, double, float>>(value)));
    return made;
}

template <class T>
std::size_t at(index_t head, index_t row, T length) {
    return static_cast<std::size_t>((head * length + row) * dim);
}

/// A causal call whose row i sees the keys up to i - blind_rows.
template <class T>
void check(const char* name, double tolerance, const pantile::options& base) {
    using number = std::conditional_t<std::is_same_v<T, double>, double, float>;
    std::vector<T> q = stored<T>(numbers(heads * q_len * dim, 1));
    const std::vector<T> k = stored<T>(numbers(heads * k_len * dim, 2));
    const std::vector<T> v = stored<T>(numbers(heads * k_len * dim, 3));
    // A NaN that is no arithmetic of this program's: its bits.
    if constexpr (sizeof(T) == 8) q[at(1, nan_row, q_len)] = bits_of<double>(std::uint64_t{0x7ff8000000000000U});
    if constexpr (sizeof(T) == 4) q[at(1, nan_row, q_len)] = bits_of<float>(std::uint32_t{0x7fc00000U});
    if constexpr (std::is_same_v<T, float16>) q[at(1, nan_row, q_len)].bits = 0x7e00;
    if constexpr (std::is_same_v<T, bfloat16>) q[at(1, nan_row, q_len)].bits = 0x7fc0;

    std::vector<number> out(q.size()), lse(heads * q_len);
    std::vector<T> narrow_out(q.size());
    pantile::options o = base;
    o.mask = pantile::causal().at_offset(-blind_rows);
    const auto view = [](auto& x, index_t length) { return pantile::bhsd(x.data(), 1, heads, length, dim); };
    const auto rows = pantile::bhs(lse.data(), 1, heads, q_len);
    pantile::attention(view(q, q_len), view(k, k_len), view(v, k_len), view(narrow_out, q_len), rows, o);
    if constexpr (sizeof(T) == 2) {
        pantile::attention(view(q, q_len), view(k, k_len), view(v, k_len), view(out, q_len), rows, o);
    } else {
        out = narrow_out;
    }

    const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
    double worst = 0.0;
    for (index_t h = 0; h < heads; ++h) {
        for (index_t i = 0; i < q_len; ++i) {
            const number* const row = &out[at(h, i, q_len)];
            const number row_lse = lse[static_cast<std::size_t>(h * q_len + i)];
            const std::string where = std::string(name) + ", head " + std::to_string(h) + ", row " + std::to_string(i);
            if (i < blind_rows) {
                bool zero = true;
                for (index_t x = 0; x < dim; ++x) zero = zero && row[x] == 0;
                require(zero && is_minus_infinity(row_lse), where + " sees no key");
                continue;
            }
            if (h == 1 && i == nan_row) {
                bool nan = is_nan(row_lse);
                for (index_t x = 0; x < dim; ++x) nan = nan && is_nan(row[x]);
                require(nan, where + " holds NaN");
                continue;
            }
            const index_t keys = i + 1 - blind_rows;
            std::vector<double> score(static_cast<std::size_t>(keys));
            double most = -1e300;
            for (index_t j = 0; j < keys; ++j) {
                double sum = 0.0;
                for (index_t x = 0; x < dim; ++x) {
                    sum += static_cast<double>(static_cast<number>(q[at(h, i, q_len) + static_cast<std::size_t>(x)])) *
                           static_cast<double>(static_cast<number>(k[at(h, j, k_len) + static_cast<std::size_t>(x)]));
                }
                score[static_cast<std::size_t>(j)] = sum * scale;
                most = std::fmax(most, sum * scale);
            }
            double total = 0.0;
            for (double& s : score) total += s = std::exp(s - most);
            for (index_t x = 0; x < dim; ++x) {
                double expected = 0.0;
                for (index_t j = 0; j < keys; ++j) {
                    expected +=
                        score[static_cast<std::size_t>(j)] / total *
                        static_cast<double>(static_cast<number>(v[at(h, j, k_len) + static_cast<std::size_t>(x)]));
                }
                require(!is_nan(row[x]), where + " is NaN");
                worst = std::fmax(worst, std::fabs(static_cast<double>(row[x]) - expected));
            }
            worst = std::fmax(worst, std::fabs(static_cast<double>(row_lse) - most - std::log(total)));
        }
    }
    std::printf("%-8s largest error %.2g, allowed %.2g\n", name, worst, tolerance);
    require(worst <= tolerance, std::string(name) + " is not exact");
}

/// Every 16-bit number through float and back; NaN stays NaN, quietly.
template <class T>
void check_conversions(const char* name, std::uint32_t infinity, std::uint32_t quiet, bool keeps_payload) {
    for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
        T x;
        x.bits = static_cast<std::uint16_t>(bits);
        const bool nan = (bits & 0x7fffU) > infinity;
        const std::uint32_t expected = !nan ? bits : keeps_payload ? bits | quiet : (bits & 0x8000U) | infinity | quiet;
        const auto wide = static_cast<float>(x);
        if (T(wide).bits != expected || is_nan(wide) != nan) {
            return require(false, std::string(name) + " " + std::to_string(bits) + " does not survive a conversion");
        }
    }
    require(T(bits_of<float>(std::uint32_t{0x7f7fffffU})).bits == infinity,
            std::string(name) + ": overflow is infinity");
}

} // namespace

int main(int argc, char** argv) {
    pantile::options o;
    const std::string wanted = argc > 1 ? argv[1] : "";
    if (wanted == "baseline") o.isa = pantile::isa::baseline;
    if (wanted == "avx2") o.isa = pantile::isa::avx2;
    if (wanted == "avx512") o.isa = pantile::isa::avx512;
    if (wanted == "amx") o.isa = pantile::isa::amx;
    try {
        check<double>("double", 1e-14, o);
        check<float>("float", 3e-6, o);
        check<float16>("float16", 3e-6, o);
        check<bfloat16>("bfloat16", wanted == "amx" || wanted.empty() ? 2e-2 : 3e-6, o);
    } catch (const pantile::invalid_argument& e) {
        std::printf("%s\n", e.what());
        return std::string(e.what()).find("is not available here") != std::string::npos ? 77 : 1;
    }
    check_conversions<float16>("float16", 0x7c00, 0x200, false);
    check_conversions<bfloat16>("bfloat16", 0x7f80, 0x40, true);
    return faults == 0 ? 0 : 1;
}
