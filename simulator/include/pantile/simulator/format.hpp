/// \file
/// Results as text for people and as JSON for programs.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/check.hpp>
#include <pantile/simulator/run.hpp>
#include <pantile/simulator/tiles.hpp>

namespace pantile::inline v0::simulator {

/// Columns padded to their widest cell; the first is flush left, the others flush right. The first row is the heading.
[[nodiscard]] PANTILE_API std::string table(const std::vector<std::vector<std::string>>& rows);
/// Comma-separated, quoted where needed, with the end of line.
[[nodiscard]] PANTILE_API std::string csv_line(const std::vector<std::string>& cells);
/// 1234567 -> "1,234,567".
[[nodiscard]] PANTILE_API std::string grouped(index_t n);
/// "545.26 MB": decimal units, as vendors count bandwidth.
[[nodiscard]] PANTILE_API std::string human_bytes(double bytes);

/// "128" -> 128, "16K" -> 16384, "1M", "2G": binary multiples. Throws invalid_argument naming `what`.
[[nodiscard]] PANTILE_API index_t parse_size(std::string_view text, std::string_view what);
/// Near memory: "64K" is elements, the M of the papers; "227KB" is bytes at the widths of a call on `type`.
[[nodiscard]] PANTILE_API near_memory parse_near(std::string_view text, dtype type);
/// "full", "causal", "causal-top-left", "window:LEFT:RIGHT" ("all" lifts a side), each also with "@OFFSET".
[[nodiscard]] PANTILE_API mask parse_mask(std::string_view text);

/// A table of per-tensor reads and writes in elements and bytes, and what the run held and computed.
[[nodiscard]] PANTILE_API std::string run_text(const algorithm& a, const experiment& e, const run_result& r);
[[nodiscard]] PANTILE_API std::string run_json(const algorithm& a, const experiment& e, const run_result& r);
/// One line a tensor: elements and bytes, plain numbers.
[[nodiscard]] PANTILE_API std::string run_csv(const experiment& e, const run_result& r);
[[nodiscard]] PANTILE_API std::string plan_text(const algorithm& a, const experiment& e,
                                                const std::vector<tile_choice>& choices);
[[nodiscard]] PANTILE_API std::string plan_json(const algorithm& a, const experiment& e,
                                                const std::vector<tile_choice>& choices);
[[nodiscard]] PANTILE_API std::string plan_csv(const std::vector<tile_choice>& choices);
/// `seed`: of random cases; none for cases that were named.
[[nodiscard]] PANTILE_API std::string check_text(const check_result& r, std::optional<std::uint64_t> seed);
[[nodiscard]] PANTILE_API std::string check_json(const check_result& r, std::optional<std::uint64_t> seed);

} // namespace pantile::inline v0::simulator
