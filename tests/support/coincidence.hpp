/// \file
/// Errors that coincide. Rounding errors of different numbers are as good as independent, and a sum's error grows like the
/// norm of its terms' errors. Rows that are equal go through the same arithmetic: their errors are one number, and add up.
#pragma once

#include <vector>

#include <support/formula_head.hpp>

namespace pantile::test {

/// Equal rows of a matrix, two or more, by index.
using family = std::vector<index_t>;

/// The families of a matrix; rows that are like no other are in none. 0 and -0 are equal, NaN is itself.
[[nodiscard]] std::vector<family> families_of(const matrix<double>& rows);

/// An error of (errors · factors)(i, x) is Σ_j errors(i, j)·factors(j, x)·ξ_j with random ξ_j of variance 1. Its variance is
/// (errors²·factors²)(i, x) if all ξ differ; this is what it has beyond that if a family shares one ξ. Never negative: equal
/// rows may also be computed in two ways (in the last, shorter tile), and then errors that would cancel do not.
[[nodiscard]] matrix<double> beyond_independent(const matrix<double>& errors, const matrix<double>& factors,
                                                const std::vector<family>& families);

/// The same of a sum over all errors, Σ_ij errors(i, j)·ξ_ij, where ξ is shared by pairs whose rows are of one family and whose
/// columns are.
[[nodiscard]] double beyond_independent_sum(const matrix<double>& errors, const std::vector<family>& rows,
                                            const std::vector<family>& columns);

} // namespace pantile::test
