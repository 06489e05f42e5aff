/// \file
/// Block masks in words: local, butterfly, strided and random patterns, or a file.
#pragma once

#include <string_view>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/workload.hpp>

namespace pantile::inline v0::simulator {

/// Gives `w` a block mask. `text` is ROWSxKEYS:PATTERN, the size of a block and which blocks are visible:
///
///     64x64:local:2         those at most 2 blocks from the diagonal
///     64x64:butterfly       block (r, c) if r = c or r and c differ in one bit (flat block butterfly, arXiv 2112.00029,
///                           the pattern of block-sparse FlashAttention)
///     64x64:strided:8       the diagonal and every eighth column of blocks (after Sparse Transformers, arXiv 1904.10509)
///     64x64:random:25:7     25 % of the blocks, drawn with seed 7 (1 if left out)
///     64x64:file:mask.txt   lines of 0 and 1, one line a row of blocks; spaces do not matter
///
/// Throws invalid_argument.
PANTILE_API void set_blocks(workload& w, std::string_view text);

/// Share of the blocks that are visible; 1 without a block mask.
[[nodiscard]] PANTILE_API double visible_share(const workload& w);

} // namespace pantile::inline v0::simulator
