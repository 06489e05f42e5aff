#pragma once

#include "../tile/swizzle.hpp"

// The sizes of one decode kernel.

namespace pantile::inline v0::cuda {

/// A block holds up to 16 packed query rows. Each of its warps has a share of the keys to itself, a ring of `stages` key
/// tiles of K and of V to bring them through, and its own O of all rows. `resident` blocks fit a multiprocessor.
template <class T, int dim_, int warps_, int stages_, int resident_>
struct decode_tile {
    using input = T;
    static constexpr int dim = dim_;
    static constexpr int rows = 16;
    static constexpr int keys = 16; ///< of a warp's tile
    static constexpr int warps = warps_;
    static constexpr int stages = stages_;
    static constexpr int resident = resident_;
    static constexpr int blocks_of_16 = 1;
    static constexpr int threads = 32 * warps;
    static constexpr int q_bytes = tile_bytes(rows, dim);
    static constexpr int kv_bytes = tile_bytes(keys, dim);
    static constexpr int ring_bytes = stages * 2 * kv_bytes;
    static constexpr int shared_bytes = q_bytes + warps * ring_bytes + tile_alignment;
    /// Floats from one row of a warp's finished O to the next, in its ring: 8 more than a row has, so that four rows of
    /// one column fall into different banks.
    static constexpr int out_stride = dim + 8;
    static_assert(rows * out_stride * 4 <= ring_bytes);
};

/// Where the parts of a split call lie in the workspace. Groups: kv heads over all batches. First a word a group, for
/// `arrivals`; then for each (group, split) O of the used rows, `columns` floats each, and their {max, sum}.
struct decode_parts {
    index_t groups = 0;
    index_t splits = 0;
    int rows = 0; ///< used, at most 16
    int columns = 0;

    [[nodiscard]] PANTILE_FN index_t first_byte() const { return (groups * 8 + 255) / 256 * 256; }
    /// Floats of one part, whole 16-byte pieces.
    [[nodiscard]] PANTILE_FN int floats() const { return rows * columns + (2 * rows + 3) / 4 * 4; }
    [[nodiscard]] PANTILE_FN index_t place(index_t group, index_t split) const {
        return (group * splits + split) * floats();
    }
    [[nodiscard]] PANTILE_FN index_t bytes() const { return first_byte() + groups * splits * floats() * 4; }
};

} // namespace pantile::inline v0::cuda
