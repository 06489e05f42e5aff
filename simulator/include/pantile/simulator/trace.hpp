/// \file
/// A run as a timeline: one lane a processor, one slice an operation. Opens in Perfetto (ui.perfetto.dev) and in
/// chrome://tracing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/machine.hpp>
#include <pantile/simulator/run.hpp>

namespace pantile::inline v0::simulator {

struct timeline_slice {
    std::string name; ///< "load k", "store out", "compute"
    int lane = 0;
    double begin = 0; ///< seconds
    double length = 0;
    index_t bytes = 0;
    index_t matrix_flops = 0;
};
struct timeline_sample {
    int lane = 0;
    double at = 0;
    index_t held_bytes = 0;
};
struct timeline_block {
    int lane = 0;
    index_t place = 0;
    index_t tile = 0;
    double begin = 0;
    double length = 0;
};
struct timeline {
    std::vector<timeline_block> blocks;
    std::vector<timeline_slice> slices;
    std::vector<timeline_sample> footprint;
    double seconds = 0;
    bool complete = true; ///< false: cut off after `most` slices
};

/// Runs with blocks handed to the lane that is free first. Within a block, transfers and arithmetic take their turns at a
/// processor's share of the machine's rates (last cache or memory bandwidth; matrix, exponential and vector rates): what
/// the picture shows is what overlapping could win. Throws invalid_argument if the machine lacks these rates.
[[nodiscard]] PANTILE_API timeline trace(const algorithm& a, const experiment& e, const machine& m, int lanes,
                                         std::size_t most = 200000);
/// The trace-event format: an object with traceEvents.
[[nodiscard]] PANTILE_API std::string timeline_json(const timeline& t);
/// How many blocks and slices, how long, and the file that holds them.
[[nodiscard]] PANTILE_API std::string timeline_summary_json(const timeline& t, std::string_view file, int lanes);

} // namespace pantile::inline v0::simulator
