/// \file
/// Exact attention on the host: out = softmax(scale · q·kᵀ + mask) · v, without ever holding the score matrix.
///
/// Shapes, for every function below, as (batch, heads, length, dim):
///     q, dq         (B, Hq,  Sq, D)          k, dk   (B, Hkv, Sk, D)
///     out, dout     (B, Hq,  Sq, E)          v, dv   (B, Hkv, Sk, E)          lse   (B, Hq, Sq)
/// Hq must be a multiple of Hkv: query head h reads kv head h / (Hq / Hkv) (GQA, MQA). E may differ from D. Sizes may be 0.
/// Inputs take any strides; outputs are overwritten and must overlap neither each other nor an input, and options.workspace
/// must overlap no argument. A tensor has at most 2^58 elements, where a size of 0 counts as 1.
/// A row that sees no key gets out = 0, lse = -inf and gradients 0.
///
/// Every function throws invalid_argument before any work if shapes, strides, options or memory do not fit, naming the
/// argument, its value and the limit; and unsupported for a valid request that this machine does not serve.
/// The same call gives the same bits for any number of threads, in whatever floating-point environment it is made (rounding
/// mode, FTZ, DAZ, traps), and gives that back as it was. Work memory is linear in Sq + Sk.
/// Calls may come from any thread, also while it or the process ends, and from a child process; one that was forked after
/// a call on several threads runs its own calls on one.
///
/// Sources: FlashAttention (arXiv 2205.14135), FlashAttention-2 (arXiv 2307.08691); docs/numerics.md states the error.
#pragma once

#if defined(PANTILE_LINKS_CORE) && !defined(PANTILE_LINKS_CPU) // what pantile's CMake targets say of themselves
#error "<pantile/attention.hpp> belongs to the CPU's library: link pantile::pantile (or pantile::cpu)"
#endif

#include <iosfwd>
#include <string>

// First, so that what they say of a wrong argument is near the top of what a compiler prints.
#include <pantile/lengths.hpp>

#include <pantile/head_numbers.hpp>
#include <pantile/results.hpp>

#include <pantile/accepted.hpp>
#include <pantile/core/traffic.hpp>
#include <pantile/error.hpp>
#include <pantile/options.hpp>
#include <pantile/tensor.hpp>
#include <pantile/version.hpp>

