/// \file
/// Published figures beside what a run counts, with the accounting that connects them. Misses are shown too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <pantile/core/macros.hpp>

namespace pantile::inline v0::simulator {

enum class verdict : unsigned char {
    hit,  ///< equal at the published precision
    miss, ///< not equal under this accounting, which `note` explains
};

struct reproduced_value {
    std::string label;
    double published = 0;
    double ours = 0;
    std::string unit;
    verdict is = verdict::miss;
    bool expected_miss = false; ///< shown to rule an accounting out
    double last_digit = 0;      ///< what one in the last published digit is worth
};

/// Is `ours` the published figure when it is rounded to that figure's last digit? Half a digit may go either way.
[[nodiscard]] PANTILE_API bool rounds_to(double published, double ours, double last_digit);

struct PANTILE_API reproduction {
    std::string name;
    std::string title;      ///< which figure of which paper
    std::string accounting; ///< what is counted
    std::vector<reproduced_value> values;
    /// Every value is a hit or an expected miss.
    [[nodiscard]] bool explained() const;
};

/// "fa1-fig2-middle", "fa1-fig2-left", "fa1-table21", "fa1-fig2-right".
[[nodiscard]] PANTILE_API std::vector<std::string> reproduction_names();
/// One of the names, or "all". Throws invalid_argument for another.
[[nodiscard]] PANTILE_API std::vector<reproduction> reproduce(std::string_view name);

[[nodiscard]] PANTILE_API std::string reproduction_text(const std::vector<reproduction>& list);
[[nodiscard]] PANTILE_API std::string reproduction_csv(const std::vector<reproduction>& list);
[[nodiscard]] PANTILE_API std::string reproduction_json(const std::vector<reproduction>& list);

} // namespace pantile::inline v0::simulator
