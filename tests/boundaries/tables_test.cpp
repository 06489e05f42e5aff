// Tables of the documentation render: first on made-up texts, then on every page.
#include "tables.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pantile::boundaries {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

TEST(tables, well_formed_ones_pass) {
    EXPECT_THAT(table_faults("text\n\n| a | b |\n| --- | -: |\n| 1 | 2 |\n| 3 | 4\n\nmore | text\n"), IsEmpty());
    EXPECT_THAT(table_faults("| | a |\n| - | - |\n| `x \\| y` | |\n"), IsEmpty());
    EXPECT_THAT(table_faults("```\n| no table\n```\n"), IsEmpty());
}

TEST(tables, rows_without_a_header_render_as_raw_pipes) {
    EXPECT_THAT(table_faults("| a | b |\n| - | - |\n| 1 | 2 |\n\n| 3 | 4 |\n| 5 | 6 |\n"),
                ElementsAre(HasSubstr("line 5: no table")));
    EXPECT_THAT(table_faults("| a | b |\n"), ElementsAre(HasSubstr("line 1: no table")));
    EXPECT_THAT(table_faults("| a | b |\ntext\n"), ElementsAre(HasSubstr("line 1: no table")));
}

TEST(tables, every_row_has_as_many_cells_as_the_header) {
    EXPECT_THAT(table_faults("| a | b |\n| - | - |\n| 1 |\n| `x | y` | 2 |\n"),
                ElementsAre("line 3: 1 cells under a header of 2", "line 4: 3 cells under a header of 2"));
    EXPECT_THAT(table_faults("| a | b |\n| - |\n"), ElementsAre(HasSubstr("line 2: 1 cells")));
}

TEST(tables, every_page_is_well_formed) {
    const fs::path root = PANTILE_SOURCE_DIR;
    std::vector<fs::path> pages;
    for (const char* place : {"", "bench", "examples"}) {
        for (const auto& entry : fs::directory_iterator(root / place)) pages.push_back(entry.path());
    }
    for (const char* place : {"docs", "core", "cpu", "cuda", "simulator", "tests"}) {
        for (const auto& entry : fs::recursive_directory_iterator(root / place)) pages.push_back(entry.path());
    }
    std::size_t count = 0;
    for (const fs::path& page : pages) {
        if (page.extension() != ".md") continue;
        ++count;
        std::stringstream text;
        text << std::ifstream(page).rdbuf();
        EXPECT_THAT(table_faults(text.str()), IsEmpty()) << page;
    }
    EXPECT_GT(count, 8U);
}

} // namespace
} // namespace pantile::boundaries
