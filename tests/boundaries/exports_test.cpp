// The rule about exported symbols, on made-up headers and on a library that breaks it. tests/install holds the real ones to it.
#include "exports.hpp"
#include "symbols.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pantile::boundaries {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const char* const sample_header = R"(
#pragma once
#define PANTILE_API no_name(x) {
// PANTILE_API void commented();
namespace pantile::inline v0 {
struct plain { int x = 0; };
PANTILE_API int shown(int x);
class PANTILE_API shown_class : public plain {
  public:
    virtual ~shown_class() {}
};
namespace erased {
[[nodiscard]] PANTILE_API const std::vector<int>&
inner(const plain& x = {});
} // namespace erased
PANTILE_API std::ostream& operator<<(std::ostream& os, const plain& x);
} // namespace pantile::inline v0
namespace pantile::inline v0::simulator {
PANTILE_API void other();
}
)";

public_names sample_names() {
    public_names names;
    add_public_names(sample_header, names);
    return names;
}

TEST(exports, names_are_read_from_headers) {
    EXPECT_THAT(sample_names().functions, ElementsAre("pantile::erased::inner", "pantile::operator<<", "pantile::shown",
                                                      "pantile::simulator::other"));
    EXPECT_THAT(sample_names().classes, ElementsAre("pantile::shown_class"));
}

TEST(exports, the_rule_by_hand) {
    EXPECT_THAT(export_faults({"_ZN7pantile2v05shownEi", "_ZN7pantile2v05shownB5cxx11Ei",
                               "_ZN7pantile2v06erased5innerERKNS0_5plainE", "_ZN7pantile2v0lsERSoRKNS0_5plainE",
                               "_ZN7pantile2v011shown_classC1Ev", "_ZNK7pantile2v011shown_class4whatEv",
                               "_ZTVN7pantile2v011shown_classE", "_ZTIN7pantile2v011shown_classE",
                               "_ZTSN7pantile2v011shown_classE", "pantile_attention"},
                              sample_names()),
                IsEmpty());
    const char* const faulty[] = {"_ZN7pantile2v04core5shownEi",               // another namespace
                                  "_ZN7pantile2v06shown2Ei",                   // another name
                                  "_ZN7pantile2v012shown_class21fEv",          // another class
                                  "_ZTIN7pantile2v05plainE",                   // a class that is not marked
                                  "_ZNSt6vectorIiSaIiEE17_M_realloc_insertEv", // the standard library's
                                  "_ZN5xsimd5loadEv",
                                  "GOMP_parallel",
                                  "main"};
    for (const char* symbol : faulty) {
        EXPECT_EQ(export_faults({symbol}, sample_names()).size(), 1U) << symbol;
    }
}

TEST(exports, what_is_marked_must_be_there) {
    EXPECT_THAT(missing_exports(
                    {"_ZN7pantile2v05shownEi", "_ZN7pantile2v0lsERSoRKNS0_5plainE", "_ZN7pantile2v09simulator5otherEv"},
                    sample_names()),
                ElementsAre("pantile::erased::inner"));
}

TEST(exports, a_library_that_shows_too_much_is_named) {
    std::vector<std::string> symbols;
    for (const symbol& s : exported_symbols(PANTILE_NM, PANTILE_SAMPLE_LIBRARY)) symbols.push_back(s.name);
    EXPECT_THAT(export_faults(symbols, sample_names()),
                ElementsAre(HasSubstr("pantile::v0::planted(int) is exported")));
}

} // namespace
} // namespace pantile::boundaries
