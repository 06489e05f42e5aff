/// \file
/// One run: an algorithm, a workload, tiles, near memory; what it moved, what it computed, what it held.
#pragma once

#include <string>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/algorithm.hpp>

namespace pantile::inline v0::simulator {

struct experiment {
    workload what{};
    pass which = pass::forward;
    tile_plan plan{};
    near_memory near{};
};

struct run_result {
    counts moved; ///< of all devices
    counts sent;  ///< between devices, over the link: each element once, as a write
    work done;
    index_t blocks = 0;              ///< row tiles' and key tiles' worth of work
    index_t peak_bytes = 0;          ///< of the scratchpad (elements, in the model of the papers)
    index_t peak_register_bytes = 0; ///< of the registers, where accumulators have them
    bool operator==(const run_result&) const = default;
};

/// Runs the walk and counts. Throws invalid_argument for a bad workload or plan, does_not_fit when near memory is too small.
[[nodiscard]] PANTILE_API run_result run(const algorithm& a, const experiment& e, observer* watcher = nullptr);

/// The same run on numbers: `data` must hold q, k, v (backward: also out, dout and lse, or row_max and row_sum for fa1;
/// probabilities for the unfused algorithms) and receives the results. The counts are those of `run`; with `counting` off
/// they are zero and the numbers are the same.
[[nodiscard]] PANTILE_API run_result execute(const algorithm& a, const experiment& e, far_memory& data,
                                             bool counting = true, observer* watcher = nullptr);

/// Near memory, in bytes, that one block needs: the peak of a run over two tiles each way.
struct footprint {
    index_t bytes = 0;
    index_t register_bytes = 0;
};
[[nodiscard]] PANTILE_API footprint footprint_of(const algorithm& a, const experiment& e);

} // namespace pantile::inline v0::simulator
