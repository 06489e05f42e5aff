/// \file
/// One head of the plain formula as Eigen matrices: the steps that the reference and the error rule share.
#pragma once

#include <Eigen/Dense>

#include <support/formula.hpp>

namespace pantile::test {

template <class Real>
using matrix = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Head (b, h) of a tensor as a matrix of Real: rows are tokens.
template <class Real>
matrix<Real> head(const tensor<double>& t, index_t b, index_t h) {
    matrix<Real> m(t.extent[2], t.extent[3]);
    for (index_t i = 0; i < t.extent[2]; ++i)
        for (index_t x = 0; x < t.extent[3]; ++x) m(i, x) = static_cast<Real>(t(b, h, i, x));
    return m;
}

/// How far each key lies from each row of a batch: what ALiBi's slopes are multiplied by.
template <class Real>
matrix<Real> distances(const attention_case& c, index_t b) {
    return matrix<Real>::NullaryExpr(
        c.q_len, c.k_len, [&](index_t i, index_t j) { return static_cast<Real>(std::abs(c.distance(b, i, j))); });
}

/// Everything about one head that forward and backward need.
template <class Real>
struct head_softmax {
    matrix<Real> logit;  ///< final logits, hidden pairs minus infinity
    matrix<Real> p;      ///< normalised probabilities, hidden pairs 0
    matrix<Real> slope;  ///< d logit / d raw score
    matrix<Real> weight; ///< of P into out
    Eigen::Matrix<Real, Eigen::Dynamic, 1> lse;
    Eigen::Matrix<Real, Eigen::Dynamic, 1> sink_p; ///< probability of the sink
};

/// Scores and softmax of head (b, h); q and k are that head's matrices.
template <class Real>
head_softmax<Real> softmax_of(const attention_case& c, const matrix<Real>& q, const matrix<Real>& k, index_t b,
                              index_t h) {
    using std::abs;
    using std::exp;
    using std::log;
    using std::tanh;
    const Real infinity = std::numeric_limits<Real>::infinity();
    const Real scale = static_cast<Real>(c.scale);
    const Real cap = static_cast<Real>(c.softcap);

    head_softmax<Real> s;
    s.logit = scale * (q * k.transpose()).eval();
    s.p = matrix<Real>::Zero(c.q_len, c.k_len);
    s.slope = matrix<Real>::Constant(c.q_len, c.k_len, scale);
    s.weight = matrix<Real>::Ones(c.q_len, c.k_len);
    s.lse.resize(c.q_len);
    s.sink_p.setZero(c.q_len);
    for (index_t i = 0; i < c.q_len; ++i) {
        Real top = -infinity;
        for (index_t j = 0; j < c.k_len; ++j) {
            Real& x = s.logit(i, j);
            if (c.softcap != 0.0) {
                const Real t = tanh(x / cap);
                x = cap * t;
                s.slope(i, j) = scale * (Real(1) - t * t);
            }
            if (!c.bias.empty()) x += static_cast<Real>(c.bias.at(b, h, i, j));
            if (!c.slopes.empty()) {
                x -=
                    static_cast<Real>(c.slopes[c.slope_place(b, h)]) * static_cast<Real>(std::abs(c.distance(b, i, j)));
            }
            if (!c.weight.empty()) s.weight(i, j) = static_cast<Real>(c.weight.at(b, h, i, j));
            if (!c.visible(b, h, i, j)) x = -infinity;
            top = x > top ? x : top;
        }
        const bool sunk = !c.sinks.empty();
        const Real sink = sunk ? static_cast<Real>(c.sinks[static_cast<std::size_t>(h)]) : -infinity;
        top = sink > top ? sink : top;
        if (top == -infinity) { // a row that sees no key
            s.lse(i) = -infinity;
            continue;
        }
        Real sum = exp(sink - top);
        for (index_t j = 0; j < c.k_len; ++j) sum += s.p(i, j) = exp(s.logit(i, j) - top);
        s.p.row(i) /= sum;
        s.sink_p(i) = exp(sink - top) / sum;
        s.lse(i) = top + log(sum);
    }
    return s;
}

} // namespace pantile::test
