// What users write: layouts of views, masks, and where an Eigen matrix lies. And that a call's arguments all count.
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include <pantile/eigen.hpp>

namespace pantile::inline v0 {
namespace {

TEST(views, layouts_by_hand) {
    int numbers[1] = {};
    const tensor_view<int> token = bshd(numbers, 2, 3, 4, 5); // batch, length, heads, dim
    EXPECT_EQ(token.data, numbers);
    EXPECT_EQ(token.extent, (std::array<index_t, 4>{2, 4, 3, 5}));
    EXPECT_EQ(token.stride, (std::array<index_t, 4>{60, 5, 20, 1}));
    const tensor_view<int> head = bhsd(numbers, 2, 4, 3, 5); // batch, heads, length, dim
    EXPECT_EQ(head.extent, (std::array<index_t, 4>{2, 4, 3, 5}));
    EXPECT_EQ(head.stride, (std::array<index_t, 4>{60, 15, 5, 1}));
    const row_view<int> rows = bhs(numbers, 2, 4, 3);
    EXPECT_EQ(rows.extent, (std::array<index_t, 3>{2, 4, 3}));
    EXPECT_EQ(rows.stride, (std::array<index_t, 3>{12, 3, 1}));
    const tensor_view<int> any = strided(numbers, {2, 4, 3, 5}, {7, -8, 0, 9});
    EXPECT_EQ(any.stride, (std::array<index_t, 4>{7, -8, 0, 9}));
    EXPECT_EQ(any.batch(), 2);
    EXPECT_EQ(any.heads(), 4);
    EXPECT_EQ(any.length(), 3);
    EXPECT_EQ(any.dim(), 5);
}

TEST(views, elements_are_where_the_strides_say) {
    std::vector<int> numbers(10000);
    for (std::size_t n = 0; n < numbers.size(); ++n) numbers[n] = static_cast<int>(n);
    const tensor_view<int> t = strided(numbers.data() + 50, {2, 4, 3, 5}, {1000, 100, -10, 3});
    EXPECT_EQ(t(1, 2, 3, 4), 50 + 1000 + 200 - 30 + 12);
    const tensor_view<const int> same = t;
    EXPECT_EQ(&same(1, 0, 2, 1), &t(1, 0, 2, 1));
    const row_view<int> rows{numbers.data(), {2, 3, 4}, {500, 50, 7}};
    EXPECT_EQ(rows(1, 2, 3), 500 + 100 + 21);
    const row_view<const int> same_rows = rows;
    EXPECT_EQ(&same_rows(1, 1, 1), &rows(1, 1, 1));
}

TEST(views, are_empty_where_any_size_is_0) {
    int number = 0;
    EXPECT_FALSE(bhsd(&number, 1, 1, 1, 1).empty());
    EXPECT_TRUE(bhsd(&number, 0, 1, 1, 1).empty());
    EXPECT_TRUE(bhsd(&number, 1, 0, 1, 1).empty());
    EXPECT_TRUE(bhsd(&number, 1, 1, 0, 1).empty());
    EXPECT_TRUE(bhsd(&number, 1, 1, 1, 0).empty());
}

void expect_mask(const mask& m, index_t left, index_t right, alignment align, index_t offset) {
    EXPECT_EQ(m.left, left);
    EXPECT_EQ(m.right, right);
    EXPECT_EQ(m.align, align);
    EXPECT_EQ(m.offset, offset);
}

TEST(masks, by_hand) {
    expect_mask(full(), unbounded, unbounded, alignment::bottom_right, 0);
    expect_mask(causal(), unbounded, 0, alignment::bottom_right, 0);
    expect_mask(causal(alignment::top_left), unbounded, 0, alignment::top_left, 0);
    expect_mask(window(3, 5), 3, 5, alignment::bottom_right, 0);
    expect_mask(window(3, 5, alignment::top_left), 3, 5, alignment::top_left, 0);
    expect_mask(window(3, 5).at_offset(-7), 3, 5, alignment::explicit_offset, -7);
}

/// Uniform weights (q is 0): a row is the mean of the values that it sees, here their positions.
TEST(masks, let_through_what_the_page_says) {
    const double zero[8] = {};
    const double positions[] = {0, 1, 2, 3, 4, 5, 6, 7};
    const auto means = [&](const options& o) {
        std::vector<double> out(3, -1.0);
        attention(bhsd(zero, 1, 1, 3, 1), bhsd(zero, 1, 1, 8, 1), bhsd(positions, 1, 1, 8, 1),
                  bhsd(out.data(), 1, 1, 3, 1), o);
        return out;
    };
    using rows = std::vector<double>;
    EXPECT_EQ(means({}), (rows{3.5, 3.5, 3.5}));
    EXPECT_EQ(means({.mask = causal()}), (rows{2.5, 3, 3.5})); // rows stand at keys 5, 6, 7
    EXPECT_EQ(means({.mask = causal(alignment::top_left)}), (rows{0, 0.5, 1}));
    EXPECT_EQ(means({.mask = window(1, 0)}), (rows{4.5, 5.5, 6.5}));
    EXPECT_EQ(means({.mask = window(0, 1)}), (rows{5.5, 6.5, 7}));
    EXPECT_EQ(means({.mask = window(0, 2).at_offset(1)}), (rows{2, 3, 4}));
    EXPECT_EQ(means({.mask = window(2, 0).at_offset(-1)}), (rows{0, 0, 0.5})); // the first row sees nothing
    const index_t four[] = {4};
    EXPECT_EQ(means({.key_lengths = four}), (rows{1.5, 1.5, 1.5}));
    EXPECT_EQ(means({.mask = causal(), .key_lengths = four}), (rows{0.5, 1, 1.5}));
}

/// Uniform scores again: slopes and sinks alone make the weights, a cap of 0 leaves 0.
TEST(features, weigh_what_the_page_says) {
    const double zero[8] = {};
    const double positions[] = {0, 1, 2, 3, 4, 5, 6, 7};
    const double half[] = {std::log(2.0)}, nothing[] = {0}, three[] = {std::log(3.0)}, none[] = {-HUGE_VAL};
    const auto rows = [&](const options& o) {
        std::vector<double> out(3, -1.0), lse(3, -1.0);
        attention(bhsd(zero, 1, 1, 3, 1), bhsd(zero, 1, 1, 8, 1), bhsd(positions, 1, 1, 8, 1),
                  bhsd(out.data(), 1, 1, 3, 1), bhs(lse.data(), 1, 1, 3), o);
        out.insert(out.end(), lse.begin(), lse.end());
        return out;
    };
    const auto expect = [&](const options& o, const std::vector<double>& out, const std::vector<double>& sums) {
        const std::vector<double> found = rows(o);
        for (std::size_t i = 0; i < 3; ++i) {
            EXPECT_NEAR(found[i], out[i], 1e-14) << i;
            EXPECT_NEAR(std::exp(found[3 + i]), sums[i], 1e-13) << i;
        }
    };
    // A window of two keys, the row's own and the one before it, which is half as heavy.
    const mask two = window(1, 0);
    expect({.mask = two, .slopes = half}, {5 - 1 / 3.0, 6 - 1 / 3.0, 7 - 1 / 3.0}, {1.5, 1.5, 1.5});
    expect({.mask = two, .slopes = nothing}, {4.5, 5.5, 6.5}, {2, 2, 2});
    // Ahead of the row and behind it alike; wherever the mask's offset puts the rows.
    expect({.mask = window(1, 1).at_offset(2), .slopes = half}, {2, 3, 4}, {2, 2, 2});
    expect({.mask = window(1, 0).at_offset(0), .slopes = half}, {0, 2 / 3.0, 5 / 3.0}, {1, 1.5, 1.5});
    // A sink as heavy as one key, and as three; and one that is none.
    expect({.mask = two, .sinks = nothing}, {3, 11 / 3.0, 13 / 3.0}, {3, 3, 3});
    expect({.mask = two, .sinks = three}, {1.8, 2.2, 2.6}, {5, 5, 5});
    expect({.mask = two, .sinks = none}, {4.5, 5.5, 6.5}, {2, 2, 2});
    // Both, and a cap; the first row sees no key: the sink is its sum.
    expect({.mask = window(1, 0).at_offset(-1), .softcap = 2, .slopes = half, .sinks = three}, {0, 0, 1 / 4.5},
           {3, 4, 4.5});
}

/// However keys are cut into tiles and splits: each counts once.
TEST(masks, every_split_sees_its_keys) {
    const double zero[12] = {};
    const double positions[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    for (index_t keys = 1; keys <= 12; ++keys) {
        for (const index_t rows : {0, 1}) { // chosen: the kernel for few rows; named: the tile kernel
            for (index_t tile = 1; tile <= 4; ++tile) {
                for (index_t splits = 1; splits <= 5; ++splits) {
                    double out = -1.0;
                    double lse = -1.0;
                    attention(bhsd(zero, 1, 1, 1, 1), bhsd(zero, 1, 1, keys, 1), bhsd(positions, 1, 1, keys, 1),
                              bhsd(&out, 1, 1, 1, 1), bhs(&lse, 1, 1, 1),
                              {.threads = 1, .plan = tile_plan{rows, tile, splits}});
                    EXPECT_NEAR(out, static_cast<double>(keys - 1) / 2.0, 1e-13)
                        << keys << ' ' << tile << ' ' << splits;
                    EXPECT_NEAR(lse, std::log(static_cast<double>(keys)), 1e-14)
                        << keys << ' ' << tile << ' ' << splits;
                }
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------------------ Eigen

TEST(eigen_views, lie_where_the_matrix_lies) {
    const Eigen::MatrixXf columns = Eigen::MatrixXf::Zero(7, 4);
    const auto c = eigen::detail::view(columns);
    EXPECT_EQ(c.data, columns.data());
    EXPECT_EQ(c.extent, (std::array<index_t, 4>{1, 1, 7, 4}));
    EXPECT_EQ(c.stride, (std::array<index_t, 4>{0, 0, 1, 7}));
    const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> rows = columns;
    EXPECT_EQ(eigen::detail::view(rows).stride, (std::array<index_t, 4>{0, 0, 4, 1}));
    const auto block = rows.block(1, 2, 3, 2);
    EXPECT_EQ(eigen::detail::view(block).data, rows.data() + 6);
    EXPECT_EQ(eigen::detail::view(block).extent, (std::array<index_t, 4>{1, 1, 3, 2}));
    EXPECT_EQ(eigen::detail::view(block).stride, (std::array<index_t, 4>{0, 0, 4, 1}));
    const auto column = columns.col(2);
    EXPECT_EQ(eigen::detail::view(column).extent, (std::array<index_t, 4>{1, 1, 7, 1}));
}

/// Options of every function of the adaptor come through; the log-sum-exp takes the size of the rows.
TEST(eigen_views, options_come_through) {
    const Eigen::MatrixXd q = Eigen::MatrixXd::Random(5, 3), k = Eigen::MatrixXd::Random(5, 3);
    const Eigen::MatrixXd v = Eigen::MatrixXd::Random(5, 2), dout = Eigen::MatrixXd::Random(5, 2);
    const options top{.mask = window(0, 0), .scale = 2.0}; // a row sees one key: its own
    Eigen::VectorXd lse = Eigen::VectorXd::Zero(17);
    EXPECT_LT((eigen::attention(q, k, v, top) - v).cwiseAbs().maxCoeff(), 1e-14);
    EXPECT_LT((eigen::attention(q, k, v, lse, top) - v).cwiseAbs().maxCoeff(), 1e-14);
    ASSERT_EQ(lse.size(), 5);
    for (Eigen::Index i = 0; i < 5; ++i) EXPECT_NEAR(lse(i), 2.0 * q.row(i).dot(k.row(i)), 1e-14);
    const Eigen::VectorXd heavy = Eigen::VectorXd::Constant(1, 50.0); // beside which no key counts
    EXPECT_LT(eigen::attention(q, k, v, {.softcap = 1.0, .sinks = heavy}).cwiseAbs().maxCoeff(), 1e-19);
    const auto g = eigen::attention_backward(q, k, v, v, lse, dout, top);
    EXPECT_LT((g.dv - dout).cwiseAbs().maxCoeff(), 1e-14); // weights of 1
    EXPECT_LT(g.dq.cwiseAbs().maxCoeff(), 1e-13);
    EXPECT_LT(g.dk.cwiseAbs().maxCoeff(), 1e-13);
    ASSERT_EQ(g.dq.cols(), 3);
    ASSERT_EQ(g.dv.cols(), 2);
}

} // namespace
} // namespace pantile::inline v0
