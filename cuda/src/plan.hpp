#pragma once

#include "kernels.hpp"

namespace pantile::inline v0::cuda {

/// What the choice needs to know about a device.
struct device_facts {
    int compute_capability = 80; ///< 10 · major + minor
    int multiprocessors = 1;
    index_t shared_bytes = 0; ///< most that one block may ask for
};

/// What the choice needs to know about a call beyond its problem.
struct call_facts {
    dtype type = dtype::fp16;
    bool vectors = false;   ///< bases, strides and dims of q, k, v are multiples of 16 bytes
    bool repeats = false;   ///< some dim of q, k, v longer than 1 has stride 0 (or a negative one)
    index_t key_splits = 0; ///< asked for; 0: choose
    cuda_kernel forced = cuda_kernel::automatic;
};

/// How a call will run.
struct forward_plan {
    const kernel* chosen = nullptr;
    tile_plan tiles;
    index_t heads_packed = 1;
    int tail = 1;
    index_t blocks = 0;
    bool counts_items = false; ///< the workspace holds a counter of row tiles
    index_t workspace_bytes = 0;
};

/// The one ladder by which a kernel is chosen. Throws unsupported where none serves the call.
[[nodiscard]] forward_plan choose(const core::problem& p, const call_facts& call, const device_facts& device);

} // namespace pantile::inline v0::cuda
