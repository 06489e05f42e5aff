#include <support/error_rule.hpp>

#include <algorithm>
#include <sstream>

#include <support/coincidence.hpp>
#include <support/formula_head.hpp>

namespace pantile::test {

const char* name(dtype t) {
    switch (t) {
    case dtype::fp64:
        return "f64";
    case dtype::fp32:
        return "f32";
    case dtype::fp16:
        return "f16";
    case dtype::bf16:
        return "bf16";
    case dtype::fp8:
        break;
    }
    return "?";
}

double unit_roundoff(dtype t) {
    switch (t) {
    case dtype::fp64:
        return 0x1p-53;
    case dtype::fp32:
        return 0x1p-24;
    case dtype::fp16:
        return 0x1p-11;
    case dtype::bf16:
        return 0x1p-8;
    case dtype::fp8:
        break;
    }
    return 0.0;
}

double smallest(dtype t) {
    switch (t) {
    case dtype::fp64:
        return 0x1p-1074;
    case dtype::fp32:
        return 0x1p-149;
    case dtype::fp16:
        return 0x1p-24;
    case dtype::bf16:
        return 0x1p-133;
    case dtype::fp8:
        break;
    }
    return 0.0;
}

double smallest_normal(dtype t) { return smallest(t) / (2.0 * unit_roundoff(t)); }

double half_step(double x, dtype t) {
    const double size = std::abs(x);
    return size < smallest_normal(t) ? 0.5 * smallest(t) : std::ldexp(unit_roundoff(t), std::ilogb(size));
}

dtype compute_dtype(dtype t) { return t == dtype::fp64 ? dtype::fp64 : dtype::fp32; }

double rounded(double x, dtype t) {
    switch (t) {
    case dtype::fp64:
        return x;
    case dtype::fp32:
        return static_cast<double>(static_cast<float>(x));
    case dtype::fp16:
        return static_cast<double>(static_cast<float>(float16(static_cast<float>(x))));
    case dtype::bf16:
        return static_cast<double>(static_cast<float>(bfloat16(static_cast<float>(x))));
    case dtype::fp8:
        break;
    }
    return x;
}

tensor<double> rounded(const tensor<double>& x, dtype t) {
    tensor<double> y(x);
    for (double& value : y.data) value = rounded(value, t);
    return y;
}

namespace {

using vector = Eigen::VectorXd;
using dense = matrix<double>;

/// Four standard deviations, in u, of the rounding of a sum of n products: each step rounds the partial sum, which grows
/// like its mean (sum · step / n) and wanders like its products (root of the sum of squares).
double sum_noise(index_t n, double sum, double squares) {
    return 2.0 * std::sqrt(static_cast<double>(n) * (sum * sum / 3.0 + squares / 2.0));
}
dense sum_noise(index_t n, const dense& sums, const dense& squares) {
    return 2.0 * (static_cast<double>(n) * (sums.array().square() / 3.0 + squares.array() / 2.0)).sqrt();
}

/// How many different numbers, but for their signs, each row has; 0 is none, since adding it rounds nothing.
vector distinct_numbers(const dense& m) {
    vector counts(m.rows());
    for (index_t i = 0; i < m.rows(); ++i) {
        std::vector<double> sizes;
        for (index_t x = 0; x < m.cols(); ++x) sizes.push_back(std::abs(m(i, x)));
        std::sort(sizes.begin(), sizes.end());
        const auto last = std::unique(sizes.begin(), sizes.end());
        counts(i) = static_cast<double>(last - sizes.begin()) - (sizes.empty() || sizes[0] != 0.0 ? 0.0 : 1.0);
    }
    return counts;
}

/// By how much the rounding of the sums a·bᵀ exceeds that of different products, where products repeat: steps that add the
/// same number are off by the same, as long as the sum stays in one binade.
dense repetition(const dense& a, const dense& b) {
    const auto n = static_cast<double>(a.cols());
    const dense different = (distinct_numbers(a) * distinct_numbers(b).transpose()).cwiseMax(1.0);
    return (n / different.array()).sqrt().min(std::sqrt(n) / 3.0).max(1.0);
}

// Sums over keys and rows start anew in each tile: beyond this length they lose no more digits.
constexpr index_t longest_sum = 128;

/// What one head's rounding can do, in double; the names are those of docs/numerics.md.
struct head_scales {
    dense q, k, v;
    head_softmax<double> s;
    std::vector<family> keys; ///< whose scores have the same error, in every row
    dense rho;                ///< relative error of each probability, in u
    dense cut_off;            ///< what sums that are cut off take from each logit on average, in u
    /// What a logit is put together of, each times one constant that was rounded: the scaled score (as far as it moves the logit),
    /// and with a cap, slopes or a bias what they make of it.
    std::vector<dense> parts;
    bool capped = false;
    dense bend;             ///< with a cap 1 - tanh²: d logit / d scaled score
    dense bend_error;       ///< error of that, in u
    dense bend_drift[2];    ///< what the roundings of the two constants of a cap do to it, in u
    double sink_rho = 0.0;  ///< relative error of the sink's probability, in u
    dense distance, slopes; ///< of ALiBi: distances, and what they take from each logit
};

/// In units of roundoff: a tanh that is good to three units in its last place.
constexpr double tanh_error = 6.0;

dense squared(const dense& m) { return m.cwiseProduct(m); }

/// The sum of squares of what errors · factors may be off by, element by element.
dense error_squares(const dense& errors, const dense& factors, const std::vector<family>& families) {
    return squared(errors) * squared(factors) + beyond_independent(errors, factors, families);
}

head_scales scales_of(const attention_case& c, const attention_inputs& in, index_t b, index_t h,
                      score_sums how = score_sums::rounded) {
    const index_t g = h / (c.q_heads / c.kv_heads);
    head_scales r;
    r.q = head<double>(in.q, b, h);
    r.k = head<double>(in.k, b, g);
    r.v = head<double>(in.v, b, g);
    r.s = softmax_of<double>(c, r.q, r.k, b, h);
    r.keys = families_of(r.k);
    const dense x = r.s.logit.unaryExpr([](double y) { return std::isfinite(y) ? y : 0.0; });
    const dense scores = c.scale * (r.q * r.k.transpose()).eval();
    const dense squares = c.scale * c.scale * (squared(r.q) * squared(r.k).transpose()).eval();
    const double product_error = how == score_sums::three_tf32 ? three_tf32_error : 0.0;
    const dense rounding = sum_noise(c.head_dim, scores, squares);
    const dense sums =
        (squared(rounding) + product_error * product_error * squares).cwiseSqrt().cwiseProduct(repetition(r.q, r.k));
    dense score_error = sums.array() + 2.0 * scores.array().abs(); // of the logit, as far as the score is to blame
    const auto cuts = static_cast<double>(core::ceil_div(c.head_dim, cut_off_step));
    r.cut_off = 0.5 * cuts * (scores.array().abs() + squares.array().sqrt());

    r.capped = c.softcap != 0.0;
    dense bent = scores; // what the cap makes of the scores
    r.parts.push_back(scores);
    if (r.capped) {
        const dense t = (scores / c.softcap).array().tanh();
        bent = c.softcap * t;
        r.bend = 1.0 - t.array().square();
        r.parts[0] = r.bend.cwiseProduct(scores);
        r.parts.push_back(bent);
        score_error =
            r.bend.array() * score_error.array() + (tanh_error + 2.0) * bent.array().abs(); // and tanh and its factor
        r.cut_off = r.cut_off.cwiseProduct(r.bend);
    }
    r.rho = score_error.array() + 2.0 * x.array().abs() + 4.0;
    dense recovered = score_error; // of the capped score that backward takes from the logit
    if (!c.slopes.empty()) {
        r.distance = distances<double>(c, b);
        r.slopes = c.slopes[c.slope_place(b, h)] * r.distance;
        r.parts.push_back(r.slopes);
        r.rho += 2.0 * r.slopes.cwiseAbs();
        recovered += 2.0 * (x.cwiseAbs() + r.slopes.cwiseAbs());
    }
    if (!c.bias.empty()) {
        dense rest = x - bent;
        if (!c.slopes.empty()) rest += r.slopes;
        r.parts.push_back(rest);
    }
    if (r.capped) {
        const dense t = (bent / c.softcap).cwiseAbs();
        r.bend_error = 2.0 * t.array() * recovered.array() / c.softcap + 2.0;
        r.bend_drift[0] = 2.0 * t.array() * r.parts[0].array().abs() / c.softcap;
        r.bend_drift[1] = 2.0 * t.array().square();
    }
    if (!c.sinks.empty() && std::isfinite(c.sinks[static_cast<std::size_t>(h)]))
        r.sink_rho = 4.0 * std::abs(c.sinks[static_cast<std::size_t>(h)]) + 4.0;
    return r;
}

/// Errors of one sign each, in one sum: f makes of each what it does to a gradient.
template <class F>
dense sum_of_sizes(const std::vector<dense>& errors, F f) {
    dense sum = f(errors[0]).cwiseAbs();
    for (std::size_t n = 1; n < errors.size(); ++n) sum += f(errors[n]).cwiseAbs();
    return sum;
}

/// What the rounding of a sum over all of `m` may be, in u: row by row or column by column, whose sums are then added.
double sum_noise(const dense& m) {
    const auto in_order = [](const dense& x) {
        const vector sums = x.rowwise().sum();
        const dense each = sum_noise(std::min<index_t>(x.cols(), longest_sum), sums, squared(x).rowwise().sum());
        return each.norm() + sum_noise(std::min<index_t>(x.rows(), longest_sum), sums.sum(), sums.squaredNorm());
    };
    return in_order(m) + in_order(m.transpose());
}

/// The gradients of numbers that a head has, while heads and batches add up.
struct head_gradient {
    tensor<double> error;   ///< in u, by size
    tensor<double> squares; ///< of what each batch adds
    double lever = 0.0;     ///< what a probability can be multiplied by

