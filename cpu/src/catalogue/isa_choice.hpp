/// \file
/// The rule by which a call gets its instruction set: plain values in, so that it can be tested on any processor.
#pragma once

#include <cstdint>

#include <pantile/options.hpp>

namespace pantile::inline v0::cpu {

/// What the processor and the operating system offer. To know it asks for nothing.
struct features {
    bool avx2 = false;
    bool avx512 = false;
    bool amx = false; ///< tiles of bf16, and AVX-512's conversion to bf16; a process must ask for their use
};

/// What the processor (cpuid, by leaf and register) and the operating system tell of themselves.
struct processor_words {
    std::uint32_t leaf1_c = 0;
    std::uint32_t leaf7_b = 0;
    std::uint32_t leaf7_d = 0;
    std::uint32_t leaf7_1_a = 0;
    /// The register states that the operating system saves on a task switch (XCR0). An instruction set whose registers are
    /// not saved must not be used, whatever the processor can do.
    std::uint64_t saved = 0;
};
[[nodiscard]] features features_of(const processor_words& w);

/// What a call gets.
struct isa_choice {
    pantile::isa set = pantile::isa::baseline;
    const char* no_amx = nullptr; ///< where AMX would have been taken: why it may not be used
};

/// Asks the operating system for AMX's tiles. Null: granted; else why not.
using tile_permission = const char* (*)();

/// The instruction set for a call that wants `wanted` (options.isa) in a process whose environment forces `forced`
/// (PANTILE_ISA), which counts where the call leaves it open; where both do, the best one.
/// AMX serves calls of the kind `matrix_unit` only, and only for these is `ask` asked; for others amx means avx512. Where
/// permission is refused, a call that leaves the choice open takes avx512 and says why.
/// Throws invalid_argument if a set that is named is unknown, not offered or not permitted, saying which are offered.
[[nodiscard]] isa_choice choose_isa(const features& offered, isa wanted, isa forced, bool matrix_unit,
                                    tile_permission ask);

/// The value of PANTILE_ISA in upper or lower case; null and empty: automatic.
/// Throws invalid_argument if it names no set.
[[nodiscard]] isa parse_isa(const char* value, const features& offered);

[[nodiscard]] const char* name_of(isa set);

/// From the smallest on: "baseline, avx2".
[[nodiscard]] const char* names_of(const features& offered);

} // namespace pantile::inline v0::cpu
