#include <support/data.hpp>

#include <algorithm>
#include <cmath>

namespace pantile::test {

const char* name(data_kind k) {
    switch (k) {
    case data_kind::normal:
        return "normal";
    case data_kind::uniform:
        return "uniform";
    case data_kind::large_logits:
        return "large_logits";
    case data_kind::constant_rows:
        return "constant_rows";
    case data_kind::repeated_rows:
        return "repeated_rows";
    case data_kind::growing_maxima:
        return "growing_maxima";
    case data_kind::falling_maxima:
        return "falling_maxima";
    case data_kind::tiny:
        return "tiny";
    case data_kind::zeros:
        return "zeros";
    }
    return "?";
}

namespace {

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere, which std::normal_distribution is not.
class random_source {
  public:
    explicit random_source(std::uint64_t seed) : state_(seed) {}
    double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
    double normal() { // Box-Muller
        const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
        return radius * std::cos(6.283185307179586 * uniform());
    }

  private:
    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15ULL;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }
    std::uint64_t state_;
};

void fill(tensor<double>& t, random_source& r, data_kind kind) {
    for (double& x : t.data) {
        switch (kind) {
        case data_kind::uniform:
            x = r.uniform();
            break;
        case data_kind::zeros:
            x = r.uniform() < 0.6 ? 0.0 : r.normal();
            break;
        default:
            x = r.normal();
        }
    }
}

/// Every row becomes one of the first three.
void repeat_rows(tensor<double>& t, random_source& r) {
    for (index_t b = 0; b < t.extent[0]; ++b) {
        for (index_t h = 0; h < t.extent[1]; ++h) {
            for (index_t i = 3; i < t.extent[2]; ++i) {
                std::copy_n(t.row(b, h, static_cast<index_t>(3.0 * r.uniform())), t.extent[3], t.row(b, h, i));
            }
        }
    }
}

} // namespace

attention_inputs make_inputs(const attention_case& c, dtype t, data_kind kind, std::uint64_t seed) {
    attention_inputs in{tensor<double>(c.q_extent()), tensor<double>(c.k_extent()), tensor<double>(c.v_extent()),
                        tensor<double>(c.out_extent())};
    random_source r(seed);
    for (tensor<double>* x : {&in.q, &in.k, &in.v, &in.dout}) fill(*x, r, kind);

    const double d = std::max<double>(static_cast<double>(c.head_dim), 1.0);
    const double scale = std::abs(c.scale) > 0.0 ? std::abs(c.scale) : 1.0;
    switch (kind) {
    case data_kind::large_logits:
    case data_kind::repeated_rows: { // logits of about 300, whatever the scale
        const double factor = std::sqrt(300.0 / (scale * std::sqrt(d)));
        for (double& x : in.q.data) x *= factor;
        for (double& x : in.k.data) x *= factor;
        if (kind == data_kind::large_logits) break;
        for (tensor<double>* x : {&in.q, &in.k, &in.v, &in.dout}) repeat_rows(*x, r);
        break;
    }
    case data_kind::constant_rows:
        in.k.for_each([&](index_t b, index_t h, index_t i, index_t x) {
            if (i > 0) in.k(b, h, i, x) = in.k(b, h, 0, x);
        });
        break;
    case data_kind::growing_maxima:
    case data_kind::falling_maxima: { // q·k = ±j/3 for every row, before the scale
        const double sign = (kind == data_kind::growing_maxima) == (c.scale >= 0.0) ? 1.0 : -1.0;
        for (double& x : in.q.data) x = 1.0;
        in.k.for_each([&](index_t b, index_t h, index_t j, index_t x) {
            in.k(b, h, j, x) = sign * static_cast<double>(j) / (3.0 * d * scale) + 0.01 * in.k(b, h, j, x);
        });
        break;
    }
    case data_kind::tiny: {
        const double factor = t == dtype::fp16 ? 0x1p-20 : t == dtype::fp64 ? 0x1p-1040 : 0x1p-130;
        for (double& x : in.v.data) x *= factor;
        for (double& x : in.k.data) x *= factor;
        break;
    }
    default:
        break;
    }
    for (tensor<double>* x : {&in.q, &in.k, &in.v, &in.dout}) *x = rounded(*x, t);
    return in;
}

attention_inputs as_stored(const attention_inputs& in, layout l, dtype t) {
    const auto through = [l, t](const tensor<double>& x) {
        return t == dtype::fp64   ? stored<double>(x, l).values()
               : t == dtype::fp32 ? stored<float>(x, l).values()
               : t == dtype::fp16 ? stored<float16>(x, l).values()
                                  : stored<bfloat16>(x, l).values();
    };
    return {through(in.q), through(in.k), through(in.v), in.dout};
}

void fill_features(attention_case& c, std::uint64_t seed) {
    random_source r(seed ^ 0x5851f42d4c957f2dULL);
    for (double& x : c.slopes) x = rounded((r.uniform() < 0.15 ? -0.5 : 0.5) * r.uniform(), dtype::fp32);
    for (double& x : c.sinks)
        x = r.uniform() < 0.15 ? -std::numeric_limits<double>::infinity() : rounded(2.0 * r.normal(), dtype::fp32);
    for (double& x : c.bias.data) x = r.uniform() < 0.05 ? -std::numeric_limits<double>::infinity() : r.normal();
    for (double& x : c.weight.data) x = r.uniform() < 0.3 ? 0.0 : 1.0 / 0.7;
    for (unsigned char& x : c.block_mask.data) x = r.uniform() < 0.5 ? 1 : 0;
}

} // namespace pantile::test
