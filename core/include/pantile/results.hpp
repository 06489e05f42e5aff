/// \file
/// What calls give, and what a backward call starts from, by name: .out, .lse, .dq, … A field more is a result more, in every room.
#pragma once

#include <type_traits>

#include <pantile/core/tensor_ref.hpp>
#include <pantile/head_numbers.hpp>
#include <pantile/tensor.hpp>

// Said where a call is compiled.
#define PANTILE_SAYS_NAMED                                                                                             \
    "pantile: results by name are views, not of const: out, dq, dk and dv of tensors (bshd, bhsd, strided), "          \
    "lse of rows (bhs), of float, double, float16 or bfloat16"

namespace pantile::inline v0 {

/// A tensor of this rank that a call writes: from a view whose numbers are not const, or from a tensor_ref (bindings, whose
/// types are known at run time). By default: not wanted.
template <int wanted_rank>
struct result_ref : tensor_ref {
    constexpr result_ref() { rank = wanted_rank; }
    template <class T, memory where>
        requires number<T>                                           // which no const type is
    constexpr result_ref(const basic_view<T, wanted_rank, where>& v) // NOLINT(google-explicit-constructor)
        : tensor_ref(v), wanted(true) {}
    constexpr explicit result_ref(const tensor_ref& t) : tensor_ref(t), wanted(true) {}
    /// What is no such view is refused by a sentence instead of a list of candidates.
    template <class Other>
        requires(!std::is_base_of_v<tensor_ref, Other>)
    constexpr result_ref(const Other&) { // NOLINT(google-explicit-constructor)
        static_assert(sizeof(Other) == 0, PANTILE_SAYS_NAMED);
    }

    bool wanted = false;
};

/// What a forward call gives. out must be given; the others are written if they are.
struct results {
    result_ref<4> out{};
    result_ref<3> lse{}; ///< natural log-sum-exp of each row's logits, fp32 (fp64 for fp64)
};

/// The gradients of the loss that a backward call starts from.
struct loss_gradients {
    tensor_ref dout{}; ///< (B, Hq, Sq, E), of q's type
};

/// What a backward call gives; dq, dk and dv must be given, the others are written if they are.
struct gradients {
    result_ref<4> dq{};       ///< (B, Hq, Sq, D)
    result_ref<4> dk{};       ///< (B, Hkv, Sk, D)
    result_ref<4> dv{};       ///< (B, Hkv, Sk, E)
    head_gradients dslopes{}; ///< (Hq), summed over batches; where options.slopes is one a query head
    head_gradients dsinks{};  ///< (Hq), summed over batches and rows
};

/// The three tensors of a partial result.
struct partial_ref {
    tensor_ref out{};
    tensor_ref max{};
    tensor_ref sum{};

    constexpr partial_ref() = default;
    constexpr partial_ref(const tensor_ref& o, const tensor_ref& m, const tensor_ref& s) : out(o), max(m), sum(s) {}
    template <class T, memory where>
        requires number<std::remove_const_t<T>>
    constexpr partial_ref(const basic_partial_view<T, where>& p) // NOLINT(google-explicit-constructor)
        : out(p.out), max(p.max), sum(p.sum) {}
};

} // namespace pantile::inline v0
