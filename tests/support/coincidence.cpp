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

namespace {

/// A number a row, the same for rows of one family, and how many numbers there are.
std::pair<std::vector<index_t>, index_t> numbered(index_t rows, const std::vector<family>& families) {
    std::vector<index_t> number(static_cast<std::size_t>(rows), -1);
    index_t next = 0;
    for (const family& f : families) {
        for (const index_t i : f) number[static_cast<std::size_t>(i)] = next;
        ++next;
    }
    for (index_t& n : number) n = n < 0 ? next++ : n;
    return {number, next};
}

} // namespace

double beyond_independent_sum(const matrix<double>& errors, const std::vector<family>& rows,
                              const std::vector<family>& columns) {
    if (rows.empty() && columns.empty()) return 0.0;
    const auto [row, row_count] = numbered(errors.rows(), rows);
    const auto [column, column_count] = numbered(errors.cols(), columns);
    matrix<double> together = matrix<double>::Zero(row_count, column_count);
    matrix<double> apart = together;
    for (index_t i = 0; i < errors.rows(); ++i) {
        for (index_t j = 0; j < errors.cols(); ++j) {
            const index_t a = row[static_cast<std::size_t>(i)];
            const index_t b = column[static_cast<std::size_t>(j)];
            together(a, b) += errors(i, j);
            apart(a, b) += errors(i, j) * errors(i, j);
        }
    }
    return (together.array().square() - apart.array()).max(0.0).sum();
}

} // namespace pantile::test
