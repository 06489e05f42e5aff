#include <support/coincidence.hpp>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace pantile::test {

std::vector<family> families_of(const matrix<double>& rows) {
    const matrix<double> bits = rows.array() + 0.0; // -0 becomes 0: then equal rows have equal bytes
    const auto compare = [&](index_t a, index_t b) {
        const auto size = static_cast<std::size_t>(bits.cols()) * sizeof(double);
        return size == 0 ? 0 : std::memcmp(&bits(a, 0), &bits(b, 0), size);
    };
    std::vector<index_t> order(static_cast<std::size_t>(bits.rows()));
    std::iota(order.begin(), order.end(), index_t{0});
    std::sort(order.begin(), order.end(), [&](index_t a, index_t b) { return compare(a, b) < 0; });

    std::vector<family> found;
    for (auto first = order.begin(); first != order.end();) {
        const auto other = std::find_if(first, order.end(), [&](index_t j) { return compare(*first, j) != 0; });
        if (other - first > 1) found.emplace_back(first, other);
        first = other;
    }
    return found;
}

matrix<double> beyond_independent(const matrix<double>& errors, const matrix<double>& factors,
                                  const std::vector<family>& families) {
    matrix<double> beyond = matrix<double>::Zero(errors.rows(), factors.cols());
    for (const family& f : families) {
        const matrix<double> e = errors(Eigen::all, f);
        const matrix<double> x = factors(f, Eigen::all);
        const matrix<double> together = e * x;
        const matrix<double> apart = e.cwiseAbs2() * x.cwiseAbs2();
        beyond.array() += (together.array().square() - apart.array()).max(0.0);
    }
    return beyond;
}

} // namespace pantile::test
