#include "dispatch.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>

#include <pantile/error.hpp>

#if defined(PANTILE_X86)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace pantile::cpu {
namespace {

struct features {
    bool avx2 = false;
    bool avx512 = false;
    bool amx = false; ///< tiles of bf16, and AVX-512's conversion to bf16
};

#if defined(PANTILE_X86)
/// The register states that the operating system saves on a task switch (XCR0). An instruction set whose registers are
/// not saved must not be used, whatever the processor can do.
std::uint64_t saved_states() {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (std::uint64_t{high} << 32) | low;
}

/// Linux saves the 8 KiB of tile registers only for processes that have asked for them (Documentation/arch/x86/xstate.rst).
bool tiles_are_granted() {
#if defined(__linux__) && defined(SYS_arch_prctl)
    constexpr long request_permission = 0x1023; // ARCH_REQ_XCOMP_PERM
    constexpr long tile_data = 18;              // XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}

features detect() {
    constexpr std::uint64_t sse_avx = 0x6;     // XMM, YMM
    constexpr std::uint64_t all_avx512 = 0xe6; // and the masks, the upper halves, the upper registers
    constexpr std::uint64_t tiles = 0x60000;   // configuration and data
    const auto bit = [](unsigned word, int i) { return (word >> i & 1U) != 0; };
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || !bit(c, 27)) return {}; // bit 27: xgetbv may be asked
    const bool avx_fma_f16c = bit(c, 28) && bit(c, 12) && bit(c, 29);
    const std::uint64_t saved = saved_states();
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return {};
    features f;
    f.avx2 = avx_fma_f16c && bit(b, 5) && (saved & sse_avx) == sse_avx;
    f.avx512 = f.avx2 && bit(b, 16) && bit(b, 17) && bit(b, 28) && bit(b, 30) && bit(b, 31) &&
               (saved & all_avx512) == all_avx512;
    const bool amx_bf16 = bit(d, 22) && bit(d, 24);
    if (!f.avx512 || !amx_bf16 || (saved & tiles) != tiles) return f;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0) return f;
    f.amx = bit(a, 5) && tiles_are_granted();
    return f;
}
#else
features detect() { return {}; }
#endif

const features& machine() {
    static const features found = detect();
    return found;
}

#if defined(PANTILE_X86)
/// AVX-512's kernels, but for bf16 forward.
const kernels& amx_kernels() {
    static const kernels all = [] {
        kernels k = avx512_kernels;
        k.isa = isa::amx;
        k.name = "amx";
        k.forward_f32 = amx_forward_bf16;
        return k;
    }();
    return all;
}
#endif

/// The kernels of a set, or null where it is not available.
const kernels* kernels_if_available(isa wanted) {
    switch (wanted) {
    case isa::baseline:
        return &baseline_kernels;
#if defined(PANTILE_X86)
    case isa::avx2:
        return machine().avx2 ? &avx2_kernels : nullptr;
    case isa::avx512:
        return machine().avx512 ? &avx512_kernels : nullptr;
    case isa::amx:
        return machine().amx ? &amx_kernels() : nullptr;
#endif
    default:
        return nullptr;
    }
}

const char* name_of(isa set) {
    switch (set) {
    case isa::automatic:
        return "automatic";
    case isa::baseline:
        return "baseline";
    case isa::avx2:
        return "avx2";
    case isa::avx512:
        return "avx512";
    case isa::amx:
        return "amx";
    }
    return "unknown";
}

[[noreturn]] void refuse(const std::string& what) {
    throw invalid_argument("pantile: " + what + "; available on this machine: " + available_isas());
}

/// What PANTILE_ISA asks for; automatic if it is unset or empty.
isa from_environment() {
    const char* value = std::getenv("PANTILE_ISA");
    if (value == nullptr || *value == '\0') return isa::automatic;
    for (const isa set : {isa::baseline, isa::avx2, isa::avx512, isa::amx}) {
        if (std::string(value) == name_of(set)) return set;
    }
    refuse("PANTILE_ISA is '" + std::string(value) + "': it must be baseline, avx2, avx512 or amx");
}

const kernels& best() {
    for (const isa set : {isa::amx, isa::avx512, isa::avx2}) {
        if (const kernels* k = kernels_if_available(set)) return *k;
    }
    return baseline_kernels;
}

/// The kernels of `wanted`, or of what it leaves to PANTILE_ISA or to this machine.
const kernels& find_kernels(isa wanted) {
    if (wanted != isa::automatic) {
        if (const kernels* k = kernels_if_available(wanted)) return *k;
        refuse(std::string("options.isa is ") + name_of(wanted) + ", which is not available here");
    }
    static const isa forced = from_environment();
    if (forced == isa::automatic) {
        static const kernels& automatic = best();
        return automatic;
    }
    if (const kernels* k = kernels_if_available(forced)) return *k;
    refuse(std::string("PANTILE_ISA is ") + name_of(forced) + ", which is not available here");
}

} // namespace

const char* available_isas() {
    if (machine().amx) return "baseline, avx2, avx512, amx";
    if (machine().avx512) return "baseline, avx2, avx512";
    return machine().avx2 ? "baseline, avx2" : "baseline";
}

const kernels& choose_kernels(isa wanted, bool matrix_unit) {
    const kernels& found = find_kernels(wanted);
#if defined(PANTILE_X86)
    if (found.isa == isa::amx && !matrix_unit) return avx512_kernels;
#endif
    return found;
}

} // namespace pantile::cpu