namespace pantile::inline v0 {

/// How a call would run: what was chosen, and the traffic between a core's near memory and the rest that the
/// schedule causes (core/traffic.hpp, the formula that the simulator verifies).
struct explanation {
    std::string machine;         ///< "cpu"
    std::string isa;             ///< baseline, avx2, avx512, amx
    std::string kernel;          ///< tile (queries in SIMD lanes), decode (few rows, split keys), backward
    tile_plan tiles;             ///< row tile, key tile, key splits
    int threads = 1;             ///< threads that the call would use
    index_t workspace_bytes = 0; ///< all threads' scratch and split partials together
    core::traffic traffic;       ///< predicted reads and writes, elements a tensor
    index_t read_bytes = 0;      ///< the same in bytes
    index_t write_bytes = 0;
    double flops = 0; ///< of the visible pairs: 2·(D + E) each
    std::string note; ///< why a better instruction set that the processor has is not used; mostly empty
};

/// The calls on tensors whose types are known at run time: what bindings to other languages use, and what the functions below
/// are made of. A type that does not fit throws invalid_argument, as a shape does.
namespace erased {
PANTILE_API void attention(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v, const results& to,
                           const options& o);
PANTILE_API void attention_backward(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v,
                                    const tensor_ref& out, const tensor_ref& lse, const loss_gradients& from,
                                    const gradients& to, const options& o);
PANTILE_API void attention_partial(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v,
                                   const partial_ref& part, const options& o);
PANTILE_API void merge(const partial_ref& a, const partial_ref& b, const partial_ref& part);
PANTILE_API void finish(const partial_ref& part, const results& to);
[[nodiscard]] PANTILE_API explanation explain(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v,
                                              const options& o);
[[nodiscard]] PANTILE_API explanation explain_backward(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v,
                                                       const options& o);
} // namespace erased

// Below, Q, K, V, … are views: tensor_view<T> or tensor_view<const T> of float, double, float16 or bfloat16, T the same for q, k
// and v; of rows row_view<float> (row_view<double> where T is double). A call that does not fit says so when it is compiled.

// ---------------------------------------------------------------------------------------------------------- forward
/// fp32 and fp64 in their own precision. fp16 and bf16 are read exactly, computed in fp32 and rounded once, at the output;
/// their out may also be fp32.
template <class Q, class K, class V, class Out>
void attention(const Q& q, const K& k, const V& v, const Out& out, const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::in_host_memory<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    if constexpr (detail::inputs_fit<Q, K, V>) {
        static_assert(detail::are_tensors<Out> && detail::can_be_written<Out> && detail::of_results_type<Q, Out> &&
                          detail::same_memory<Q, Out>,
                      PANTILE_SAYS_RESULT);
    }
    erased::attention(detail::in(q), detail::in(k), detail::in(v), {detail::out<4>(out), {}}, o);
}

/// The same; lse is the natural log-sum-exp of the row's logits.
template <class Q, class K, class V, class Out, class Lse>
    requires(detail::are_rows<Lse> || !detail::on_a_device<Q>)
void attention(const Q& q, const K& k, const V& v, const Out& out, const Lse& lse, const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::in_host_memory<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    if constexpr (detail::inputs_fit<Q, K, V>) {
        static_assert(detail::are_tensors<Out> && detail::can_be_written<Out> && detail::of_results_type<Q, Out> &&
                          detail::same_memory<Q, Out>,
                      PANTILE_SAYS_RESULT);
        if constexpr (detail::are_tensors<Out>) {
            static_assert(detail::are_rows<Lse> && detail::can_be_written<Lse> && detail::of_computed_type<Q, Lse> &&
                              detail::same_memory<Q, Lse>,
                          PANTILE_SAYS_LSE);
        }
    }
    erased::attention(detail::in(q), detail::in(k), detail::in(v), {detail::out<4>(out), detail::out<3>(lse)}, o);
}

/// The same with results by name, {.out = out, .lse = lse}; lse on request. Their types are looked at when the call runs.
template <class Q, class K, class V>
void attention(const Q& q, const K& k, const V& v, const results& to, const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::in_host_memory<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    erased::attention(detail::in(q), detail::in(k), detail::in(v), to, o);
}

/// Says what is missing.
template <class Q, class K, class V>
void attention(const Q&, const K&, const V&) {
    static_assert(!sizeof(Q), PANTILE_SAYS_OUT);
}

// --------------------------------------------------------------------------------------------------------- backward
/// Gradients of a loss whose gradient with respect to out is dout; out and lse are what the forward call gave, over these keys
/// or over more of them (a step of a ring). Probabilities are recomputed from lse (FlashAttention-2, Algorithm 2), where it is
/// large from the scores' own maximum and sum (docs/numerics.md). With options.accumulate the gradients are added to dq, dk, dv.
/// dK and dV of a kv head are summed over its query heads in fp32 (fp64 for fp64) and rounded once; the gradients of fp16
/// and bf16 tensors may also be fp32, all three or none.
template <class Q, class K, class V, class Out, class Lse, class DOut, class DQ, class DK, class DV>
void attention_backward(const Q& q, const K& k, const V& v, const Out& out, const Lse& lse, const DOut& dout,
                        const DQ& dq, const DK& dk, const DV& dv, const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::in_host_memory<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    if constexpr (detail::inputs_fit<Q, K, V>) {
        static_assert(detail::are_tensors<Out, DOut> && detail::same_type_of_number<Q, Out, DOut> &&
                          detail::are_rows<Lse> && detail::of_computed_type<Q, Lse> &&
                          detail::same_memory<Q, Out, Lse, DOut>,
                      PANTILE_SAYS_GIVEN);
        static_assert(detail::are_tensors<DQ, DK, DV> && detail::can_be_written<DQ, DK, DV> &&
                          detail::of_results_type<Q, DQ, DK, DV> && detail::same_type_of_number<DQ, DK, DV> &&
                          detail::same_memory<Q, DQ, DK, DV>,
                      PANTILE_SAYS_GRADIENTS);
    }
    erased::attention_backward(detail::in(q), detail::in(k), detail::in(v), detail::in(out), detail::in(lse),
                               {detail::in(dout)}, {detail::out<4>(dq), detail::out<4>(dk), detail::out<4>(dv)}, o);
}

/// The same by name: {.dout = dout}, {.dq = dq, .dk = dk, .dv = dv}.
template <class Q, class K, class V, class Out, class Lse>
void attention_backward(const Q& q, const K& k, const V& v, const Out& out, const Lse& lse, const loss_gradients& from,
                        const gradients& to, const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::in_host_memory<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    if constexpr (detail::inputs_fit<Q, K, V>) {
        static_assert(detail::are_tensors<Out> && detail::same_type_of_number<Q, Out> && detail::are_rows<Lse> &&
                          detail::of_computed_type<Q, Lse> && detail::same_memory<Q, Out, Lse>,
                      PANTILE_SAYS_GIVEN);
    }
    erased::attention_backward(detail::in(q), detail::in(k), detail::in(v), detail::in(out), detail::in(lse), from, to,
                               o);
}

/// Says what is missing.
template <class Q, class... Others>
void attention_backward(const Q&, const Others&...) {
    static_assert(!sizeof(Q), PANTILE_SAYS_BACKWARD);
}

// -------------------------------------------------------------------------------------------------- partial results
/// Attention of q over these keys only, as a partial result (see basic_partial_view). Say where the keys stand with
/// options.mask.at_offset.
template <class Q, class K, class V, class Part>
void attention_partial(const Q& q, const K& k, const V& v, const Part& part, const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::in_host_memory<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    if constexpr (detail::inputs_fit<Q, K, V>) {
        static_assert(detail::are_partial<Part> && detail::can_be_written<Part> && detail::of_computed_type<Q, Part> &&
                          detail::same_memory<Q, Part>,
                      PANTILE_SAYS_PART);
    }
    erased::attention_partial(detail::in(q), detail::in(k), detail::in(v), detail::part(part), o);
}

/// The same with the three tensors in braces, {out, max, sum}. Their types are looked at when the call runs.
template <class Q, class K, class V>
void attention_partial(const Q& q, const K& k, const V& v, const partial_ref& part, const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::in_host_memory<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    erased::attention_partial(detail::in(q), detail::in(k), detail::in(v), part, o);
}

/// Says what is missing.
template <class Q, class K, class V>
void attention_partial(const Q&, const K&, const V&) {
    static_assert(!sizeof(Q), PANTILE_SAYS_PARTIAL);
}

/// part = the attention over the keys of both. `part` may be the same memory as `a` (accumulate in place).
template <class A, class B, class Part>
    requires detail::any_partial<A, B, Part>
void merge(const A& a, const B& b, const Part& part) {
    static_assert(detail::are_partial<A, B, Part> && detail::same_type_of_number<Part, A, B> &&
                      detail::of_computed_type<Part, Part> && detail::in_host_memory<A, B, Part> &&
                      detail::can_be_written<Part>,
                  PANTILE_SAYS_PARTS);
    erased::merge(detail::part(a), detail::part(b), detail::part(part));
}

/// The same with tensors in braces, {out, max, sum}. Their types are looked at when the call runs.
inline void merge(const partial_ref& a, const partial_ref& b, const partial_ref& part) { erased::merge(a, b, part); }

/// Says what is missing.
template <class A, class B>
    requires detail::any_partial<A, B>
void merge(const A&, const B&) { static_assert(!sizeof(A), PANTILE_SAYS_PARTS); }

/// Normalises: out = part.out / part.sum, lse = (part.max + log2(part.sum)) · ln 2. `out` may be part.out's memory.
template <class Part, class Out, class Lse>
    requires detail::any_partial<Part>
void finish(const Part& part, const Out& out, const Lse& lse) {
    static_assert(detail::are_partial<Part> && detail::are_tensors<Out> && detail::are_rows<Lse> &&
                      detail::same_type_of_number<Part, Out, Lse> && detail::of_computed_type<Part, Part> &&
                      detail::in_host_memory<Part, Out, Lse> && detail::can_be_written<Out, Lse>,
                  PANTILE_SAYS_FINISH);
    erased::finish(detail::part(part), {detail::out<4>(out), detail::out<3>(lse)});
}

/// The same with tensors in braces, {out, max, sum}. Their types are looked at when the call runs.
inline void finish(const partial_ref& part, const result_ref<4>& out, const result_ref<3>& lse) {
    erased::finish(part, {out, lse});
}

/// Says what is missing.
template <class Part, class Out>
    requires detail::any_partial<Part>
void finish(const Part&, const Out&) { static_assert(!sizeof(Part), PANTILE_SAYS_FINISH); }

// ---------------------------------------------------------------------------------------------------------- explain
/// How attention would run.
template <class Q, class K, class V>
[[nodiscard]] explanation explain(const Q& q, const K& k, const V& v, const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::in_host_memory<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    return erased::explain(detail::in(q), detail::in(k), detail::in(v), o);
}

/// The same of a backward call: kernel "backward", tiles.key_splits the chunks of keys with a dQ partial of their own.
template <class Q, class K, class V>
[[nodiscard]] explanation explain_backward(const Q& q, const K& k, const V& v, const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::in_host_memory<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    return erased::explain_backward(detail::in(q), detail::in(k), detail::in(v), o);
}

/// A few lines for people.
[[nodiscard]] PANTILE_API std::string to_string(const explanation& e);
PANTILE_API std::ostream& operator<<(std::ostream& os, const explanation& e);

} // namespace pantile::inline v0
