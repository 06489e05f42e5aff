/// \file
/// Exact attention on NVIDIA GPUs: the functions of attention.hpp over views of device memory, put on a stream.
///
/// Shapes and semantics are those of <pantile/attention.hpp>. Every call checks its arguments on the host (throws
/// invalid_argument or unsupported before any work), launches on `stream` of the current device and returns; results are
/// there when the stream has come past. CUDA's own failures throw cuda_error, with the call that failed and the runtime's
/// words; what an earlier failure of the caller's has left for cudaGetLastError() is neither reported nor cleared. Calls from
/// several threads are independent.
/// Nothing is allocated, except that some calls need a workspace (split keys for their partial results, masked calls for a
/// counter of row tiles): it comes from options.workspace, or else from the stream's memory pool (cudaMallocAsync), to
/// which it goes back on the same stream.
/// The same call on the same kind of device gives the same bits, run after run.
#pragma once

#if defined(PANTILE_LINKS_CORE) && !defined(PANTILE_LINKS_CUDA) // what pantile's CMake targets say of themselves
#error "<pantile/cuda.hpp> belongs to the library for GPUs: link pantile::cuda; pantile::pantile is the host's"
#endif

#include <iosfwd>
#include <string>
#include <type_traits>

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

/// A stream, as the CUDA runtime declares it: this page needs none of its headers.
struct CUstream_st;
using cudaStream_t = CUstream_st*; // NOLINT(readability-identifier-naming)

