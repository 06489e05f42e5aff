// No object file of the ISA folder can hand its instructions to another processor at link time.
#include "symbols.hpp"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pantile::boundaries {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> lines_of(const char* file) {
    std::ifstream stream(file);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) {
        if (!line.empty()) lines.push_back(line);
    }
    return lines;
}

TEST(weak_symbols, the_rule_finds_an_untagged_inline_function) {
    const auto objects = lines_of(PANTILE_SAMPLE_OBJECTS);
    ASSERT_EQ(objects.size(), 1U);
    EXPECT_THAT(untagged_weak(symbols_of(PANTILE_NM, objects[0]), "avx2"), ElementsAre(HasSubstr("untagged_sample")));
}

/// Weak functions (W), weak objects (V) and unique ones (u) alike; what is strong or local, or carries the tag, may stay.
TEST(weak_symbols, the_rule_by_hand) {
    const std::vector<symbol> symbols = {{'W', "_Zfoo"},        {'V', "_Zbar"},       {'u', "_Zbaz"},
                                         {'T', "_Zstrong"},     {'W', "_Zfoo_avx2_"}, {'t', "_Zlow"},
                                         {'V', "DW.ref.__gxx"}, {'w', "_Zneeded"}};
    EXPECT_THAT(untagged_weak(symbols, "avx2"), ElementsAre("_Zfoo", "_Zbar", "_Zbaz"));
    EXPECT_THAT(untagged_weak(symbols, "avx512"), ElementsAre("_Zfoo", "_Zbar", "_Zbaz", "_Zfoo_avx2_"));
    EXPECT_THAT(untagged_weak(symbols, ""), IsEmpty()); // the baseline runs everywhere
    EXPECT_THROW((void)symbols_of(PANTILE_NM, "/nonexistent.o"), std::runtime_error);
}

TEST(weak_symbols, the_tag_comes_from_the_file_name) {
    EXPECT_EQ(isa_tag("cpu/src/isa/avx512_fp32.cpp.o"), "avx512");
    EXPECT_EQ(isa_tag("build/avx512/isa/avx2.cpp.o"), "avx2");
    EXPECT_EQ(isa_tag("isa/baseline.cpp.o"), "");
    EXPECT_THROW((void)isa_tag("isa/other.cpp.o"), std::runtime_error);
}

TEST(weak_symbols, isa_files_emit_none_without_their_tag) {
    const auto objects = lines_of(PANTILE_ISA_OBJECTS);
    EXPECT_GE(objects.size(), 3U);
    for (const std::string& object : objects) {
        EXPECT_THAT(untagged_weak(symbols_of(PANTILE_NM, object), isa_tag(object)), IsEmpty()) << object;
    }
}

} // namespace
} // namespace pantile::boundaries
