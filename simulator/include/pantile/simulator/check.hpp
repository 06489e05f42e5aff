/// \file
/// Random ragged runs against closed forms, in integers.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/run.hpp>

namespace pantile::inline v0::simulator {

/// A small random workload and plan: ragged sizes (0 included), any band and alignment, GQA packed and not, key lengths,
/// and, where the algorithm takes them, block masks.
[[nodiscard]] PANTILE_API experiment random_experiment(const algorithm& a, pass which, std::mt19937_64& random);

/// One line that says everything about an experiment.
[[nodiscard]] PANTILE_API std::string describe(const experiment& e);

struct check_result {
    index_t cases = 0;
    std::vector<std::string> mismatches; ///< each names algorithm, experiment, tensor and both numbers
};

/// Holds `cases` random runs of each pass of each algorithm equal to its closed form, tensor by tensor; fa2's also to the
/// closed forms that core predicts a call's traffic by. `progress` (if any) hears the cases done so far.
[[nodiscard]] PANTILE_API check_result check(const std::vector<const algorithm*>& list, index_t cases,
                                             std::uint64_t seed,
                                             const std::function<void(index_t done, index_t of)>& progress = {});

/// Mismatches of one experiment.
[[nodiscard]] PANTILE_API std::vector<std::string> check_one(const algorithm& a, const experiment& e);

} // namespace pantile::inline v0::simulator
