/// \file
/// A forward and a backward call with soft cap, ALiBi and sinks, as a case of the formula says it.
#pragma once

#include <pantile/attention.hpp>

#include <support/generators.hpp>
#include <support/library_mask.hpp>

namespace pantile::test {

struct feature_style {
    dtype type = dtype::fp32;
    isa set = isa::automatic;
    int threads = 1;
    tile_plan plan{0, 0, 0};
    bool slopes_a_batch = false; ///< the case's slopes once a batch: dslopes cannot be asked for
    bool wide_numbers = false;   ///< slopes, sinks and their gradients in double
    bool accumulate = false;     ///< onto ones
};

struct feature_results {
    tensor<double> out, lse, dq, dk, dv;
    std::vector<double> dslopes, dsinks; ///< empty where not asked for
    bool matrix_unit = false;
};

/// The instruction sets that this machine has.
[[nodiscard]] inline const std::vector<isa>& feature_isas() {
    static const std::vector<isa> sets = [] {
        std::vector<isa> found;
        const std::vector<bfloat16> x(64);
        for (const isa s : {isa::baseline, isa::avx2, isa::avx512, isa::amx}) {
            try {
                (void)explain(bhsd(x.data(), 1, 1, 64, 1), bhsd(x.data(), 1, 1, 64, 1), bhsd(x.data(), 1, 1, 64, 1),
                              {.isa = s});
                found.push_back(s);
            } catch (const invalid_argument&) { // not here
            }
        }
        return found;
    }();
    return sets;
}

namespace detail {

/// Backward starts from the results of a call that does not round P: what is judged is this pass.
template <class T, class Number>
feature_results call_features_of(const attention_case& c, const attention_inputs& in, const feature_style& s) {
    using stat = std::conditional_t<std::is_same_v<T, double>, double, float>;
    const auto view = [](auto& t) { return bhsd(t.data.data(), t.extent[0], t.extent[1], t.extent[2], t.extent[3]); };
    const auto rows = [](auto& t) { return bhs(t.data.data(), t.extent[0], t.extent[1], t.extent[2]); };
    const auto q = converted<T>(in.q), k = converted<T>(in.k), v = converted<T>(in.v), dout = converted<T>(in.dout);
    std::vector<Number> slopes(c.slopes.begin(), c.slopes.end());
    const std::vector<Number> sinks(c.sinks.begin(), c.sinks.end());
    const bool slopes_a_batch = s.slopes_a_batch && c.batch > 1;
    if (slopes_a_batch) {
        for (index_t b = 1; b < c.batch; ++b) slopes.insert(slopes.end(), c.slopes.begin(), c.slopes.end());
    }
    options o;
    o.mask = mask_of(c);
    o.scale = c.scale;
    o.softcap = c.softcap;
    o.slopes = slopes;
    o.sinks = sinks;
    o.key_lengths = c.key_lengths;
    o.isa = s.set;
    o.threads = s.threads;
    o.plan = s.plan;
    o.accumulate = s.accumulate;
    const double before = s.accumulate ? 1.0 : std::numeric_limits<double>::quiet_NaN();
    tensor<T> out(c.out_extent());
    tensor<stat> lse(c.lse_extent());
    tensor<T> dq(c.q_extent(), T(static_cast<stat>(before))), dk(c.k_extent(), T(static_cast<stat>(before))),
        dv(c.v_extent(), T(static_cast<stat>(before)));
    feature_results r;
    std::vector<std::byte> work(static_cast<std::size_t>(explain(view(q), view(k), view(v), o).workspace_bytes));
    o.workspace = work;
    attention(view(q), view(k), view(v), view(out), rows(lse), o);
    r.out = converted<double>(out);
    r.lse = converted<double>(lse);
    r.matrix_unit = explain(view(q), view(k), view(v), o).isa == "amx";
    std::vector<Number> dslopes, dsinks;
    if (!slopes.empty() && !slopes_a_batch) dslopes.assign(c.slopes.size(), static_cast<Number>(before));
    if (!sinks.empty()) dsinks.assign(sinks.size(), static_cast<Number>(before));
    gradients to{.dq = view(dq), .dk = view(dk), .dv = view(dv)};
    if (!dslopes.empty()) to.dslopes = dslopes;
    if (!dsinks.empty()) to.dsinks = dsinks;
    o.workspace = {};
    if (r.matrix_unit) {
        options exact = o;
        exact.isa = isa::baseline;
        attention(view(q), view(k), view(v), view(out), rows(lse), exact);
    }
    work.resize(static_cast<std::size_t>(explain_backward(view(q), view(k), view(v), o).workspace_bytes));
    o.workspace = work;
    attention_backward(view(q), view(k), view(v), view(out), rows(lse), {.dout = view(dout)}, to, o);
    r.dq = converted<double>(dq);
    r.dk = converted<double>(dk);
    r.dv = converted<double>(dv);
    r.dslopes.assign(dslopes.begin(), dslopes.end());
    r.dsinks.assign(dsinks.begin(), dsinks.end());
    return r;
}

} // namespace detail

[[nodiscard]] inline feature_results call_features(const attention_case& c, const attention_inputs& in,
                                                   const feature_style& s) {
    const auto with = [&]<class T>(T*) {
        return s.wide_numbers ? detail::call_features_of<T, double>(c, in, s)
                              : detail::call_features_of<T, float>(c, in, s);
    };
    switch (s.type) {
    case dtype::fp64:
        return with(static_cast<double*>(nullptr));
    case dtype::fp16:
        return with(static_cast<float16*>(nullptr));
    case dtype::bf16:
        return with(static_cast<bfloat16*>(nullptr));
    default:
        return with(static_cast<float*>(nullptr));
    }
}

/// dslopes by definition, from the formula's P and dS of the final logits; `size`: the largest Σ |dS|·|distance| of a head.
[[nodiscard]] inline std::vector<double> slope_gradients(const attention_case& c, const attention_inputs& in,
                                                         double& size) {
    const auto forward = plain_forward<double>(c, in);
    std::vector<double> gradients(static_cast<std::size_t>(c.q_heads), 0.0);
    for (index_t h = 0; h < c.q_heads; ++h) {
        const index_t kv = h / (c.q_heads / c.kv_heads);
        double of_head = 0.0;
        for (index_t b = 0; b < c.batch; ++b) {
            for (index_t i = 0; i < c.q_len; ++i) {
                double delta = 0.0;
                for (index_t x = 0; x < c.value_dim; ++x) delta += in.dout(b, h, i, x) * forward.out(b, h, i, x);
                for (index_t j = 0; j < c.k_len; ++j) {
                    if (!c.visible(b, h, i, j)) continue;
                    double logit = 0.0;
                    for (index_t x = 0; x < c.head_dim; ++x) logit += in.q(b, h, i, x) * in.k(b, kv, j, x);
                    logit *= c.scale;
                    if (c.softcap > 0.0) logit = c.softcap * std::tanh(logit / c.softcap);
                    const auto distance = static_cast<double>(std::abs(i + c.offset_of(b) - j));
                    logit -= c.slopes[static_cast<std::size_t>(h)] * distance;
                    double dp = 0.0;
                    for (index_t x = 0; x < c.value_dim; ++x) dp += in.dout(b, h, i, x) * in.v(b, kv, j, x);
                    const double ds = std::exp(logit - forward.lse(b, h, i)) * (dp - delta);
                    gradients[static_cast<std::size_t>(h)] -= ds * distance;
                    of_head += std::abs(ds) * distance;
                }
            }
        }
        size = std::max(size, of_head);
    }
    return gradients;
}

} // namespace pantile::test
