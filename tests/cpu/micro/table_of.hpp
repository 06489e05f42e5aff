/// \file
/// Fills a micro_table for one architecture.
#pragma once

#include "micro/exp2.hpp"
#include "micro/product.hpp"
#include "micro/transpose.hpp"
#include "score/stage.hpp"
#include "table.hpp"

namespace pantile_test {

namespace cpu = pantile::cpu;

template <class V>
struct plain_store {
    using T = cpu::number_t<V>;
    T* c;
    index_t stride;
    template <int rows, int vectors>
    PANTILE_INLINE void operator()(index_t m0, cpu::register_block<V, rows, vectors>& block) const {
        cpu::unroll<rows>([&](auto m) PANTILE_INLINE {
            cpu::unroll<vectors>([&](auto v) PANTILE_INLINE {
                block.at[m][v].store_unaligned(c + (m0 + m) * stride + v * cpu::lanes<V>);
            });
        });
    }
};

template <class V, int vectors, class A>
void run_product_with(const product_case<cpu::number_t<V>>& p, const A& a) {
    using T = cpu::number_t<V>;
    const cpu::vectors_of<T> b{p.b, p.b_stride};
    const plain_store<V> store{p.c, p.c_stride};
    if (p.ends != nullptr) {
        cpu::product<V, vectors>(p.m, a, b, cpu::staircase_sum{p.ends}, store);
    } else {
        cpu::product<V, vectors>(p.m, a, b, cpu::whole_sum{p.k}, store);
    }
}

template <class V>
void run_product(const product_case<cpu::number_t<V>>& p) {
    using T = cpu::number_t<V>;
    cpu::unroll<cpu::panel_vectors<V>>([&](auto v) PANTILE_INLINE {
        if (p.vectors != v + 1) return;
        if (p.columns) {
            run_product_with<V, v + 1>(p, cpu::columns_of<T>{p.a, p.a_stride});
        } else {
            run_product_with<V, v + 1>(p, cpu::rows_of<T>{p.a, p.a_stride});
        }
    });
}

template <class V>
void run_exp2(const cpu::number_t<V>* x, cpu::number_t<V>* y, index_t n) {
    for (index_t i = 0; i < n; i += cpu::lanes<V>) cpu::power_of_two(V::load_unaligned(x + i)).store_unaligned(y + i);
}

template <class V>
void run_transpose(index_t rows, index_t cols, const cpu::number_t<V>* from, index_t from_stride, cpu::number_t<V>* to,
                   index_t to_stride, cpu::number_t<V> factor) {
    cpu::transpose_copy<V>(rows, cols, from, from_stride, to, to_stride, cpu::scaled_by<cpu::number_t<V>>{factor});
}

template <class V, class From>
void run_widen(const From* x, float* y, index_t n) {
    for (index_t i = 0; i < n; i += cpu::lanes<V>) cpu::load_as<V>(x + i).store_unaligned(y + i);
}

template <class V, class To>
void run_narrow(const float* x, To* y, index_t n) {
    for (index_t i = 0; i < n; i += cpu::lanes<V>) cpu::store_as(V::load_unaligned(x + i), y + i);
}

template <class V>
void run_tanh(const cpu::number_t<V>* x, cpu::number_t<V>* y, index_t n) {
    for (index_t i = 0; i < n; i += cpu::lanes<V>) {
        cpu::hyperbolic_tangent(V::load_unaligned(x + i)).store_unaligned(y + i);
    }
}

template <class V>
cpu::score::fragment<V> fragment_of(const stage_case<cpu::number_t<V>>& c) {
    using T = cpu::number_t<V>;
    return {c.scores,
            cpu::lanes<V>,
            0,
            c.keys,
            1,
            cpu::score::distances<V>(c.band, c.row, c.first_key),
            V(pantile::core::score_function<T>::slope_of(c.features, 0, 0)),
            cpu::score::keys_seen<V>(c.band, c.row, c.first_key),
            c.hides};
}

template <class V>
void run_fold(const stage_case<cpu::number_t<V>>& c) {
    const cpu::score::stage<V> stage(c.features, c.exponent);
    stage.fold(fragment_of<V>(c), V::load_unaligned(c.largest)).store_unaligned(c.largest);
}

template <class V>
void run_probabilities(const stage_case<cpu::number_t<V>>& c) {
    const cpu::score::stage<V> stage(c.features, c.exponent);
    stage.probabilities(fragment_of<V>(c),
                        {V::load_unaligned(c.reference), V::load_unaligned(c.log_sum), c.derivative});
}

template <class V>
void run_gradients(const stage_case<cpu::number_t<V>>& c) {
    const cpu::score::stage<V> stage(c.features, c.exponent);
    stage.gradients(fragment_of<V>(c), c.derivative, true).store_unaligned(c.largest);
}

template <class V>
constexpr micro_kernels<cpu::number_t<V>> micro_kernels_of() {
    return {cpu::lanes<V>, cpu::panel_vectors<V>, run_product<V>,       run_exp2<V>,     run_transpose<V>,
            run_tanh<V>,   run_fold<V>,           run_probabilities<V>, run_gradients<V>};
}

template <class Arch>
constexpr micro_table micro_table_of(pantile::isa isa, const char* name) {
    using V = xsimd::batch<float, Arch>;
    return {isa,
            name,
            micro_kernels_of<V>(),
            micro_kernels_of<xsimd::batch<double, Arch>>(),
            {run_widen<V, pantile::float16>, run_widen<V, pantile::bfloat16>, run_narrow<V, pantile::float16>,
             run_narrow<V, pantile::bfloat16>}};
}

} // namespace pantile_test
