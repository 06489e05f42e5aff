/// \file
/// The micro-kernels of one instruction set behind plain functions, so that a test compiled for any processor can call
/// them after asking whether this one has the instructions.
#pragma once

#include <pantile/core/band.hpp>
#include <pantile/core/features.hpp>
#include <pantile/float16.hpp>
#include <pantile/options.hpp>

namespace pantile_test {

using pantile::index_t;

/// One product C[m][n] = Σ_k A(m, k)·B[k][n], all arrays dense or with the strides given.
template <class T>
struct product_case {
    bool columns = false; ///< A(m, k) is a[k·a_stride + m], else a[m·a_stride + k]
    index_t m = 0;
    index_t k = 0;
    int vectors = 1; ///< n = vectors · lanes
    const T* a = nullptr;
    index_t a_stride = 0;
    const T* b = nullptr;
    index_t b_stride = 0;
    const index_t* ends = nullptr; ///< not null: vector v sums k < ends[v] only
    T* c = nullptr;
    index_t c_stride = 0;
};

/// A column of scores, [key][lanes], before the score stage: rows `row`, `row` + 1, … of the sequence, keys from `first_key` on.
template <class T>
struct stage_case {
    pantile::core::features features; ///< the slopes' first number is the head's
    double exponent = 1.0;
    pantile::core::band band;
    index_t row = 0;
    index_t first_key = 0;
    index_t keys = 0;
    bool hides = false;
    T* scores = nullptr;
    T* largest = nullptr;         ///< [lanes]: folded into
    const T* reference = nullptr; ///< [lanes], as the next one; for P
    const T* log_sum = nullptr;
    T* derivative = nullptr;
};

template <class T>
struct micro_kernels {
    int lanes = 0;
    int panel_vectors = 0;
    void (*product)(const product_case<T>&) = nullptr;
    void (*exp2)(const T* x, T* y, index_t n) = nullptr; ///< n a multiple of lanes
    void (*transpose)(index_t rows, index_t cols, const T* from, index_t from_stride, T* to, index_t to_stride,
                      T factor) = nullptr;
    void (*tanh)(const T* x, T* y, index_t n) = nullptr; ///< n a multiple of lanes
    void (*fold)(const stage_case<T>&) = nullptr;
    void (*probabilities)(const stage_case<T>&) = nullptr;
    /// dS in `scores`: multiplied by `derivative` where there is a cap; the lanes' sums of dS·|distance| go to `largest`.
    void (*gradients)(const stage_case<T>&) = nullptr;
};

/// n a multiple of lanes.
struct conversions {
    void (*widen_f16)(const pantile::float16* x, float* y, index_t n) = nullptr;
    void (*widen_bf16)(const pantile::bfloat16* x, float* y, index_t n) = nullptr;
    void (*narrow_f16)(const float* x, pantile::float16* y, index_t n) = nullptr;
    void (*narrow_bf16)(const float* x, pantile::bfloat16* y, index_t n) = nullptr;
};

struct micro_table {
    pantile::isa isa = pantile::isa::baseline;
    const char* name = "";
    micro_kernels<float> f32;
    micro_kernels<double> f64;
    conversions convert;

    template <class T>
    [[nodiscard]] const micro_kernels<T>& of() const {
        if constexpr (sizeof(T) == 8) {
            return f64;
        } else {
            return f32;
        }
    }
};

extern const micro_table baseline_micro;
#if defined(PANTILE_X86)
extern const micro_table avx2_micro;
extern const micro_table avx512_micro;
inline const micro_table* const micro_tables[] = {&baseline_micro, &avx2_micro, &avx512_micro};
#else
inline const micro_table* const micro_tables[] = {&baseline_micro};
#endif

} // namespace pantile_test
