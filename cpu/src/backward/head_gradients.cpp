#include "head_gradients.hpp"

#include <cmath>
#include <limits>

#include "../micro/tile_io.hpp"

namespace pantile::inline v0::cpu::backward {
namespace {

void put(const call& c, index_t h, const head_gradients& to, double x) {
    const auto store = [&](auto* data) {
        using number = std::remove_pointer_t<decltype(data)>;
        data[h] = static_cast<number>(c.accumulate ? static_cast<double>(data[h]) + x : x);
    };
    if (to.type == dtype::fp64) {
        store(static_cast<double*>(to.data));
    } else {
        store(static_cast<float*>(to.data));
    }
}

/// dO·O of a row of `dims` numbers, in eight sums.
template <class T, class From>
double dot_row(const From* x, index_t x_stride, const From* y, index_t y_stride, index_t dims) {
    double sum[8] = {};
    for (index_t i = 0; i < dims; ++i) {
        sum[i % 8] +=
            static_cast<double>(static_cast<T>(x[i * x_stride])) * static_cast<double>(static_cast<T>(y[i * y_stride]));
    }
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

template <class T>
double dsink_of(const call& c, index_t h) {
    const core::problem& p = c.problem;
    const double sink = p.features.sinks(0, h);
    double total = 0.0;
    if (sink == -std::numeric_limits<double>::infinity()) return total; // none: it has no weight
    for (index_t b = 0; b < p.batch; ++b) {
        const core::band band = p.band_of(p.sequence_of(b));
        const tensor_ref& lse = c.lse;
        const T* row_lse = static_cast<const T*>(lse.data) + b * lse.stride[0] + h * lse.stride[1];
        with_elements<T>(c.out.data, c.out.type, [&](const auto* data) {
            using number = std::remove_const_t<std::remove_pointer_t<decltype(data)>>;
            const auto* out = data + b * c.out.stride[0] + h * c.out.stride[1];
            const auto* dout = static_cast<const number*>(c.dout.data) + b * c.dout.stride[0] + h * c.dout.stride[1];
            double sum = 0.0;
            for (index_t i = 0; i < p.q_len; ++i) {
                if (band.keys(i).empty()) continue; // out is 0 whatever the sink is
                const double weight = std::exp(sink - static_cast<double>(row_lse[i * lse.stride[2]]));
                sum += weight * dot_row<T>(dout + i * c.dout.stride[2], c.dout.stride[3], out + i * c.out.stride[2],
                                           c.out.stride[3], p.value_dim);
            }
            total += sum;
        });
    }
    return -total;
}

} // namespace

index_t slope_sum_count(const call& c) {
    const core::head_numbers_ref& slopes = c.problem.features.slopes;
    return slopes.given() && slopes.batch_stride == 0 ? c.work_items() * c.problem.group() : 0;
}

void store_dslope(const call& c, index_t h, const head_gradients& to) {
    const core::problem& p = c.problem;
    double total = 0.0;
    for (index_t b = 0; b < p.batch; ++b) {
        for (index_t chunk = 0; chunk < c.key_chunks; ++chunk) {
            const index_t item = (chunk * p.batch + b) * p.kv_heads + p.kv_head(h);
            total += c.slope_sums[item * p.group() + h % p.group()];
        }
    }
    put(c, h, to, -total);
}

void store_dsink(const call& c, index_t h, const head_gradients& to) {
    const bool wide = c.lse.type == dtype::fp64;
    put(c, h, to, wide ? dsink_of<double>(c, h) : dsink_of<float>(c, h));
}

} // namespace pantile::inline v0::cpu::backward
