/// \file
/// A cache shared by the blocks that run at once: which keys and values reach it from memory, by order of work.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/machine.hpp>
#include <pantile/simulator/workload.hpp>

namespace pantile::inline v0::simulator {

/// In which order the row tiles of a forward pass are taken and their keys visited.
enum class block_order : unsigned char {
    cyclic,        ///< row tiles in order, every one left to right
    sawtooth,      ///< every other wave of blocks right to left: it begins with what the last wave left behind
    longest_first, ///< row tiles with most keys first (causal masks), left to right
};
[[nodiscard]] PANTILE_API std::string_view name(block_order order);
[[nodiscard]] PANTILE_API block_order parse_order(std::string_view text);

struct l2_request {
    workload what;
    tile_plan plan;
    index_t blocks_at_once = 132;
    index_t bytes = 0;   ///< of the shared cache
    bool halves = false; ///< two halves of bytes / 2, each serving every other block, each with its own copies
    block_order order = block_order::cyclic;
};

struct l2_result {
    index_t asked_bytes = 0;  ///< K and V that the blocks asked for
    index_t memory_bytes = 0; ///< K and V that came from memory
    index_t unique_bytes = 0; ///< K and V, each once
    /// Closed form, for one head without a mask: P = ceil(row tiles / blocks at once) passes over S bytes through C bytes:
    /// cyclic P·S, sawtooth S + (P - 1)(S - C); S alone if it fits.
    std::optional<index_t> predicted_bytes;
    [[nodiscard]] double hit_rate() const {
        return asked_bytes > 0 ? 1.0 - static_cast<double>(memory_bytes) / static_cast<double>(asked_bytes) : 1.0;
    }
};

/// Blocks advance in step, one key tile at a time; a block that ends makes room for the next. The cache holds whole tiles,
/// least recently used first out.
[[nodiscard]] PANTILE_API l2_result simulate_l2(const l2_request& request);

[[nodiscard]] PANTILE_API std::string l2_text(const std::vector<l2_request>& requests,
                                              const std::vector<l2_result>& results);
[[nodiscard]] PANTILE_API std::string l2_csv(const std::vector<l2_request>& requests,
                                             const std::vector<l2_result>& results);
[[nodiscard]] PANTILE_API std::string l2_json(const std::vector<l2_request>& requests,
                                              const std::vector<l2_result>& results);

} // namespace pantile::inline v0::simulator
