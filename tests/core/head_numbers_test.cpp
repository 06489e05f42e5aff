// What slopes, sinks and their gradients are made of: each kind of memory, and what a view of it knows.
#include <array>
#include <span>
#include <utility>
#include <vector>

#include <Eigen/Core>
#include <gtest/gtest.h>

#include <pantile/options.hpp>
#include <pantile/results.hpp>

namespace pantile::inline v0 {
namespace {

void expect_numbers(const head_numbers& n, const void* data, index_t element_bytes, index_t size,
                    memory where = memory::host) {
    EXPECT_TRUE(n.ref().given());
    EXPECT_EQ(n.ref().data(), data);
    EXPECT_EQ(n.ref().element_bytes(), element_bytes);
    EXPECT_EQ(n.ref().batch_stride, 0);
    EXPECT_EQ(n.size(), size);
    EXPECT_FALSE(n.empty());
    EXPECT_EQ(n.where(), where);
}

void expect_none(const head_numbers& n) {
    EXPECT_TRUE(n.empty());
    EXPECT_EQ(n.size(), 0);
    EXPECT_FALSE(n.ref().given());
}

TEST(head_numbers, of_host_memory) {
    std::vector<float> vector{1, 2, 3};
    const std::vector<float> constant = vector;
    const std::array<double, 2> array{4, 5};
    float plain[4] = {6, 7, 8, 9};
    const double of_const[] = {6};
    expect_numbers(vector, vector.data(), 4, 3);
    expect_numbers(constant, constant.data(), 4, 3);
    expect_numbers(array, array.data(), 8, 2);
    expect_numbers(plain, plain, 4, 4);
    expect_numbers(of_const, of_const, 8, 1);
    expect_numbers(std::span(vector), vector.data(), 4, 3);
    expect_numbers(std::span(array).last(1), &array[1], 8, 1);
    expect_numbers(std::span<const float, 2>(constant.data(), 2), constant.data(), 4, 2);
    expect_numbers({plain, 2}, plain, 4, 2);
    expect_numbers({of_const, 1}, of_const, 8, 1);
    const head_numbers view = vector;
    EXPECT_EQ(view.ref()(0, 2), 3.0);
    EXPECT_EQ(view.ref()(7, 0), 1.0); // as if all batches shared them
}

TEST(head_numbers, of_eigen_vectors) {
    const Eigen::VectorXf dynamic = Eigen::VectorXf::LinSpaced(5, 1.0F, 5.0F);
    Eigen::Vector3d fixed(1, 2, 3);
    Eigen::RowVector2f row(1, 2);
    expect_numbers(dynamic, dynamic.data(), 4, 5);
    expect_numbers(fixed, fixed.data(), 8, 3);
    expect_numbers(row, row.data(), 4, 2);
    expect_numbers(Eigen::Map<const Eigen::VectorXf>(dynamic.data(), 4), dynamic.data(), 4, 4);
}

TEST(head_numbers, of_device_memory) {
    std::vector<float> x(3);
    const double wide[2] = {};
    expect_numbers(on_device(std::span(x)), x.data(), 4, 3, memory::device);
    expect_numbers(on_device(std::span<const double>(wide)), wide, 8, 2, memory::device);
    expect_numbers(x.data(), x.data(), 4, head_numbers::one_a_head, memory::device);
    const double* const pointer = wide;
    expect_numbers(pointer, wide, 8, head_numbers::one_a_head, memory::device);
    expect_numbers({wide, 2, memory::device}, wide, 8, 2, memory::device);
}

/// A span of integers is one of lengths.
TEST(head_numbers, on_the_device_are_told_from_lengths) {
    std::vector<std::int64_t> wide(2);
    const std::vector<std::int32_t> narrow(3);
    const lengths_view of_wide = on_device(std::span(wide));
    const lengths_view of_narrow = on_device(std::span(narrow));
    EXPECT_EQ(of_wide.size(), 2);
    EXPECT_EQ(of_narrow.size(), 3);
    EXPECT_EQ(of_narrow.where(), memory::device);
    static_assert(std::is_same_v<decltype(on_device(std::span(wide))), lengths_view>);
    static_assert(
        std::is_same_v<decltype(on_device(std::span<const float, 3>(std::declval<const std::array<float, 3>&>()))),
                       head_numbers>);
}

TEST(head_numbers, that_are_none) {
    const float* const pointer = nullptr;
    expect_none({});
    expect_none(nullptr);
    expect_none(pointer);
    expect_none(std::vector<float>{});
    expect_none(std::span<const double>{});
    const head_numbers forgotten(pointer, 4); // a count without numbers, which the call refuses
    EXPECT_EQ(forgotten.size(), 4);
    EXPECT_FALSE(forgotten.ref().given());
    const options o;
    expect_none(o.slopes);
    expect_none(o.sinks);
    EXPECT_EQ(o.softcap, 0.0);
}

void expect_gradients(const head_gradients& g, const void* data, dtype type, index_t count,
                      memory where = memory::host) {
    EXPECT_TRUE(g.wanted);
    EXPECT_EQ(g.data, data);
    EXPECT_EQ(g.type, type);
    EXPECT_EQ(g.count, count);
    EXPECT_EQ(g.where, where);
}

TEST(head_gradients, of_whatever_can_be_written) {
    std::vector<float> vector(3);
    std::array<double, 2> array{};
    float plain[4] = {};
    Eigen::VectorXd eigen = Eigen::VectorXd::Zero(5);
    expect_gradients(vector, vector.data(), dtype::fp32, 3);
    expect_gradients(array, array.data(), dtype::fp64, 2);
    expect_gradients(plain, plain, dtype::fp32, 4);
    expect_gradients(eigen, eigen.data(), dtype::fp64, 5);
    expect_gradients(std::span(vector).first(2), vector.data(), dtype::fp32, 2);
    expect_gradients(std::span<double, 2>(array), array.data(), dtype::fp64, 2);
    expect_gradients(Eigen::Map<Eigen::VectorXd>(eigen.data(), 2), eigen.data(), dtype::fp64, 2);
    expect_gradients({plain, 3}, plain, dtype::fp32, 3);
    expect_gradients({array.data(), 2, memory::device}, array.data(), dtype::fp64, 2, memory::device);
    // Of nothing, which is wanted all the same: a call of no heads.
    std::vector<float> nothing;
    EXPECT_TRUE(head_gradients(nothing).wanted);
    EXPECT_FALSE(head_gradients{}.wanted);
    EXPECT_FALSE(gradients{}.dsinks.wanted);
}

/// A copy is a copy, whatever it is made from: none of the conversions takes it for something else.
TEST(head_gradients, are_copied) {
    std::array<double, 2> array{};
    head_gradients g = array;
    const head_gradients of_what_is_not_const = g;
    const head_gradients of_const = of_what_is_not_const; // NOLINT(performance-unnecessary-copy-initialization)
    const head_gradients moved = std::move(g);            // NOLINT(performance-move-const-arg)
    for (const head_gradients& copy : {of_what_is_not_const, of_const, moved}) {
        expect_gradients(copy, array.data(), dtype::fp64, 2);
    }
    const gradients by_name{.dslopes = of_const, .dsinks = array};
    expect_gradients(by_name.dslopes, array.data(), dtype::fp64, 2);
    expect_gradients(by_name.dsinks, array.data(), dtype::fp64, 2);
    gradients all;
    all.dsinks = of_const;
    const gradients copied = all;
    expect_gradients(copied.dsinks, array.data(), dtype::fp64, 2);
    EXPECT_FALSE(copied.dslopes.wanted);
}

} // namespace
} // namespace pantile::inline v0