    head_gradient(const attention_case& c, bool of_batches)
        : error({of_batches ? c.batch : 1, c.q_heads, 1, 1}), squares(error) {}
    void add(index_t b, index_t h, double gradient, double how_far) {
        const index_t place = error.extent[0] > 1 ? b : 0;
        error(place, h, 0) += how_far;
        squares(place, h, 0) += gradient * gradient;
    }
    /// Its bounds, once all have been added: `terms` probabilities go into one gradient.
    [[nodiscard]] row_bounds close(const attention_case& c, const std::vector<double>& exact,
                                   const std::vector<double>& plain, dtype compute, index_t terms) const {
        if (exact.empty()) return {};
        row_bounds r{tensor<double>(error.extent), tensor<double>(error.extent)};
        const double u = unit_roundoff(compute);
        for (std::size_t n = 0; n < exact.size(); ++n) {
            const double e = exact[n];
            const double off = std::abs(plain[n] - e);
            r.expected.data[n] = e;
            r.allowed.data[n] = 3.0 * (std::isfinite(off) ? off : 0.0) +
                                u * (error.data[n] + sum_noise(c.batch, e, squares.data[n]) + 2.0 * std::abs(e)) +
                                static_cast<double>(1 + terms) * smallest_normal(compute) * (1.0 + lever) +
                                2.0 * smallest(compute);
        }
        return r;
    }
};

/// What the errors of a kv head's rows are in dS and in the weighted P, one row a query.
struct row_errors {
    dense q, dout;
    dense by_p, by_dp;   ///< of dS, from P and from dO·V
    dense weighted_by_p; ///< of the weighted P
    row_errors(index_t rows, const attention_case& c)
        : q(rows, c.head_dim), dout(rows, c.value_dim), by_p(rows, c.k_len), by_dp(rows, c.k_len),
          weighted_by_p(rows, c.k_len) {}
};

double largest(const tensor<double>& a, const tensor<double>& b, index_t batch, index_t h, index_t i) {
    double error = 0.0;
    for (index_t x = 0; x < a.extent[3]; ++x) {
        const double e = std::abs(a(batch, h, i, x) - b(batch, h, i, x));
        error = e > error ? e : error; // not where an element is infinite in both, or NaN
    }
    return error;
}

} // namespace

forward_bounds bound_forward(const attention_case& c, const attention_inputs& in, dtype t, dtype out, p_rounding p,
                             score_sums sums) {
    forward_bounds r;
    tensor<double> plain_out; // as computed, in the type computed in
    tensor<double> plain_lse;
    const dtype compute = compute_dtype(t);
    if (t == dtype::fp64) {
        const auto exact = plain_forward<long double>(c, in);
        const auto plain = plain_forward<double>(c, in);
        r.out.expected = converted<double>(exact.out);
        r.lse.expected = converted<double>(exact.lse);
        plain_out = plain.out;
        plain_lse = plain.lse;
    } else {
        const auto exact = plain_forward<double>(c, in);
        const auto plain = plain_forward<float>(c, in, p);
        r.out.expected = exact.out;
        r.lse.expected = exact.lse;
        plain_out = converted<double>(plain.out);
        plain_lse = converted<double>(plain.lse);
    }
    const tensor<double> plain_stored = rounded(plain_out, out);
    const bool shortened = out != compute && p == p_rounding::none;

    const double u = unit_roundoff(compute);
    const double u_out = unit_roundoff(out);
    const double u_p = p == p_rounding::none         ? 0.0
                       : p == p_rounding::to_float16 ? unit_roundoff(dtype::fp16)
                                                     : unit_roundoff(dtype::bf16);
    const double product_error = sums == score_sums::three_tf32 ? three_tf32_error : 0.0;
    const double underflow = static_cast<double>(c.k_len) * smallest_normal(compute);
    r.out.allowed = tensor<double>(c.lse_extent());
    r.lse.allowed = tensor<double>(c.lse_extent());
    if (shortened) {
        r.out.computed = tensor<double>(c.lse_extent());
        r.out.stored_as = out;
    }
    for (index_t b = 0; b < c.batch; ++b) {
        for (index_t h = 0; h < c.q_heads; ++h) {
            const head_scales w = scales_of(c, in, b, h, sums);
            for (index_t i = 0; i < c.q_len; ++i) {
                double max_v = 0.0;
                for (index_t j = 0; j < c.k_len && c.value_dim > 0; ++j) {
                    if (c.visible(b, h, i, j)) max_v = std::max(max_v, w.v.row(j).cwiseAbs().maxCoeff());
                }
                const vector p_row = w.s.p.row(i).transpose();
                const vector p_rho = p_row.cwiseProduct(w.rho.row(i).transpose());
                const double sink_p = w.s.sink_p(i); // the probability of a key without a value
                const vector weight = w.s.weight.row(i).transpose();
                const index_t n = std::min(c.k_len, longest_sum);
                const double sum_rounding = sum_noise(n, p_row.sum() + sink_p, p_row.squaredNorm() + sink_p * sink_p);
                const dense values = weight.asDiagonal() * w.v;
                dense levers = values;
                for (index_t e = 0; e < c.value_dim; ++e) levers.col(e).array() -= r.out.expected(b, h, i, e);
                const dense logits = error_squares(p_rho.transpose(), levers, w.keys);
                const dense products = squared(p_row).transpose() * squared(values);
                const dense p_squares = error_squares(p_row.transpose(), values, w.keys);
                dense drifts = dense::Zero(1, c.value_dim);
                double lse_drift = 0.0;
                for (const dense& part : w.parts) {
                    const dense p_part = p_row.transpose().cwiseProduct(part.row(i));
                    drifts += (p_part * levers).cwiseAbs();
                    lse_drift += std::abs(p_part.sum());
                }
                double noise = 0.0;
                double drift = 0.0;
                for (index_t e = 0; e < c.value_dim; ++e) {
                    const double o = r.out.expected(b, h, i, e);
                    noise = std::max(noise, std::hypot(std::sqrt(logits(0, e)), sink_p * w.sink_rho * o) +
                                                std::abs(o) * sum_rounding +
                                                std::hypot(sum_noise(n, o, products(0, e)),
                                                           product_error * std::sqrt(products(0, e))) +
                                                2.5 * u_p / u * std::sqrt(p_squares(0, e)));
                    drift = std::max(drift, drifts(0, e));
                }
                const double lse_noise =
                    std::hypot(std::sqrt(error_squares(p_rho.transpose(), dense::Ones(c.k_len, 1), w.keys)(0, 0)),
                               sink_p * w.sink_rho) +
                    sum_rounding;
                const double lse = r.lse.expected(b, h, i);
                const double lse_size = std::isfinite(lse) ? std::abs(lse) : 0.0;
                const double cut_off = sums == score_sums::cut_off ? w.s.p.row(i).dot(w.cut_off.row(i)) : 0.0;
                const double common = u * (noise + 2.0 * drift) + underflow * (1.0 + max_v);
                r.out.allowed(b, h, i) = 2.0 * largest(plain_stored, r.out.expected, b, h, i) + 4.0 * u_out * max_v +
                                         common + 2.0 * smallest(out);
                if (shortened) {
                    r.out.computed(b, h, i) = 2.0 * largest(plain_out, r.out.expected, b, h, i) + 4.0 * u * max_v +
                                              common + 2.0 * smallest(compute);
                }
                r.lse.allowed(b, h, i) = 2.0 * largest(plain_lse, r.lse.expected, b, h, i) +
                                         u * (4.0 * (1.0 + lse_size) + lse_noise + 2.0 * lse_drift + cut_off);
            }
        }
    }
    return r;
}

backward_bounds bound_backward(const attention_case& c, const attention_inputs& in, dtype t, dtype gradient,
                               p_rounding p) {
    backward_bounds r;
    tensor<double> plain_dq; // as computed, in the type computed in
    tensor<double> plain_dk;
    tensor<double> plain_dv;
    const dtype compute = compute_dtype(t);
    const double u = unit_roundoff(compute);
    head_gradient of_slopes(c, c.slopes_of_batches());
    head_gradient of_sinks(c, false);
    std::vector<double> slopes, sinks, plain_slopes, plain_sinks;
    const auto take = [](const auto& numbers) { return std::vector<double>(numbers.begin(), numbers.end()); };
    if (t == dtype::fp64) {
        const auto exact = plain_backward<long double>(c, in);
        const auto plain = plain_backward<double>(c, in);
        r.dq.expected = converted<double>(exact.dq);
        r.dk.expected = converted<double>(exact.dk);
        r.dv.expected = converted<double>(exact.dv);
        plain_dq = plain.dq;
        plain_dk = plain.dk;
        plain_dv = plain.dv;
        slopes = take(exact.dslopes), plain_slopes = take(plain.dslopes);
        sinks = take(exact.dsinks), plain_sinks = take(plain.dsinks);
    } else {
        const auto exact = plain_backward<double>(c, in);
        const auto plain = plain_backward<float>(c, in);
        r.dq.expected = exact.dq;
        r.dk.expected = exact.dk;
        r.dv.expected = exact.dv;
        plain_dq = converted<double>(plain.dq);
        plain_dk = converted<double>(plain.dk);
        plain_dv = converted<double>(plain.dv);
        slopes = take(exact.dslopes), plain_slopes = take(plain.dslopes);
        sinks = take(exact.dsinks), plain_sinks = take(plain.dsinks);
    }

    const forward_bounds given = bound_forward(c, in, t, t, p);

    // Sums of squares (noise) and of sizes (drift, abs(lse)) of every element, then the largest of each row.
    const tensor<double> zero_q(c.q_extent());
    const tensor<double> zero_k(c.k_extent());
    const tensor<double> zero_v(c.v_extent());
    tensor<double> noise_q = zero_q, drift_q = zero_q;
    tensor<double> noise_k = zero_k, drift_k = zero_k;
    tensor<double> noise_v = zero_v, drift_v = zero_v;
    const auto add = [](tensor<double>& to, index_t b, index_t h, const dense& m) {
        for (index_t i = 0; i < to.extent[2]; ++i)
            for (index_t x = 0; x < to.extent[3]; ++x) to(b, h, i, x) += m(i, x);
    };
    double lever = 0.0; // what one probability can be multiplied by on its way into a gradient
    const index_t group = c.kv_heads > 0 ? c.q_heads / c.kv_heads : 0;
    for (index_t b = 0; b < c.batch; ++b) {
        row_errors rows(group * c.q_len, c); // of all query heads of a kv head: dK and dV add them up
        for (index_t h = 0; h < c.q_heads; ++h) {
            const index_t g = h / group;
            const head_scales w = scales_of(c, in, b, h);
            const dense dout = head<double>(in.dout, b, h);
            const dense weighted = w.s.p.cwiseProduct(w.s.weight);
            const dense out = weighted * w.v;
            const vector delta = out.cwiseProduct(dout).rowwise().sum();
            const vector delta_size = out.cwiseAbs().cwiseProduct(dout.cwiseAbs()).rowwise().sum();
            const dense dp = (dout * w.v.transpose()).cwiseProduct(w.s.weight);
            const dense dp_size = (dout.cwiseAbs() * w.v.cwiseAbs().transpose()).cwiseProduct(w.s.weight.cwiseAbs());
            if (dp.size() > 0 && dout.size() > 0) {
                const double ds_size = dp_size.maxCoeff() + delta_size.maxCoeff();
                const double inputs = std::max(w.q.cwiseAbs().sum(), w.k.cwiseAbs().sum());
                lever =
                    std::max({lever, dout.cwiseAbs().maxCoeff(), ds_size * w.s.slope.cwiseAbs().maxCoeff() * inputs});
            }
            const dense dlogit = w.s.p.cwiseProduct(dp.colwise() - delta);
            const dense ds = dlogit.cwiseProduct(w.s.slope);
            const dense p_slope = w.s.p.cwiseProduct(w.s.slope.cwiseAbs());
            // What the forward call may have been off by, and one more rounding, in u.
            vector lse_error(c.q_len);
            vector delta_error(c.q_len);
            for (index_t i = 0; i < c.q_len; ++i) {
                const double lse = w.s.lse(i);
                lse_error(i) = std::isfinite(lse) ? 2.0 * std::abs(lse) + given.lse.allowed(b, h, i) / u : 0.0;
                delta_error(i) = 2.0 * delta_size(i) + given.out.allowed(b, h, i) / u * dout.row(i).cwiseAbs().sum();
            }

            // dS's own rounding: of P, and of dO·V.
            const dense dp_squares = squared(dout) * squared(w.v).transpose();
            dense by_p = ds.cwiseProduct(w.rho);
            if (w.capped) by_p += c.scale * dlogit.cwiseProduct(w.bend_error);
            const dense dp_sums = sum_noise(c.value_dim, dp, dp_squares.cwiseProduct(squared(w.s.weight)));
            const dense dp_error = dp_sums.cwiseProduct(repetition(dout, w.v)) + 2.0 * dp.cwiseAbs();
            const dense by_dp = p_slope.cwiseProduct(dp_error);
            const dense ds_noise = by_p.cwiseAbs() + by_dp;
            const dense weighted_by_p = weighted.cwiseProduct(w.rho);
            // A row's error of lse and of delta is common to the row: it scales dQ, and adds up by size in dK and dV.
            // So does what a constant that was rounded does to all logits of a head.
            std::vector<dense> by_constants;
            for (const dense& part : w.parts) by_constants.push_back(2.0 * part.cwiseProduct(ds));
            if (w.capped) {
                for (const dense& drift : w.bend_drift) by_constants.push_back(c.scale * drift.cwiseProduct(dlogit));
            }
            const dense by_row = lse_error.asDiagonal() * ds.cwiseAbs() + delta_error.asDiagonal() * p_slope;
            const index_t n_k = std::min(c.k_len, longest_sum);
            const index_t n_q = std::min(c.q_len, longest_sum);
            add(noise_q, b, h,
                squared(ds_noise) * squared(w.k) + beyond_independent(by_p, w.k, w.keys) +
                    beyond_independent(by_dp, w.k, families_of(w.v)));
            add(drift_q, b, h,
                sum_of_sizes(by_constants, [&](const dense& m) { return m * w.k; }) +
                    lse_error.asDiagonal() * (ds * w.k).cwiseAbs() +
                    delta_error.asDiagonal() * (p_slope * w.k).cwiseAbs() +
                    sum_noise(n_k, ds * w.k, squared(ds) * squared(w.k)));
            add(noise_k, b, g, squared(ds_noise).transpose() * squared(w.q));
            add(drift_k, b, g,
                sum_of_sizes(by_constants, [&](const dense& m) { return m.transpose() * w.q; }) +
                    by_row.transpose() * w.q.cwiseAbs() +
                    sum_noise(n_q, ds.transpose() * w.q, squared(ds).transpose() * squared(w.q)));
            add(drift_v, b, g,
                2.0 * sum_of_sizes(w.parts,
                                   [&](const dense& m) { return m.cwiseProduct(weighted).transpose() * dout; }) +
                    (lse_error.asDiagonal() * weighted.cwiseAbs()).transpose() * dout.cwiseAbs() +
                    sum_noise(n_q, weighted.transpose() * dout, squared(weighted).transpose() * squared(dout)));

            if (!c.slopes.empty()) {
                const dense levers = dlogit.cwiseProduct(w.distance);
                const dense far = w.s.p.cwiseProduct(w.distance);
                const dense levers_by_p = levers.cwiseProduct(w.rho);
                const dense levers_by_dp = far.cwiseProduct(dp_error);
                const double noise = (levers_by_p.cwiseAbs() + levers_by_dp).squaredNorm() +
                                     beyond_independent_sum(levers_by_p, families_of(w.q), w.keys) +
                                     beyond_independent_sum(levers_by_dp, families_of(dout), families_of(w.v));
                double drift = lse_error.dot(levers.rowwise().sum().cwiseAbs()) + delta_error.dot(far.rowwise().sum()) +
                               sum_noise(levers);
                for (const dense& part : w.parts) drift += 2.0 * std::abs(part.cwiseProduct(levers).sum());
                of_slopes.add(b, h, levers.sum(), std::sqrt(noise) + drift);
                if (levers.size() > 0) {
                    of_slopes.lever =
                        std::max(of_slopes.lever, w.distance.maxCoeff() * (dp_size.maxCoeff() + delta_size.maxCoeff()));
                }
            }
            if (!c.sinks.empty()) {
                const vector levers = w.s.sink_p.cwiseProduct(delta);
                const double error = levers.cwiseAbs().dot((lse_error.array() + w.sink_rho).matrix()) +
                                     w.s.sink_p.dot(delta_error) + sum_noise(n_q, levers.sum(), levers.squaredNorm());
                of_sinks.add(b, h, levers.sum(), error);
                if (levers.size() > 0) of_sinks.lever = std::max(of_sinks.lever, delta_size.maxCoeff());
            }

            const index_t first = h % group * c.q_len;
            rows.q.middleRows(first, c.q_len) = w.q;
            rows.dout.middleRows(first, c.q_len) = dout;
            rows.by_p.middleRows(first, c.q_len) = by_p;
            rows.by_dp.middleRows(first, c.q_len) = by_dp;
            rows.weighted_by_p.middleRows(first, c.q_len) = weighted_by_p;
            if ((h + 1) % group != 0) continue; // another of this kv head's query heads follows
            const auto equal_q = families_of(rows.q);
            add(noise_k, b, g,
                beyond_independent(rows.by_p.transpose(), rows.q, equal_q) +
                    beyond_independent(rows.by_dp.transpose(), rows.q, families_of(rows.dout)));
            add(noise_v, b, g, error_squares(rows.weighted_by_p.transpose(), rows.dout, equal_q));
        }
    }

    const double u_gradient = unit_roundoff(gradient);
    const double terms =
        static_cast<double>(std::max(c.q_len * (c.q_heads / std::max<index_t>(c.kv_heads, 1)), c.k_len));
    const double underflow = (1.0 + terms) * smallest_normal(compute) * (1.0 + lever);
    const auto close = [&](row_bounds& bounds, const tensor<double>& plain, const tensor<double>& noise,
                           const tensor<double>& drift) {
        const extents e = bounds.expected.extent;
        const tensor<double> plain_stored = rounded(plain, gradient);
        bounds.allowed = tensor<double>({e[0], e[1], e[2], 1});
        if (gradient != compute) {
            bounds.computed = bounds.allowed;
            bounds.stored_as = gradient;
        }
        bounds.allowed.for_each([&](index_t b, index_t h, index_t i, index_t) {
            double rounding = 0.0;
            double top = 0.0;
            for (index_t x = 0; x < e[3]; ++x) {
                rounding = std::max(rounding, std::sqrt(noise(b, h, i, x)) + drift(b, h, i, x));
                top = std::max(top, std::abs(bounds.expected(b, h, i, x)));
            }
            const double common = u * rounding + underflow;
            bounds.allowed(b, h, i) = 3.0 * largest(plain_stored, bounds.expected, b, h, i) + common +
                                      2.0 * u_gradient * top + 2.0 * smallest(gradient);
            if (gradient != compute) {
                bounds.computed(b, h, i) =
                    3.0 * largest(plain, bounds.expected, b, h, i) + common + 2.0 * u * top + 2.0 * smallest(compute);
            }
        });
    };
    close(r.dq, plain_dq, noise_q, drift_q);
    close(r.dk, plain_dk, noise_k, drift_k);
    close(r.dv, plain_dv, noise_v, drift_v);
    r.dslopes = of_slopes.close(c, slopes, plain_slopes, compute, c.batch * c.q_len * c.k_len);
    r.dsinks = of_sinks.close(c, sinks, plain_sinks, compute, c.batch * c.q_len);
    return r;
}

verdict within(const tensor<double>& actual, const row_bounds& bounds, const std::string& what) {
    verdict v;
    if (actual.extent != bounds.expected.extent) return {false, HUGE_VAL, what + " has the wrong shape"};
    extents worst{};
    // How far the element may be off: the row's bound, and that of its own store.
    const auto allowed = [&](index_t b, index_t h, index_t i, double a) {
        const double of_row = bounds.allowed(b, h, i);
        if (bounds.computed.empty()) return of_row;
        return std::min(of_row, bounds.computed(b, h, i) + half_step(a, bounds.stored_as));
    };
    tensor<double>(actual).for_each([&](index_t b, index_t h, index_t i, index_t x) {
        const double a = actual(b, h, i, x);
        const double e = bounds.expected(b, h, i, x);
        double ratio = 0.0;
        if (!std::isfinite(e) || !std::isfinite(a)) {
            ratio = (std::isnan(e) && std::isnan(a)) || a == e ? 0.0 : HUGE_VAL;
        } else if (a != e) {
            const double most = allowed(b, h, i, a);
            ratio = std::isfinite(most) && most > 0.0 ? std::abs(a - e) / most : HUGE_VAL;
        }
        if (ratio > v.worst) {
            v.worst = ratio;
            worst = {b, h, i, x};
        }
    });
    v.ok = v.worst <= 1.0;
    if (v.worst > 0.0) {
        const auto [b, h, i, x] = worst;
        const double a = actual(b, h, i, x);
        const double e = bounds.expected(b, h, i, x);
        std::ostringstream text;
        text.precision(9);
        text << what << "(" << b << ", " << h << ", " << i << ", " << x << ") is " << a << ", expected " << e
             << ", off by " << std::abs(a - e) << ", allowed "
             << (std::isfinite(a) ? allowed(b, h, i, a) : bounds.allowed(b, h, i));
        v.text = text.str();
    }
    return v;
}

verdict within(const tensor<double>& out, const tensor<double>& lse, const forward_bounds& bounds) {
    const verdict o = within(out, bounds.out, "out");
    const verdict l = within(lse, bounds.lse, "lse");
    return {o.ok && l.ok, std::max(o.worst, l.worst), o.text + '\n' + l.text};
}

} // namespace pantile::test
