// The Eigen adaptor: both storage orders, blocks and maps in place, the same bits as the views underneath.
#include <gtest/gtest.h>

#include <pantile/eigen.hpp>

namespace pantile::inline v0 {
namespace {

using row_matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// The formula in Eigen.
Eigen::MatrixXd formula(const Eigen::MatrixXd& q, const Eigen::MatrixXd& k, const Eigen::MatrixXd& v, bool is_causal) {
    Eigen::MatrixXd s = (q * k.transpose()) / std::sqrt(static_cast<double>(q.cols()));
    for (Eigen::Index i = 0; i < s.rows(); ++i) {
        for (Eigen::Index j = 0; j < s.cols(); ++j) {
            s(i, j) = is_causal && j > i + s.cols() - s.rows() ? 0.0 : std::exp(s(i, j));
        }
    }
    return (s.array().colwise() / s.rowwise().sum().array()).matrix() * v;
}

class eigen_adaptor : public testing::Test {
  protected:
    Eigen::MatrixXf q = Eigen::MatrixXf::Random(20, 24);
    Eigen::MatrixXf k = Eigen::MatrixXf::Random(31, 24);
    Eigen::MatrixXf v = Eigen::MatrixXf::Random(31, 10);
};

TEST_F(eigen_adaptor, column_major_matrices) {
    for (const bool is_causal : {false, true}) {
        const Eigen::MatrixXf out = eigen::attention(q, k, v, {.mask = is_causal ? causal() : full()});
        const Eigen::MatrixXd expected = formula(q.cast<double>(), k.cast<double>(), v.cast<double>(), is_causal);
        EXPECT_LT((out.cast<double>() - expected).cwiseAbs().maxCoeff(), 2e-6);
    }
}

TEST_F(eigen_adaptor, row_major_and_mixed_orders_give_the_same_bits) {
    const Eigen::MatrixXf expected = eigen::attention(q, k, v, {.mask = causal()});
    const row_matrix rq = q, rk = k, rv = v;
    const row_matrix out = eigen::attention(rq, rk, rv, {.mask = causal()});
    EXPECT_EQ(Eigen::MatrixXf(out), expected);
    EXPECT_EQ(Eigen::MatrixXf(eigen::attention(q, rk, v, {.mask = causal()})), expected);
    static_assert(decltype(eigen::attention(rq, k, v))::IsRowMajor, "the result has the storage order of q");
    static_assert(!decltype(eigen::attention(q, rk, rv))::IsRowMajor);
}

TEST_F(eigen_adaptor, blocks_and_maps_are_read_in_place) {
    Eigen::MatrixXf wide = Eigen::MatrixXf::Random(40, 60);
    wide.block(3, 5, 20, 24) = q;
    const Eigen::MatrixXf expected = eigen::attention(q, k, v);
    EXPECT_EQ(Eigen::MatrixXf(eigen::attention(wide.block(3, 5, 20, 24), k, v)), expected);
    std::vector<float> numbers(static_cast<std::size_t>(2 * k.size()));
    Eigen::Map<Eigen::MatrixXf, 0, Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>> map(
        numbers.data(), k.rows(), k.cols(), Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>(2 * k.rows(), 2));
    map = k;
    EXPECT_EQ(Eigen::MatrixXf(eigen::attention(q, map, v)), expected);
    EXPECT_EQ(Eigen::MatrixXf(eigen::attention(q, k.topRows(31), v.leftCols(10))), expected);
}

TEST_F(eigen_adaptor, double_matrices_and_log_sum_exp) {
    const Eigen::MatrixXd dq = q.cast<double>(), dk = k.cast<double>(), dv = v.cast<double>();
    Eigen::VectorXd lse;
    const Eigen::MatrixXd out = eigen::attention(dq, dk, dv, lse);
    EXPECT_LT((out - formula(dq, dk, dv, false)).cwiseAbs().maxCoeff(), 1e-14);
    ASSERT_EQ(lse.size(), 20);
    const Eigen::MatrixXd s = (dq * dk.transpose()) / std::sqrt(24.0);
    EXPECT_NEAR(lse(7), std::log(s.row(7).array().exp().sum()), 1e-13);
}

TEST_F(eigen_adaptor, gradients) {
    const Eigen::MatrixXd dq = q.cast<double>(), dk = k.cast<double>(), dv = v.cast<double>();
    const Eigen::MatrixXd dout = Eigen::MatrixXd::Random(20, 10);
    Eigen::VectorXd lse;
    const Eigen::MatrixXd out = eigen::attention(dq, dk, dv, lse, {.mask = causal()});
    const auto g = eigen::attention_backward(dq, dk, dv, out, lse, dout, {.mask = causal()});
    const auto loss = [&](const Eigen::MatrixXd& a, const Eigen::MatrixXd& b, const Eigen::MatrixXd& c) {
        return formula(a, b, c, true).cwiseProduct(dout).sum();
    };
    const double step = 1e-5;
    for (const auto& [i, x] : {std::pair<Eigen::Index, Eigen::Index>{0, 0}, {7, 9}, {19, 3}}) {
        const auto slope = [&, i = i, x = x](auto which) {
            Eigen::MatrixXd up[3] = {dq, dk, dv};
            Eigen::MatrixXd down[3] = {dq, dk, dv};
            up[which](i, x) += step;
            down[which](i, x) -= step;
            return (loss(up[0], up[1], up[2]) - loss(down[0], down[1], down[2])) / (2.0 * step);
        };
        EXPECT_NEAR(g.dq(i, x), slope(0), 1e-8);
        EXPECT_NEAR(g.dk(i, x), slope(1), 1e-8);
        EXPECT_NEAR(g.dv(i, x), slope(2), 1e-8);
    }
}

TEST_F(eigen_adaptor, errors_come_through) {
    EXPECT_THROW((void)eigen::attention(q, Eigen::MatrixXf(k.leftCols(23)), v), invalid_argument);
    EXPECT_THROW((void)eigen::attention(q, k, Eigen::MatrixXf(v.topRows(30))), invalid_argument);
}

TEST_F(eigen_adaptor, empty_matrices) {
    const Eigen::MatrixXf none(0, 24);
    EXPECT_EQ(eigen::attention(none, k, v).rows(), 0);
    const Eigen::MatrixXf no_keys = eigen::attention(q, none, Eigen::MatrixXf(0, 10));
    EXPECT_EQ(no_keys, Eigen::MatrixXf::Zero(20, 10));
}

} // namespace
} // namespace pantile::inline v0
