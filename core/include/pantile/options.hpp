/// \file
/// The options of a host call: one aggregate, every field initialised, in the order in which people write them.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include <pantile/core/band.hpp>
#include <pantile/core/problem.hpp>
#include <pantile/core/tile_plan.hpp>

namespace pantile {

using core::alignment;

/// Which keys a row sees: i + off - left <= j <= i + off + right, both sides inclusive. off is k_len - q_len
/// (bottom_right: the last row stands at the last key), 0 (top_left) or the number given by at_offset.
/// With per-batch key lengths, k_len is that of the batch.
struct mask {
    index_t left = unbounded;
    index_t right = unbounded;
    alignment align = alignment::bottom_right;
    index_t offset = 0; ///< read where align is explicit_offset

    /// The same band with row 0 at key `off`: a chunk of a prefill, a row of a cache.
    [[nodiscard]] constexpr mask at_offset(index_t off) const { return {left, right, alignment::explicit_offset, off}; }
};

/// Every row sees every key.
[[nodiscard]] constexpr mask full() { return {}; }
/// Row i sees the keys j <= i + off.
[[nodiscard]] constexpr mask causal(alignment align = alignment::bottom_right) { return {unbounded, 0, align, 0}; }
/// Row i sees the keys i + off - left <= j <= i + off + right; `unbounded` lifts a side.
[[nodiscard]] constexpr mask window(index_t left, index_t right, alignment align = alignment::bottom_right) {
    return {left, right, align, 0};
}

/// The instruction sets of the CPU machine. automatic takes the best that the processor and the operating system offer,
/// or the one that the environment variable PANTILE_ISA names (baseline, avx2, avx512, amx, in upper or lower case).
/// amx computes bf16 forward calls of 32 rows and more on the processor's matrix unit; for every other call it means avx512.
/// The first such call (or explain of one) under automatic or amx asks Linux to let the process use the tile registers. From then
/// on an alternate signal stack (sigaltstack) must have room for them, some 11 KiB (sysconf(_SC_MINSIGSTKSZ)). Where a
/// smaller one stands already, permission is refused for good: automatic takes avx512, which rounds differently, and
/// explanation::note says so; amx throws invalid_argument.
enum class isa : unsigned char { automatic, baseline, avx2, avx512, amx };

struct options {
    pantile::mask mask{};
    /// logit = scale · q·k; any sign; default 1/sqrt(head_dim). scale·log2(e) must be finite in the precision computed in.
    std::optional<double> scale{};
    /// Keys that count in each batch, 0 … k_len; empty: all of them. The rest (padding, an unfilled cache) is never read.
    std::span<const index_t> key_lengths{};
    bool accumulate = false; ///< backward adds to dq, dk, dv instead of overwriting them
    /// 0: what OpenMP would use (OMP_NUM_THREADS), fewer where there is little work. At most 4 a processor (16 where that is
    /// more) are used, at most those that the system lets start, and 1 in a process forked after a call on several.
    int threads = 0;
    pantile::isa isa = isa::automatic;
    std::optional<tile_plan> plan{}; ///< tile sizes to use instead of the chosen ones; 0 in a field: the chosen one
    /// Memory to work in, at least explain(…).workspace_bytes; empty: memory of the library's own, of which a thread keeps up
    /// to 4 MiB for itself and up to 128 MiB that the threads of its calls share.
    std::span<std::byte> workspace{};
};

} // namespace pantile
