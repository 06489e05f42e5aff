/// \file
/// The options of a call, on the host or on a device: one aggregate, every field initialised, in the order in which people
/// write them.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include <pantile/core/mask.hpp>
#include <pantile/core/tile_plan.hpp>
#include <pantile/head_numbers.hpp>
#include <pantile/lengths.hpp>

namespace pantile::inline v0 {

/// The instruction sets of the CPU machine. automatic takes the best that the processor and the operating system offer,
/// or the one that the environment variable PANTILE_ISA names (baseline, avx2, avx512, amx, in upper or lower case).
/// amx computes bf16 forward calls of 32 rows and more on the processor's matrix unit; for every other call it means avx512.
/// The first such call (or explain of one) under automatic or amx asks Linux to let the process use the tile registers. From then
/// on an alternate signal stack (sigaltstack) must have room for them, some 11 KiB (sysconf(_SC_MINSIGSTKSZ)). Where a
/// smaller one stands already, permission is refused for good: automatic takes avx512, which rounds differently, and
/// explanation::note says so; amx throws invalid_argument.
enum class isa : unsigned char { automatic, baseline, avx2, avx512, amx };

/// The kernels of the CUDA machine. automatic takes the first of sm90, decode and portable that serves the call well, or the
/// one that the environment variable PANTILE_CUDA_KERNEL names.
enum class cuda_kernel : unsigned char {
    automatic,
    portable, ///< sm_80 and later: mma.sync, cp.async
    decode,   ///< few rows on long keys: small row tiles, packed heads, split keys
    sm90,     ///< Hopper: wgmma and warp specialisation; fp64 with mma.sync. All but fp32 through the copy engine
    ffma,     ///< fp32 by fused multiply-adds, one rounding each, instead of three tf32 products; only if asked for
};

struct options {
    pantile::mask mask{};
    /// logit = scale · q·k; any sign; default 1/sqrt(head_dim). scale·log2(e) must be finite in the precision computed in.
    std::optional<double> scale{};
    double softcap = 0.0; ///< logit = softcap · tanh(logit / softcap), before ALiBi and the mask; 0: off
    /// ALiBi: logit - slope · |i + off - j|, off that of the mask; one a query head, or one a (batch, query head). Empty: off.
    head_numbers slopes{};
    /// Logits of keys without a value, one a query head: each row's denominator grows by exp(sink). A row that sees no key has
    /// out = 0 and lse = sink. Of the partial results of a row exactly one must carry it. Empty: off.
    head_numbers sinks{};
    /// Keys that count in each batch, 0 … k_len; empty: all of them. The rest (padding, an unfilled cache) is never read.
    /// In the memory of q, k and v; on a device they are read when the call runs, and what is beyond 0 … k_len is clamped.
    lengths_view key_lengths{};
    bool accumulate = false; ///< backward adds to its gradients instead of overwriting them
    /// Of the host, 0: what OpenMP would use (OMP_NUM_THREADS), fewer where there is little work. At most 4 a processor (16 where
    /// that is more) are used, at most those that the system lets start, and 1 in a process forked after a call on several.
    int threads = 0;
    pantile::isa isa = isa::automatic; ///< of the host
    /// Tile sizes to use instead of the chosen ones; 0 in a field: the chosen one. A device's tiles are compiled in: there only
    /// key_splits may be named.
    std::optional<tile_plan> plan{};
    cuda_kernel kernel = cuda_kernel::automatic; ///< of a device
    /// Parts that the keys are cut into, of which partial results are merged; 0: what plan says, or else chosen.
    index_t key_splits = 0;
    /// Memory to work in, at least explain(…).workspace_bytes, where q, k and v are. Empty: on the host memory of the library's
    /// own, of which a thread keeps up to 4 MiB for itself and up to 128 MiB that the threads of its calls share; on a device
    /// the stream's pool. A device's must be 256-byte aligned.
    std::span<std::byte> workspace{};
};

/// The name that 0.1 had for the options of a call on a device.
using device_options = options;

} // namespace pantile::inline v0
