/// \file
/// Attention as the formula is written, with Eigen: all scores of a head in memory, softmax, product. What pantile is
/// compared with, in speed (float) and in accuracy (double).
#pragma once

#include <cmath>
#include <limits>

#include <Eigen/Dense>

template <class Real>
using rows = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// One head: q (Sq, d), k (Sk, d), v (Sk, e); causal (Sk >= Sq): row i sees the keys j <= i + Sk - Sq.
/// Reads and writes Sq·Sk scores three times.
template <class Real>
rows<Real> plain_formula(const Eigen::Ref<const rows<Real>>& q, const Eigen::Ref<const rows<Real>>& k,
                         const Eigen::Ref<const rows<Real>>& v, bool causal) {
    rows<Real> s(q.rows(), k.rows());
    s.noalias() = q * k.transpose();
    s *= Real(1) / std::sqrt(static_cast<Real>(q.cols()));
#pragma omp parallel for schedule(static, 16)
    for (Eigen::Index i = 0; i < s.rows(); ++i) {
        auto row = s.row(i).array();
        if (causal) row.tail(q.rows() - 1 - i).setConstant(-std::numeric_limits<Real>::infinity());
        row = (row - row.maxCoeff()).exp();
        row /= row.sum();
    }
    rows<Real> out(q.rows(), v.cols());
    out.noalias() = s * v;
    return out;
}
