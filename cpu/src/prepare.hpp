/// \file
/// From the arguments of a public call to a checked, planned call for the kernels: what attention, attention_partial and
/// explain have in common.
#pragma once

#include <pantile/core/check.hpp>
#include <pantile/options.hpp>
#include <pantile/tensor.hpp>

#include "kernels.hpp"

namespace pantile::cpu {

template <class T>
inline constexpr element element_of = element::f32;
template <>
inline constexpr element element_of<double> = element::f64;
template <>
inline constexpr element element_of<float16> = element::f16;
template <>
inline constexpr element element_of<bfloat16> = element::bf16;

template <class T>
[[nodiscard]] tensor_ref refer(const tensor_view<T>& t) {
    using number = std::remove_const_t<T>;
    return {const_cast<number*>(t.data), // NOLINT(cppcoreguidelines-pro-type-const-cast): inputs are only read
            element_of<number>,
            {t.stride[0], t.stride[1], t.stride[2], t.stride[3]}};
}

template <class T>
[[nodiscard]] row_ref refer(const row_view<T>& t) {
    return {t.data, {t.stride[0], t.stride[1], t.stride[2]}};
}

/// A forward call that is ready to run.
struct prepared {
    forward_call call;
    const kernels* isa = nullptr;
    const forward_kernels* forward = nullptr;
    bool decode = false;      ///< few rows: the query heads of a kv head are one piece of work
    index_t number_bytes = 4; ///< of compute precision
    index_t threads = 1;
    index_t row_tiles = 0;
    index_t scratch_bytes = 0; ///< a thread
    index_t shared_bytes = 0;  ///< partial results of split keys

    /// Heads that are pieces of work.
    [[nodiscard]] index_t heads() const { return decode ? call.problem.kv_heads : call.problem.q_heads; }
    /// Pieces of work: (batch, head, row tile, split).
    [[nodiscard]] index_t works() const { return call.problem.batch * heads() * row_tiles * call.plan.key_splits; }
};

/// Is this a forward call that a matrix unit of 16 bits serves, where there is one?
[[nodiscard]] bool wants_matrix_unit(const core::problem& p, element type);

/// Chooses kernels, plan and threads for a checked problem.
[[nodiscard]] prepared prepare(const core::problem& p, const tensor_ref& q, const tensor_ref& k, const tensor_ref& v,
                               const options& o);
/// The same with given kernels.
[[nodiscard]] prepared prepare(const core::problem& p, const tensor_ref& q, const tensor_ref& k, const tensor_ref& v,
                               const options& o, const kernels& chosen);

/// What the options name in memory, for core::check_memory.
[[nodiscard]] inline core::option_memory memory_of(const options& o) {
    return {o.key_lengths.data(), static_cast<index_t>(o.key_lengths.size()), o.workspace.data(),
            static_cast<index_t>(o.workspace.size())};
}

/// Checks q, k, v and the options.
template <class T>
[[nodiscard]] prepared prepare(const tensor_view<const T>& q, const tensor_view<const T>& k,
                               const tensor_view<const T>& v, const options& o) {
    const core::problem p =
        core::check_inputs(core::describe("q", q), core::describe("k", k), core::describe("v", v), core::describe(o));
    return prepare(p, refer(q), refer(k), refer(v), o);
}

} // namespace pantile::cpu
