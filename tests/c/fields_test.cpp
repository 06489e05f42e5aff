// As many fields in C++ as C maps. A new one in C++ also stops c_translation.cpp or c_interface.cpp from compiling; this test says
// where the C struct is, and that these sources still take whole aggregates apart.
#include <gtest/gtest.h>

#include "c_tensor.hpp"
#include "fields.hpp"

namespace pantile::test {

// Not in the namespace below: a compiler would miss the definitions, which nothing needs.

/// Becomes whatever a field wants; but not what is made of it anyway: views of numbers (of whatever they are given, which they
/// refuse by a sentence once they are made), and an optional number.
struct any_option {
    template <class T>
        requires(!std::is_same_v<T, std::optional<double>> && !std::is_same_v<T, head_numbers> &&
                 !std::is_same_v<T, lengths_view>)
    operator T() const; // NOLINT(google-explicit-constructor)
};
/// The same, but a tensor: what is none, a result refuses.
struct any_tensor : tensor_ref {
    template <class T>
        requires(!std::is_same_v<T, head_gradients>)
    operator T() const; // NOLINT(google-explicit-constructor)
};

namespace {

struct three {
    int a;
    double b;
    std::string c;
};
static_assert(fields<three>() == 3, "the counter counts");

TEST(c_fields, as_many_in_cpp_as_c_maps) {
    EXPECT_EQ((fields<options, any_option>()), 13U) << "pantile_options, to_options";
    EXPECT_EQ(fields<mask>(), 4U) << "pantile_mask, to_mask";
    EXPECT_EQ(fields<tile_plan>(), 3U) << "pantile_tile_plan";
    EXPECT_EQ((fields<results, any_tensor>()), 2U) << "pantile_results, to_results";
    EXPECT_EQ((fields<gradients, any_tensor>()), 5U) << "pantile_gradients, to_gradients";
    EXPECT_EQ(fields<loss_gradients>(), 1U) << "pantile_loss_gradients, to_loss_gradients";
    EXPECT_EQ(fields<explanation>(), 11U) << "pantile_explanation, to_c";
    EXPECT_EQ(fields<core::transfers>(), 2U) << "pantile_transfers, to_c";
    EXPECT_EQ(fields<core::traffic>(), 14U) << "pantile_traffic, to_c";
}

/// Every field of C has a place of its own: a struct has no padding that could hide one, and none was added without this test.
TEST(c_fields, the_structs_have_no_padding) {
    EXPECT_EQ(sizeof(pantile_tensor), sizeof(void*) + 4 * 4 + 8 * 8);
    EXPECT_EQ(sizeof(pantile_options), 8 + 4 * 8 + 8 + 2 * 4 + (8 + 8 + 2 * 4) + 2 * 4 + 3 * 8 + 2 * 4 + 8 + 8 + 8 + 8 +
                                           2 * sizeof(pantile_head_numbers));
    EXPECT_EQ(sizeof(pantile_head_numbers), 8 + 8 + 2 * 4U);
    EXPECT_EQ(sizeof(pantile_head_gradients), 8 + 8 + 2 * 4U);
    EXPECT_EQ(sizeof(pantile_results), 8 + 2 * sizeof(pantile_tensor));
    EXPECT_EQ(sizeof(pantile_loss_gradients), 8 + sizeof(pantile_tensor));
    EXPECT_EQ(sizeof(pantile_gradients), 8 + 3 * sizeof(pantile_tensor) + 2 * sizeof(pantile_head_gradients));
    EXPECT_EQ(sizeof(pantile_partial), 8 + 3 * sizeof(pantile_tensor));
    EXPECT_EQ(sizeof(pantile_explanation), 8 + 16 + 16 + 32 + 3 * 8 + 2 * 4 + 8 + 14 * 16 + 8 + 8 + 8 + 256U);
}

} // namespace
} // namespace pantile::test
