#include "dispatch.hpp"

#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "isa_choice.hpp"

#if defined(PANTILE_X86)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace pantile::inline v0::cpu {
namespace {

#if defined(PANTILE_X86)
std::uint64_t saved_states() {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (std::uint64_t{high} << 32) | low;
}

/// Linux saves the 8 KiB of tile registers only for processes that have asked for them (Documentation/arch/x86/xstate.rst),
/// and from then on wants alternate signal stacks to have room for them. Null if it grants them, else why not.
const char* ask_for_tiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
    constexpr long request_permission = 0x1023; // ARCH_REQ_XCOMP_PERM
    constexpr long tile_data = 18;              // XFEATURE_XTILEDATA
    if (syscall(SYS_arch_prctl, request_permission, tile_data) == 0) return nullptr;
    if (errno == ENOSPC) return "an alternate signal stack (sigaltstack) is too small for its tile registers";
#endif
    return "the operating system refuses its tile registers";
}

features detect() {
    constexpr std::uint32_t may_ask_for_saved_states = 1U << 27;
    processor_words w;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & may_ask_for_saved_states) == 0) return {};
    w.leaf1_c = c;
    w.saved = saved_states();
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return {};
    w.leaf7_b = b;
    w.leaf7_d = d;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) w.leaf7_1_a = a;
    return features_of(w);
}
#else
const char* ask_for_tiles() { return ""; }

features detect() { return {}; }
#endif

const features& machine() {
    static const features found = detect();
    return found;
}

/// Asked once, at the first call that wants to know: the same call must give the same bits later.
const char* tiles() {
    static const char* const refusal = ask_for_tiles();
    return refusal;
}

isa_choice choose(isa wanted, bool matrix_unit) {
    isa forced = isa::automatic;
    if (wanted == isa::automatic) {
        static const isa named = parse_isa(std::getenv("PANTILE_ISA"), machine());
        forced = named;
    }
    return choose_isa(machine(), wanted, forced, matrix_unit, tiles);
}

#if defined(PANTILE_X86)
/// AVX-512's kernels, and the matrix unit's.
const kernels& amx_kernels() {
    static const kernels all = [] {
        kernels k = avx512_kernels;
        k.isa = isa::amx;
        k.name = "amx";
        k.matrix_bf16 = &amx_forward_bf16;
        return k;
    }();
    return all;
}
#endif

const kernels& kernels_of(isa set) {
    switch (set) {
#if defined(PANTILE_X86)
    case isa::avx2:
        return avx2_kernels;
    case isa::avx512:
        return avx512_kernels;
    case isa::amx:
        return amx_kernels();
#endif
    default:
        return baseline_kernels;
    }
}

} // namespace

const char* available_isas() { return names_of(machine()); }

const kernels& choose_kernels(isa wanted, bool matrix_unit) {
    if (wanted == isa::automatic && !matrix_unit) { // nearly all calls
        static const kernels& usual = kernels_of(choose(wanted, matrix_unit).set);
        return usual;
    }
    return kernels_of(choose(wanted, matrix_unit).set);
}

const char* why_not_amx(isa wanted, bool matrix_unit) { return choose(wanted, matrix_unit).no_amx; }

} // namespace pantile::inline v0::cpu
