// The rule by which a call gets its instruction set, for every processor, permission and wish; and what nobody asks for.
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>

#include <gmock/gmock.h>

#include <pantile/error.hpp>

#include "catalogue/isa_choice.hpp"

namespace pantile::inline v0::cpu {
namespace {

using testing::HasSubstr;

constexpr isa named_sets[] = {isa::baseline, isa::avx2, isa::avx512, isa::amx};
constexpr features processors[] = {
    {false, false, false}, {true, false, false}, {true, true, false}, {true, true, true}};

int asked = 0;
const char* grant() {
    ++asked;
    return nullptr;
}
const char* refuse() {
    ++asked;
    return "the reason";
}

isa best_without_amx(const features& f) { return f.avx512 ? isa::avx512 : f.avx2 ? isa::avx2 : isa::baseline; }
bool has(const features& f, isa s) {
    return s == isa::baseline || (s == isa::avx2 && f.avx2) || (s == isa::avx512 && f.avx512) ||
           (s == isa::amx && f.amx);
}

std::string refusal(const features& f, isa wanted, isa forced, bool matrix_unit, tile_permission ask) {
    try {
        (void)choose_isa(f, wanted, forced, matrix_unit, ask);
    } catch (const invalid_argument& e) {
        return e.what();
    }
    return "";
}

/// Permission is asked for by calls that AMX would serve, and by no others.
TEST(isa_choice, asks_for_tiles_only_where_a_call_wants_them) {
    for (const features& f : processors) {
        for (const isa wanted : {isa::automatic, isa::baseline, isa::avx2, isa::avx512, isa::amx}) {
            for (const bool matrix_unit : {false, true}) {
                if (wanted != isa::automatic && !has(f, wanted)) continue;
                asked = 0;
                const isa_choice got = choose_isa(f, wanted, isa::automatic, matrix_unit, grant);
                const bool amx = f.amx && matrix_unit && (wanted == isa::automatic || wanted == isa::amx);
                EXPECT_EQ(asked, amx ? 1 : 0);
                EXPECT_EQ(got.no_amx, nullptr);
                if (amx) {
                    EXPECT_EQ(got.set, isa::amx);
                } else if (wanted == isa::automatic) {
                    EXPECT_EQ(got.set, best_without_amx(f));
                } else {
                    EXPECT_EQ(got.set, wanted == isa::amx ? isa::avx512 : wanted);
                }
            }
        }
    }
}

TEST(isa_choice, the_environment_counts_where_a_call_leaves_the_choice_open) {
    for (const features& f : processors) {
        for (const isa forced : named_sets) {
            if (!has(f, forced)) {
                EXPECT_THAT(refusal(f, isa::automatic, forced, true, grant),
                            HasSubstr(std::string("PANTILE_ISA is ") + name_of(forced) +
                                      ", which is not available here; available on this machine: " + names_of(f)));
                continue;
            }
            EXPECT_EQ(choose_isa(f, isa::automatic, forced, true, grant).set, forced);
            EXPECT_EQ(choose_isa(f, isa::baseline, forced, true, grant).set, isa::baseline);
        }
    }
}

TEST(isa_choice, says_why_tiles_are_not_used) {
    const features f = processors[3];
    const isa_choice open = choose_isa(f, isa::automatic, isa::automatic, true, refuse);
    EXPECT_EQ(open.set, isa::avx512);
    EXPECT_STREQ(open.no_amx, "the reason");
    EXPECT_EQ(refusal(f, isa::amx, isa::automatic, true, refuse),
              "pantile: options.isa is amx, which this process may not use: the reason; available on this machine: "
              "baseline, avx2, avx512, amx");
    EXPECT_THAT(refusal(f, isa::automatic, isa::amx, true, refuse),
                HasSubstr("PANTILE_ISA is amx, which this process may not use: the reason"));
    // Calls that AMX does not serve want none.
    asked = 0;
    EXPECT_EQ(choose_isa(f, isa::amx, isa::automatic, false, refuse).set, isa::avx512);
    EXPECT_EQ(choose_isa(f, isa::automatic, isa::amx, false, refuse).set, isa::avx512);
    EXPECT_EQ(asked, 0);
}

TEST(isa_choice, refuses_what_no_processor_has) {
    for (const features& f : processors) {
        EXPECT_EQ(refusal(f, static_cast<isa>(42), isa::automatic, false, grant),
                  std::string("pantile: options.isa is 42: it must be isa::automatic, isa::baseline, isa::avx2, "
                              "isa::avx512 or isa::amx; available on this machine: ") +
                      names_of(f));
    }
}

TEST(isa_choice, names_come_in_upper_or_lower_case) {
    const features f = processors[1];
    for (const isa set : named_sets) {
        std::string name = name_of(set);
        EXPECT_EQ(parse_isa(name.c_str(), f), set);
        for (char& c : name) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        EXPECT_EQ(parse_isa(name.c_str(), f), set);
        name[0] = static_cast<char>(name[0] - 'A' + 'a');
        EXPECT_EQ(parse_isa(name.c_str(), f), set);
    }
    EXPECT_EQ(parse_isa(nullptr, f), isa::automatic);
    EXPECT_EQ(parse_isa("", f), isa::automatic);
    EXPECT_EQ(parse_isa("Automatic", f), isa::automatic);
    for (const char* unknown : {"avx", "avx5122", " avx2", "sse2"}) {
        EXPECT_THROW((void)parse_isa(unknown, f), invalid_argument) << unknown;
    }
}

/// A processor with all that the sets need, and no more; bits by their numbers in Intel's manual.
processor_words all_of_amx() {
    const auto bits = [](std::initializer_list<int> numbers) {
        std::uint32_t word = 0;
        for (const int n : numbers) word |= 1U << n;
        return word;
    };
    processor_words w;
    w.leaf1_c = bits({12, 28, 29});            // FMA, AVX, F16C
    w.leaf7_b = bits({5, 16, 17, 28, 30, 31}); // AVX2; AVX-512 F, DQ, CD, BW, VL
    w.leaf7_d = bits({22, 24});                // AMX-BF16, AMX-TILE
    w.leaf7_1_a = bits({5});                   // AVX512-BF16
    w.saved = 0x600e6; // XMM, YMM; masks, upper halves, upper registers; tile configuration and data
    return w;
}

/// Each set needs each of its bits, and nothing else takes it away.
TEST(isa_choice, every_bit_of_the_processor_counts) {
    const processor_words all = all_of_amx();
    const auto offers = [](const processor_words& w) { return std::string(names_of(features_of(w))); };
    EXPECT_EQ(offers(all), "baseline, avx2, avx512, amx");
    EXPECT_EQ(offers({}), "baseline");
    const auto without = [&](auto word, int bit) {
        processor_words w = all;
        w.*word = static_cast<std::remove_reference_t<decltype(w.*word)>>(w.*word & ~(std::uint64_t{1} << bit));
        return offers(w);
    };
    for (const int bit : {12, 28, 29}) EXPECT_EQ(without(&processor_words::leaf1_c, bit), "baseline") << bit;
    EXPECT_EQ(without(&processor_words::leaf7_b, 5), "baseline");
    for (const int bit : {1, 2}) EXPECT_EQ(without(&processor_words::saved, bit), "baseline") << bit;
    for (const int bit : {16, 17, 28, 30, 31}) {
        EXPECT_EQ(without(&processor_words::leaf7_b, bit), "baseline, avx2") << bit;
    }
    for (const int bit : {5, 6, 7}) EXPECT_EQ(without(&processor_words::saved, bit), "baseline, avx2") << bit;
    for (const int bit : {22, 24}) {
        EXPECT_EQ(without(&processor_words::leaf7_d, bit), "baseline, avx2, avx512") << bit;
    }
    EXPECT_EQ(without(&processor_words::leaf7_1_a, 5), "baseline, avx2, avx512");
    for (const int bit : {17, 18}) EXPECT_EQ(without(&processor_words::saved, bit), "baseline, avx2, avx512") << bit;
}

} // namespace
} // namespace pantile::inline v0::cpu
