/// \file
/// Counters of real hardware and of callgrind beside what the simulator counts.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/cache.hpp>
#include <pantile/simulator/panel_kernel.hpp>

namespace pantile::inline v0::simulator {

struct compared_value {
    std::string label;
    double measured = 0;
    double predicted = 0;
    double tolerance = 0; ///< relative
    [[nodiscard]] double error() const { return predicted != 0 ? measured / predicted - 1 : 0; }
    [[nodiscard]] bool within() const { return error() <= tolerance && error() >= -tolerance; }
};

/// One kernel launch of an Nsight Compute CSV (ncu --csv --metrics …): metric -> value, bytes where the unit is bytes.
struct PANTILE_API ncu_kernel {
    std::string id;
    std::string name;
    std::vector<std::pair<std::string, double>> metrics;
    [[nodiscard]] std::optional<double> metric(std::string_view wanted) const;
};
/// Throws invalid_argument if the text has no table of ncu.
[[nodiscard]] PANTILE_API std::vector<ncu_kernel> parse_ncu(std::string_view csv);

/// L2-to-SM reads (l1tex__m_xbar2l1tex_read_bytes.sum) against the walk's reads of near memory, and DRAM reads
/// (dram__bytes_read.sum) against the compulsory reads, for each kernel whose name contains `kernel` (or one of its parts, "this|that").
[[nodiscard]] PANTILE_API std::vector<compared_value>
compare_ncu(const std::vector<ncu_kernel>& kernels, std::string_view kernel, const algorithm& a, const experiment& e);

/// Data-cache part of a callgrind output file (valgrind --tool=callgrind --cache-sim=yes): of the functions whose name
/// contains `function` (or one of its parts, "this|that"), themselves and not what they call; of the whole run if it is empty.
struct callgrind_counts {
    std::vector<cache_level> caches; ///< D1 and LL as callgrind simulated them
    index_t first_read_misses = 0;   ///< D1mr
    index_t last_read_misses = 0;    ///< DLmr
};
[[nodiscard]] PANTILE_API callgrind_counts parse_callgrind(std::string_view text, std::string_view function = {});

/// Last-level read misses of a real run against the walk's lines sent through the same two caches. The walk's order is the
/// kernel's; the kernel's scratch is not part of the walk.
[[nodiscard]] PANTILE_API std::vector<compared_value> compare_callgrind(const callgrind_counts& c, const algorithm& a,
                                                                        const experiment& e, double tolerance);

/// The same against the kernel's own accesses, scratch included.
[[nodiscard]] PANTILE_API std::vector<compared_value> compare_callgrind(const callgrind_counts& c, const experiment& e,
                                                                        const panel_kernel& kernel, double tolerance);

[[nodiscard]] PANTILE_API std::string compare_text(const std::vector<compared_value>& values);
[[nodiscard]] PANTILE_API std::string compare_csv(const std::vector<compared_value>& values);
[[nodiscard]] PANTILE_API std::string compare_json(const std::vector<compared_value>& values);

} // namespace pantile::inline v0::simulator
