/// \file
/// How long a run would take on a machine: each resource's busy time, the binding one named.
#pragma once

#include <string>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/machine.hpp>
#include <pantile/simulator/run.hpp>

namespace pantile::inline v0::simulator {

struct resource_time {
    std::string name;
    double seconds = 0;
};

/// A range, not a number: `overlapped` lets every resource work at once (nothing is faster than its busiest resource);
/// `serial` lets matrix products, exponentials and vector arithmetic of a block wait for one another.
/// Start-up latencies are not modelled.
struct time_estimate {
    std::vector<resource_time> resources; ///< busiest first
    double overlapped = 0;
    double serial = 0;
    double wave_efficiency = 1; ///< blocks / (waves · blocks that run at once)
    index_t blocks_at_once = 0;
    [[nodiscard]] const std::string& binding() const { return resources.front().name; }
};

/// Work over several devices shares out evenly; what they send each other takes the network's time.
/// `memory_bytes`: what reaches main memory (compulsory traffic, or an L2 simulation's).
/// Throws invalid_argument if the machine lacks a clock or a matrix rate for the workload's type.
[[nodiscard]] PANTILE_API time_estimate estimate(const machine& m, const experiment& e, const run_result& r,
                                                 double memory_bytes);

/// Bytes that any algorithm must move: each input once, each output once.
[[nodiscard]] PANTILE_API double compulsory_bytes(const workload& w, pass which);

[[nodiscard]] PANTILE_API std::string estimate_text(const machine& m, const experiment& e, const run_result& r,
                                                    const time_estimate& t);
/// The run and its estimate, as JSON.
[[nodiscard]] PANTILE_API std::string run_json(const algorithm& a, const experiment& e, const run_result& r,
                                               const machine& m, const time_estimate& t);

} // namespace pantile::inline v0::simulator
