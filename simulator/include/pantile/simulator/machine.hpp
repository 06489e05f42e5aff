/// \file
/// Machines as data: what a block may hold, the levels behind it, and the rates of each resource. Presets carry the source
/// of every figure; a JSON file of the same form describes any other machine.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/near_memory.hpp>
#include <pantile/simulator/tiles.hpp>

namespace pantile::inline v0::simulator {

/// A hardware-managed level.
struct cache_level {
    std::string name;
    index_t bytes = 0;
    index_t ways = 16;
    index_t line_bytes = 64;
    index_t parts = 1;   ///< slices that may each hold a copy of a line (H100's L2 is two halves)
    bool shared = false; ///< by all processors
};

/// 0 in a rate means "not known": that resource is then left out of time estimates.
struct PANTILE_API machine {
    std::string name;
    std::string title;
    index_t processors = 1; ///< SMs, compute units, cores
    double clock_ghz = 0;
    index_t scratchpad_bytes = 0; ///< of one processor, usable by one block; 0: none, caches only
    index_t register_bytes = 0;   ///< of one processor
    tile_quantum quantum{};       ///< what tile sides must be multiples of
    std::vector<cache_level> caches;
    std::map<std::string, double> matrix_tflops; ///< peak by dtype, dense
    double sustained_share = 1.0;                ///< of the matrix peak that a large product keeps (power, clocks)
    double exponentials_per_clock = 0;           ///< one processor
    double vector_operations_per_clock = 0;      ///< fp32 instructions of one processor
    double scratchpad_bytes_per_clock = 0;       ///< one processor
    double last_cache_gb_per_s = 0;              ///< last cache to processors, all together
    double memory_gb_per_s = 0;
    double network_gb_per_s = 0;                ///< of one device to others, one direction: the network level
    std::map<std::string, std::string> sources; ///< field -> where the figure is from

    /// Near memory of one block of a call on `type`; unbounded for a machine without scratchpads.
    [[nodiscard]] near_memory near(dtype type) const;
    [[nodiscard]] const cache_level* last_cache() const { return caches.empty() ? nullptr : &caches.back(); }
};

/// Names of the built-in machines.
[[nodiscard]] PANTILE_API std::vector<std::string> machine_names();
/// A preset's name, "here" (this CPU: its own caches and cores), or the path of a JSON file. Throws invalid_argument.
[[nodiscard]] PANTILE_API machine find_machine(std::string_view name);
/// Reads the JSON form: {"processors": 132, "clock_ghz": {"value": 1.83, "source": "…"}, "caches": [{…}], …}.
/// A figure is a number or {value, source}. Throws invalid_argument naming the field.
[[nodiscard]] PANTILE_API machine parse_machine(std::string_view text);
/// The caches that Linux reports for this CPU.
[[nodiscard]] PANTILE_API machine this_machine();
/// One line of a machine: a level or a rate, and where the figure is from.
struct machine_figure {
    std::string name;
    double value = 0;
    std::string source;
};
[[nodiscard]] PANTILE_API std::vector<machine_figure> figures_of(const machine& m);
[[nodiscard]] PANTILE_API std::string machine_text(const machine& m);
[[nodiscard]] PANTILE_API std::string machine_json(const machine& m);

} // namespace pantile::inline v0::simulator
