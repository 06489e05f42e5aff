/// \file
/// The CPU machine's forward kernel, line by line: core's walk with a machine that touches the memory that the kernel
/// touches, its scratch included, in the kernel's order.
#pragma once

#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/cache.hpp>
#include <pantile/simulator/run.hpp>

namespace pantile::inline v0::simulator {

/// How the kernel cuts a row tile of r queries against a key tile of c keys. Panels of `panel_rows` queries run in SIMD
/// lanes; a product keeps `block_rows` rows of its result in registers. Scratch holds, in this order, each from a new line:
/// scores c·panel_rows, six vectors of panel_rows, three of r, Qᵀ r·d, Oᵀ r·e.
struct panel_kernel {
    index_t scratch_bytes = 0; ///< of the thread, as explain(…).workspace_bytes says
    index_t panel_rows = 16;
    index_t block_rows = 6;
    index_t lanes = 8; ///< numbers in a vector
};

/// The kernel that has this much scratch: the widest panel for which the arrays above fit in it. `lanes`: 8 with AVX2 in
/// fp32. Throws invalid_argument if none does.
[[nodiscard]] PANTILE_API panel_kernel panel_kernel_of(const workload& w, const tile_plan& plan, index_t scratch_bytes,
                                                       index_t lanes = 8);

/// What the kernel's accesses do to a chain of caches as callgrind simulates them: a write that misses brings the line in, a
/// dirty line that leaves touches nothing.
struct kernel_lines {
    std::vector<cache_counts> levels;
    index_t accesses = 0;
};

/// One thread's forward pass: fp32, no mask, K and V used where they lie, lse not asked for. Memory holds the scratch, then
/// q, k, v and out, each from a new page of 4 KiB. Throws invalid_argument for another workload.
[[nodiscard]] PANTILE_API kernel_lines run_panel_kernel(const experiment& e, const panel_kernel& kernel,
                                                        const std::vector<cache_level>& levels);

} // namespace pantile::inline v0::simulator
