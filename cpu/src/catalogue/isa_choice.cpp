#include "isa_choice.hpp"

#include <string>

#include <pantile/error.hpp>

namespace pantile::inline v0::cpu {
namespace {

constexpr isa named_sets[] = {isa::baseline, isa::avx2, isa::avx512, isa::amx};

[[noreturn]] void refuse(const std::string& what, const features& offered) {
    throw invalid_argument("pantile: " + what + "; available on this machine: " + names_of(offered));
}

bool has(const features& offered, isa set) {
    switch (set) {
    case isa::baseline:
        return true;
    case isa::avx2:
        return offered.avx2;
    case isa::avx512:
        return offered.avx512;
    case isa::amx:
        return offered.amx;
    default:
        return false;
    }
}

bool is_known(isa set) {
    for (const isa known : named_sets) {
        if (set == known) return true;
    }
    return set == isa::automatic;
}

} // namespace

features features_of(const processor_words& w) {
    constexpr std::uint64_t sse_avx = 0x6;     // XMM, YMM
    constexpr std::uint64_t all_avx512 = 0xe6; // and the masks, the upper halves, the upper registers
    constexpr std::uint64_t tiles = 0x60000;   // configuration and data
    const auto bit = [](std::uint32_t word, int i) { return (word >> i & 1U) != 0; };
    const bool avx_fma_f16c = bit(w.leaf1_c, 28) && bit(w.leaf1_c, 12) && bit(w.leaf1_c, 29);
    features f;
    f.avx2 = avx_fma_f16c && bit(w.leaf7_b, 5) && (w.saved & sse_avx) == sse_avx;
    f.avx512 = f.avx2 && bit(w.leaf7_b, 16) && bit(w.leaf7_b, 17) && bit(w.leaf7_b, 28) && bit(w.leaf7_b, 30) &&
               bit(w.leaf7_b, 31) && (w.saved & all_avx512) == all_avx512;
    const bool amx_bf16 = bit(w.leaf7_d, 22) && bit(w.leaf7_d, 24);
    f.amx = f.avx512 && amx_bf16 && bit(w.leaf7_1_a, 5) && (w.saved & tiles) == tiles;
    return f;
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

const char* names_of(const features& offered) {
    if (offered.amx) return "baseline, avx2, avx512, amx";
    if (offered.avx512) return "baseline, avx2, avx512";
    return offered.avx2 ? "baseline, avx2" : "baseline";
}

isa parse_isa(const char* value, const features& offered) {
    if (value == nullptr || *value == '\0') return isa::automatic;
    std::string lower;
    for (const char* c = value; *c != '\0'; ++c) {
        lower += *c >= 'A' && *c <= 'Z' ? static_cast<char>(*c - 'A' + 'a') : *c; // whatever the locale
    }
    for (const isa set : named_sets) {
        if (lower == name_of(set)) return set;
    }
    if (lower == name_of(isa::automatic)) return isa::automatic;
    refuse("PANTILE_ISA is '" + std::string(value) + "': it must be baseline, avx2, avx512 or amx", offered);
}

isa_choice choose_isa(const features& offered, isa wanted, isa forced, bool matrix_unit, tile_permission ask) {
    if (!is_known(wanted)) {
        refuse("options.isa is " + std::to_string(static_cast<int>(wanted)) +
                   ": it must be isa::automatic, isa::baseline, isa::avx2, isa::avx512 or isa::amx",
               offered);
    }
    const isa named = wanted != isa::automatic ? wanted : forced;
    const auto naming = [&] {
        return std::string(wanted != isa::automatic ? "options.isa" : "PANTILE_ISA") + " is " + name_of(named);
    };
    if (named != isa::automatic && !has(offered, named)) refuse(naming() + ", which is not available here", offered);
    if (named != isa::automatic && named != isa::amx) return {named};
    if (offered.amx) {
        if (!matrix_unit) return {isa::avx512};
        const char* refusal = ask();
        if (refusal == nullptr) return {isa::amx};
        if (named == isa::amx) refuse(naming() + ", which this process may not use: " + refusal, offered);
        return {isa::avx512, refusal};
    }
    return {offered.avx512 ? isa::avx512 : offered.avx2 ? isa::avx2 : isa::baseline};
}

} // namespace pantile::inline v0::cpu
