// Pages of the plain machine, by hand.
#include <gtest/gtest.h>

#include <support/plain_locator.hpp>

namespace pantile::test {
namespace {

TEST(locator, finds_keys_in_pages) {
    const index_t table[] = {4, 0, 7, 2};
    const paged_keys pages{table, 2, 10};
    EXPECT_EQ(pages.run_length(), 10);
    EXPECT_EQ(pages.row(0, 3), 43);
    EXPECT_EQ(pages.row(0, 10), 0);
    EXPECT_EQ(pages.row(1, 19), 29);
    EXPECT_EQ(contiguous_keys{}.run_length(), 0);
    EXPECT_EQ(contiguous_keys{}.row(5, 19), 19);
}

} // namespace
} // namespace pantile::test