namespace pantile::inline v0 {

/// How a call would run on the current device.
struct device_explanation {
    std::string kernel;          ///< sm90, decode, portable or ffma, with the sizes it is compiled for
    tile_plan tiles;             ///< row tile (packed rows), key tile, key splits
    index_t heads_packed = 1;    ///< query heads of one kv head that share a row tile
    index_t blocks = 0;          ///< thread blocks launched
    int threads = 0;             ///< of a block
    int shared_bytes = 0;        ///< of a block
    index_t workspace_bytes = 0; ///< device memory that the call works in
    core::traffic traffic;       ///< predicted reads and writes between L2 and the multiprocessors, elements a tensor
    index_t read_bytes = 0;
    index_t write_bytes = 0;
    double flops = 0; ///< of the visible pairs: 2·(D + E) each
};

/// The calls on tensors whose types are known at run time: what bindings to other languages use, and what the functions below
/// are made of. A type that does not fit throws invalid_argument, as a shape does.
namespace erased {
PANTILE_API void attention(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v, const results& to,
                           cudaStream_t stream, const options& o);
PANTILE_API void attention_partial(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v,
                                   const partial_ref& part, cudaStream_t stream, const options& o);
PANTILE_API void merge(const partial_ref& a, const partial_ref& b, const partial_ref& part, cudaStream_t stream);
PANTILE_API void finish(const partial_ref& part, const results& to, cudaStream_t stream);
[[nodiscard]] PANTILE_API device_explanation explain_on_device(const tensor_ref& q, const tensor_ref& k,
                                                               const tensor_ref& v, const options& o);
} // namespace erased

// Below, Q, K, V, … are views: device_view<T> or device_view<const T> of float, double, float16 or bfloat16, T the same for q,
// k and v; of rows device_row_view<float> (device_row_view<double> where T is double): on_device(bshd(pointer, …)), on_device(bhs(…)).
// A call that does not fit says so when it is compiled.

// ---------------------------------------------------------------------------------------------------------- forward
// fp32 and fp64 in their own precision (fp32 products as three tf32 products, off by 2^-21 at most and 2^-23.7 in the root mean
// square, unless the ffma kernel is asked for). fp16 and bf16 are computed in fp32, with P rounded to the inputs' type for the matrix unit, and
// rounded once at the output, which may also be fp32. lse is fp32 (fp64 for fp64).
//
// A power of two of the scale joins q before the product in fp32 and fp64, so that q·k may be beyond their range where the
// logit scale·q·k is not. In fp16 and bf16 q goes to the matrix unit as it is: q·k itself must be within fp32's range, which
// fp16's always is. Logits may have any finite size in fp32 and fp64; their sizes may go up to 2^30 in bf16 and 2^26 in fp16.
// A row that sees keys, all of whose logits overflow to minus infinity, is NaN in out and lse, as one with a logit that is
// infinity or NaN; only a row that sees no key has out = 0 and lse = -inf.

template <class Q, class K, class V, class Out>
    requires detail::any_on_a_device<Q, K, V, Out>
void attention(const Q& q, const K& k, const V& v, const Out& out, cudaStream_t stream, const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::on_the_device<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    if constexpr (detail::inputs_fit<Q, K, V>) {
        static_assert(detail::are_tensors<Out> && detail::can_be_written<Out> && detail::of_results_type<Q, Out> &&
                          detail::same_memory<Q, Out>,
                      PANTILE_SAYS_RESULT);
    }
    erased::attention(detail::in(q), detail::in(k), detail::in(v), {detail::out<4>(out), {}}, stream, o);
}

/// The same; lse is the natural log-sum-exp of the row's logits.
template <class Q, class K, class V, class Out, class Lse>
    requires(detail::any_on_a_device<Q, K, V, Out> &&
             !std::is_convertible_v<const Lse&, cudaStream_t>) // attention(…, stream, {})
void attention(const Q& q, const K& k, const V& v, const Out& out, const Lse& lse, cudaStream_t stream,
               const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::on_the_device<Q, K, V>,
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
    erased::attention(detail::in(q), detail::in(k), detail::in(v), {detail::out<4>(out), detail::out<3>(lse)}, stream,
                      o);
}

/// The same with results by name, {.out = out, .lse = lse}; lse on request. Their types are looked at when the call is made.
template <class Q, class K, class V>
    requires detail::any_on_a_device<Q, K, V>
void attention(const Q& q, const K& k, const V& v, const results& to, cudaStream_t stream, const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::on_the_device<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    erased::attention(detail::in(q), detail::in(k), detail::in(v), to, stream, o);
}

// -------------------------------------------------------------------------------------------------- partial results
/// Attention of q over these keys only, as a partial result (see basic_partial_view). Say where the keys stand with
/// options.mask.at_offset.
template <class Q, class K, class V, class Part>
    requires detail::any_on_a_device<Q, K, V, Part>
void attention_partial(const Q& q, const K& k, const V& v, const Part& part, cudaStream_t stream,
                       const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::on_the_device<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    if constexpr (detail::inputs_fit<Q, K, V>) {
        static_assert(detail::are_partial<Part> && detail::can_be_written<Part> && detail::of_computed_type<Q, Part> &&
                          detail::same_memory<Q, Part>,
                      PANTILE_SAYS_PART);
    }
    erased::attention_partial(detail::in(q), detail::in(k), detail::in(v), detail::part(part), stream, o);
}

/// The same with the three tensors in braces, {out, max, sum}. Their types are looked at when the call is made.
template <class Q, class K, class V>
    requires detail::any_on_a_device<Q, K, V>
void attention_partial(const Q& q, const K& k, const V& v, const partial_ref& part, cudaStream_t stream,
                       const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::on_the_device<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    erased::attention_partial(detail::in(q), detail::in(k), detail::in(v), part, stream, o);
}

/// part = the attention over the keys of both, by core::online_softmax::merge. `part` may be the same memory as `a`.
template <class A, class B, class Part>
    requires detail::any_partial<A, B, Part>
void merge(const A& a, const B& b, const Part& part, cudaStream_t stream) {
    static_assert(detail::are_partial<A, B, Part> && detail::same_type_of_number<Part, A, B> &&
                      detail::of_computed_type<Part, Part> && detail::on_the_device<A, B, Part> &&
                      detail::can_be_written<Part>,
                  PANTILE_SAYS_PARTS);
    erased::merge(detail::part(a), detail::part(b), detail::part(part), stream);
}

/// The same with tensors in braces, {out, max, sum}. Their types are looked at when the call is made.
inline void merge(const partial_ref& a, const partial_ref& b, const partial_ref& part, cudaStream_t stream) {
    erased::merge(a, b, part, stream);
}

/// Normalises: out = part.out / part.sum, lse = (part.max + log2(part.sum)) · ln 2. `out` may be part.out's memory.
template <class Part, class Out, class Lse>
    requires detail::any_partial<Part>
void finish(const Part& part, const Out& out, const Lse& lse, cudaStream_t stream) {
    static_assert(detail::are_partial<Part> && detail::are_tensors<Out> && detail::are_rows<Lse> &&
                      detail::same_type_of_number<Part, Out, Lse> && detail::of_computed_type<Part, Part> &&
                      detail::on_the_device<Part, Out, Lse> && detail::can_be_written<Out, Lse>,
                  PANTILE_SAYS_FINISH);
    erased::finish(detail::part(part), {detail::out<4>(out), detail::out<3>(lse)}, stream);
}

/// The same with tensors in braces, {out, max, sum}. Their types are looked at when the call is made.
inline void finish(const partial_ref& part, const result_ref<4>& out, const result_ref<3>& lse, cudaStream_t stream) {
    erased::finish(part, {out, lse}, stream);
}

// ---------------------------------------------------------------------------------------------------------- explain
/// How attention would run on the current device.
template <class Q, class K, class V>
    requires detail::any_on_a_device<Q, K, V>
[[nodiscard]] device_explanation explain(const Q& q, const K& k, const V& v, const options& o = {}) {
    static_assert(detail::are_tensors<Q, K, V> && detail::same_type_of_number<Q, K, V> &&
                      detail::on_the_device<Q, K, V>,
                  PANTILE_SAYS_INPUTS);
    return erased::explain_on_device(detail::in(q), detail::in(k), detail::in(v), o);
}

/// A few lines for people.
[[nodiscard]] PANTILE_API std::string to_string(const device_explanation& e);
PANTILE_API std::ostream& operator<<(std::ostream& os, const device_explanation& e);

} // namespace pantile::inline v0
