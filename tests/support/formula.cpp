#include <support/formula.hpp>

#include <support/formula_head.hpp>

namespace pantile::test {

bool attention_case::visible(index_t b, index_t h, index_t i, index_t j) const {
    if (j >= keys_of(b)) return false;
    const index_t behind = distance(b, i, j);
    if (left && behind > *left) return false;
    if (right && -behind > *right) return false;
    if (!block_mask.empty() && block_mask.at(b, h, i / block_rows, j / block_cols) == 0) return false;
    return bias.empty() || bias.at(b, h, i, j) != -std::numeric_limits<double>::infinity();
}

namespace {

template <class Real>
void add_head(tensor<Real>& t, index_t b, index_t h, const matrix<Real>& m) {
    for (index_t i = 0; i < t.extent[2]; ++i)
        for (index_t x = 0; x < t.extent[3]; ++x) t(b, h, i, x) += m(i, x);
}

template <class Real>
void round_p(matrix<Real>& p, p_rounding how) {
    if (how == p_rounding::none) return;
    for (index_t i = 0; i < p.rows(); ++i) {
        for (index_t j = 0; j < p.cols(); ++j) {
            const auto x = static_cast<float>(p(i, j));
            p(i, j) = static_cast<Real>(how == p_rounding::to_float16 ? static_cast<float>(float16(x))
                                                                      : static_cast<float>(bfloat16(x)));
        }
    }
}

} // namespace

template <class Real>
forward_result<Real> plain_forward(const attention_case& c, const attention_inputs& in, p_rounding rounding) {
    forward_result<Real> r{tensor<Real>(c.out_extent()), tensor<Real>(c.lse_extent())};
    for (index_t b = 0; b < c.batch; ++b) {
        for (index_t h = 0; h < c.q_heads; ++h) {
            const index_t g = h / (c.q_heads / c.kv_heads);
            head_softmax<Real> s = softmax_of<Real>(c, head<Real>(in.q, b, h), head<Real>(in.k, b, g), b, h);
            round_p(s.p, rounding);
            add_head<Real>(r.out, b, h, s.p.cwiseProduct(s.weight) * head<Real>(in.v, b, g));
            for (index_t i = 0; i < c.q_len; ++i) r.lse(b, h, i) = s.lse(i);
        }
    }
    return r;
}

template <class Real>
backward_result<Real> plain_backward(const attention_case& c, const attention_inputs& in) {
    backward_result<Real> r{tensor<Real>(c.q_extent()), tensor<Real>(c.k_extent()), tensor<Real>(c.v_extent()), {}};
    if (!c.bias.empty()) r.dbias = tensor<Real>(c.bias.extent);
    r.dsinks.assign(c.sinks.size(), Real(0));
    r.dslopes.assign(c.slopes.size(), Real(0));
    for (index_t b = 0; b < c.batch; ++b) {
        for (index_t h = 0; h < c.q_heads; ++h) {
            const index_t g = h / (c.q_heads / c.kv_heads);
            const matrix<Real> q = head<Real>(in.q, b, h);
            const matrix<Real> k = head<Real>(in.k, b, g);
            const matrix<Real> v = head<Real>(in.v, b, g);
            const matrix<Real> dout = head<Real>(in.dout, b, h);
            const head_softmax<Real> s = softmax_of<Real>(c, q, k, b, h);

            const matrix<Real> weighted = s.p.cwiseProduct(s.weight);
            const matrix<Real> out = weighted * v;
            const Eigen::Matrix<Real, Eigen::Dynamic, 1> delta = out.cwiseProduct(dout).rowwise().sum();
            const matrix<Real> dp = (dout * v.transpose()).cwiseProduct(s.weight);
            const matrix<Real> dlogit = s.p.cwiseProduct(dp.colwise() - delta);
            const matrix<Real> dscore = dlogit.cwiseProduct(s.slope);
            add_head<Real>(r.dq, b, h, dscore * k);
            add_head<Real>(r.dk, b, g, dscore.transpose() * q);
            add_head<Real>(r.dv, b, g, weighted.transpose() * dout);
            if (!c.bias.empty()) {
                const extents& e = c.bias.extent;
                for (index_t i = 0; i < c.q_len; ++i)
                    for (index_t j = 0; j < c.k_len; ++j)
                        r.dbias(e[0] == 1 ? 0 : b, e[1] == 1 ? 0 : h, e[2] == 1 ? 0 : i, e[3] == 1 ? 0 : j) +=
                            dlogit(i, j);
            }
            if (!c.sinks.empty()) r.dsinks[static_cast<std::size_t>(h)] -= s.sink_p.dot(delta);
            if (!c.slopes.empty()) r.dslopes[c.slope_place(b, h)] -= dlogit.cwiseProduct(distances<Real>(c, b)).sum();
        }
    }
    return r;
}

template forward_result<float> plain_forward<float>(const attention_case&, const attention_inputs&, p_rounding);
template forward_result<double> plain_forward<double>(const attention_case&, const attention_inputs&, p_rounding);
template forward_result<long double> plain_forward<long double>(const attention_case&, const attention_inputs&,
                                                                p_rounding);
template backward_result<float> plain_backward<float>(const attention_case&, const attention_inputs&);
template backward_result<double> plain_backward<double>(const attention_case&, const attention_inputs&);
template backward_result<long double> plain_backward<long double>(const attention_case&, const attention_inputs&);

} // namespace pantile::test
