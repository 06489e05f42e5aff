#include "checks.hpp"

#include <exception>
#include <fstream>

#include <nlohmann/json.hpp>
#include <pantile/error.hpp>

#include <support/vector_case.hpp>

namespace pantile::conformance {

using test::backward_bounds;
using test::forward_bounds;
using test::row_bounds;
using test::verdict;

void require_served(const attention_case& c) {
    std::string needs;
    const auto note = [&](bool needed, const char* feature) {
        if (needed) needs += (needs.empty() ? "" : ", ") + std::string(feature);
    };
    note(!c.bias.empty(), "bias");
    note(!c.block_mask.empty(), "block mask");
    if (!needs.empty()) throw unsupported_feature{needs};
}

namespace {

/// The same distance for every element, relative above 1.
row_bounds uniform_bounds(const tensor<double>& expected, double tolerance) {
    row_bounds r{expected, tensor<double>({expected.extent[0], expected.extent[1], expected.extent[2], 1})};
    r.allowed.for_each([&](index_t b, index_t h, index_t i, index_t) {
        double size = 1.0;
        for (index_t x = 0; x < expected.extent[3]; ++x) {
            const double e = std::abs(expected(b, h, i, x));
            if (std::isfinite(e)) size = std::max(size, e);
        }
        r.allowed(b, h, i) = tolerance * size;
    });
    return r;
}

/// Every tensor of a result against its bound: the worst one speaks.
class comparison {
  public:
    void hold(const tensor<double>& actual, const row_bounds& bounds, const char* what) {
        const verdict v = test::within(actual, bounds, what);
        if (v.ok || v.worst <= worst_) return;
        worst_ = v.worst;
        text_ = v.text;
    }
    [[nodiscard]] report result() const {
        if (text_.empty()) return {};
        return {outcome::failed, text_};
    }

  private:
    double worst_ = 0.0;
    std::string text_;
};

void hold_all(comparison& c, const results& r, const forward_bounds& f, const backward_bounds* g) {
    c.hold(r.out, f.out, "O");
    c.hold(r.lse, f.lse, "LSE");
    if (g == nullptr) return;
    c.hold(r.dq, g->dq, "dQ");
    c.hold(r.dk, g->dk, "dK");
    c.hold(r.dv, g->dv, "dV");
    if (!g->dslopes.expected.empty()) c.hold(r.dslopes, g->dslopes, "dslopes");
    if (!g->dsinks.expected.empty()) c.hold(r.dsinks, g->dsinks, "dsinks");
}

/// One number a query head, as a row each.
tensor<double> as_rows(const std::vector<double>& heads) {
    tensor<double> t({1, static_cast<index_t>(heads.size()), 1, 1});
    t.data = heads;
    return t;
}

} // namespace

report check(const expectation& e, const settings& s) {
    const attention_case& c = e.problem;
    const dtype type = s.type.value_or(e.type);
    const bool on_gpu = s.backend == "cuda";
    const bool backward = e.backward && !on_gpu; // the CUDA machine has no backward pass: forward only
    const bool own_type = type == e.type;

    attention_inputs in = e.inputs;
    for (tensor<double>* x : {&in.q, &in.k, &in.v, &in.dout}) *x = rounded(*x, type);
    const results r = s.run(c, in, type, e.memory, backward);

    comparison compare;
    if (own_type && e.tolerance > 0.0) {
        const auto hold = [&](const tensor<double>& actual, const tensor<double>& stored, const char* what) {
            if (!stored.empty()) compare.hold(actual, uniform_bounds(stored, e.tolerance), what);
        };
        hold(r.out, e.stored.out, e.out_name);
        hold(r.lse, e.stored.lse, "LSE");
        if (backward) {
            hold(r.dq, e.stored.dq, "dQ");
            hold(r.dk, e.stored.dk, "dK");
            hold(r.dv, e.stored.dv, "dV");
            hold(r.dslopes, e.stored.dslopes, "dslopes");
            hold(r.dsinks, e.stored.dsinks, "dsinks");
        }
        return compare.result();
    }

    // By the error rule, around the stored answers; in another type around the reference on the rounded inputs, once the
    // reference is known to agree with what is stored.
    forward_bounds f = bound_forward(c, in, type, type, r.rounding, r.sums);
    backward_bounds g;
    if (backward) g = bound_backward(c, in, type, type, r.rounding);
    if (own_type) {
        f.out.expected = e.stored.out;
        if (!e.stored.lse.empty()) f.lse.expected = e.stored.lse;
        if (backward) {
            g.dq.expected = e.stored.dq;
            g.dk.expected = e.stored.dk;
            g.dv.expected = e.stored.dv;
            if (!e.stored.dslopes.empty()) g.dslopes.expected = e.stored.dslopes;
            if (!e.stored.dsinks.empty()) g.dsinks.expected = e.stored.dsinks;
        }
    } else {
        comparison reference;
        const double tolerance = e.tolerance > 0.0 ? e.tolerance : 1e-11;
        const auto hold = [&](const tensor<double>& actual, const tensor<double>& stored, const char* what) {
            if (!stored.empty()) reference.hold(actual, uniform_bounds(stored, tolerance), what);
        };
        const auto forward = test::plain_forward<double>(c, e.inputs);
        hold(forward.out, e.stored.out, "the reference's O");
        hold(forward.lse, e.stored.lse, "the reference's LSE");
        if (backward) {
            const auto gradients = test::plain_backward<double>(c, e.inputs);
            hold(gradients.dq, e.stored.dq, "the reference's dQ");
            hold(gradients.dk, e.stored.dk, "the reference's dK");
            hold(gradients.dv, e.stored.dv, "the reference's dV");
            hold(as_rows(gradients.dslopes), e.stored.dslopes, "the reference's dslopes");
            hold(as_rows(gradients.dsinks), e.stored.dsinks, "the reference's dsinks");
        }
        if (reference.result().result == outcome::failed) return reference.result();
    }
    hold_all(compare, r, f, backward ? &g : nullptr);
    return compare.result();
}

report run_case(const std::filesystem::path& folder, const settings& s) {
    try {
        std::ifstream file(folder / "case.json");
        const nlohmann::json j = nlohmann::json::parse(file);
        const bool onnx = j.contains("attributes") || j.contains("opset");
        const expectation e = onnx ? read_onnx_case(folder) : read_float64_case(folder);
        if (s.run == nullptr) return {outcome::unsupported, "this build has no backend \"" + s.backend + "\""};
        return check(e, s);
    } catch (const unsupported_feature& u) {
        return {outcome::unsupported, u.text};
    } catch (const test::unknown_feature& u) {
        return {outcome::unsupported, u.what()};
    } catch (const unsupported& u) {
        return {outcome::unsupported, u.what()};
    } catch (const std::exception& e) {
        return {outcome::failed, e.what()};
    }
}

} // namespace pantile::conformance
