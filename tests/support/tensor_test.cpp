// Tensors in every layout: their strides by hand, and that a write outside their elements is seen.
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include <support/tensor.hpp>

namespace pantile::test {
namespace {

const extents shape{2, 3, 4, 5};

TEST(tensors, lie_in_c_order) {
    tensor<double> t(shape);
    ASSERT_EQ(t.data.size(), 120U);
    EXPECT_EQ(t.place(1, 2, 3, 4), 119);
    EXPECT_EQ(t.place(1, 0, 0, 0), 60);
    EXPECT_EQ(t.place(0, 1, 0, 0), 20);
    EXPECT_EQ(t.place(0, 0, 1, 0), 5);
    EXPECT_EQ(t.row(1, 2, 3) - t.data.data(), 115);
    index_t next = 0;
    t.for_each([&](index_t b, index_t h, index_t i, index_t x) { EXPECT_EQ(t.place(b, h, i, x), next++); });
    EXPECT_EQ(next, 120);
}

TEST(tensors, axes_of_one_broadcast) {
    for (std::size_t axis = 0; axis < 4; ++axis) {
        extents e{1, 1, 1, 1};
        e[axis] = 3;
        tensor<double> t(e);
        t.data = {7.0, 8.0, 9.0};
        for (index_t n = 0; n < 3; ++n) {
            EXPECT_EQ(t.at(axis == 0 ? n : 2, axis == 1 ? n : 2, axis == 2 ? n : 2, axis == 3 ? n : 2),
                      7.0 + static_cast<double>(n));
        }
    }
}

TEST(tensors, are_converted_with_one_rounding) {
    tensor<double> t({1, 1, 1, 2});
    t.data = {1.0 + 0x1.8p-10, -65504.0};
    EXPECT_EQ(converted<float16>(t).data[0].bits, 0x3c02);
    EXPECT_EQ(converted<double>(converted<float16>(t)).data, (std::vector<double>{1.0 + 0x1p-9, -65504.0}));
    EXPECT_EQ(converted<bfloat16>(t).data[0].bits, 0x3f80);
    EXPECT_EQ(converted<float>(t).data[0], 1.0F + 0x1.8p-10F);
}

TEST(stored_tensors, strides_by_hand) {
    const auto strides = [](layout l) { return stored<float>(shape, l).view().stride; };
    EXPECT_EQ(strides(layout::bhsd), (extents{60, 20, 5, 1}));
    EXPECT_EQ(strides(layout::bshd), (extents{60, 5, 15, 1}));
    EXPECT_EQ(strides(layout::padded), (extents{152, 47, 10, 1}));
    EXPECT_EQ(strides(layout::reversed), (extents{60, 20, -5, 1}));
    EXPECT_EQ(strides(layout::strided_dim), (extents{180, 60, 15, 3}));
    EXPECT_EQ(strides(layout::transposed), (extents{60, 20, 1, 4}));
    EXPECT_EQ(strides(layout::reversed_dim), (extents{60, 20, 5, -1}));
    EXPECT_EQ(strides(layout::broadcast_batch), (extents{0, 20, 5, 1}));
    EXPECT_EQ(strides(layout::broadcast_heads), (extents{60, 0, 5, 1}));
    EXPECT_EQ(strides(layout::broadcast_length), (extents{60, 20, 0, 1}));
    EXPECT_EQ(std::size(output_layouts), 7U);
    EXPECT_EQ(std::size(input_layouts), 10U);
    const stored<float> t(shape, layout::padded);
    EXPECT_EQ(t.view().extent, shape);
    EXPECT_EQ(t.rows().extent, (std::array<index_t, 3>{2, 3, 4}));
    EXPECT_EQ(t.rows().stride, (std::array<index_t, 3>{152, 47, 10}));
}

/// Numbers to find again: each names its place.
tensor<double> numbered() {
    tensor<double> t(shape);
    for (std::size_t n = 0; n < t.data.size(); ++n) t.data[n] = static_cast<double>(n + 1);
    return t;
}

template <class T>
class stored_types : public testing::Test {};
using every_type = testing::Types<float, double, float16, bfloat16>;
TYPED_TEST_SUITE(stored_types, every_type);

TYPED_TEST(stored_types, hold_what_was_put_in) {
    const tensor<double> from = numbered(); // up to 120: exact in every type
    for (const layout l : output_layouts) {
        EXPECT_EQ(stored<TypeParam>(from, l).values().data, from.data) << name(l);
        EXPECT_TRUE(stored<TypeParam>(from, l).gaps_are_untouched()) << name(l);
    }
    // Where a layout broadcasts, the last index stays.
    EXPECT_EQ(stored<TypeParam>(from, layout::broadcast_batch).values()(0, 1, 2, 3), from(1, 1, 2, 3));
    EXPECT_EQ(stored<TypeParam>(from, layout::broadcast_heads).values()(1, 0, 2, 3), from(1, 2, 2, 3));
    EXPECT_EQ(stored<TypeParam>(from, layout::broadcast_length).values()(1, 1, 0, 3), from(1, 1, 3, 3));
}

/// Nobody has written: each element is a NaN that no computation makes.
TYPED_TEST(stored_types, are_poisoned_until_written) {
    const stored<TypeParam> t(shape, layout::bhsd);
    for (const double x : t.values().data) EXPECT_TRUE(std::isnan(x));
    const tensor<double> ordinary({1, 1, 1, 1}, std::nan(""));
    const stored<TypeParam> other(ordinary, layout::bhsd);
    EXPECT_NE(std::memcmp(static_cast<const void*>(other.view().data), static_cast<const void*>(t.view().data),
                          sizeof(TypeParam)),
              0);
}

/// A write to any number of the memory that is no element: before, behind, between.
TYPED_TEST(stored_types, see_a_write_to_a_gap) {
    for (const layout l : {layout::bhsd, layout::padded, layout::strided_dim, layout::reversed, layout::reversed_dim}) {
        stored<TypeParam> t(numbered(), l);
        const tensor_view<TypeParam> v = t.view();
        std::vector<bool> element(t.memory().size(), false);
        tensor<char> walk(shape);
        const TypeParam* const begin = t.memory().data();
        walk.for_each([&](index_t b, index_t h, index_t i, index_t x) {
            element[static_cast<std::size_t>(&v(b, h, i, x) - begin)] = true;
        });
        EXPECT_FALSE(element.front()); // there is memory on both sides
        EXPECT_FALSE(element.back());
        for (std::size_t n = 0; n < element.size(); ++n) {
            TypeParam& place = v.data[begin + n - v.data];
            const TypeParam kept = place;
            place = TypeParam(1.0F);
            EXPECT_EQ(t.gaps_are_untouched(), element[n]) << name(l) << ' ' << n;
            place = kept;
        }
        EXPECT_TRUE(t.gaps_are_untouched());
    }
}

TEST(stored_tensors, layouts_have_names_of_their_own) {
    std::vector<std::string> names;
    for (const layout l : input_layouts) {
        for (const std::string& other : names) EXPECT_NE(other, name(l));
        names.emplace_back(name(l));
        EXPECT_NE(names.back(), "?");
    }
}

} // namespace
} // namespace pantile::test
