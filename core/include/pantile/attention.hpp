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

#include <iosfwd>
#include <string>

#include <pantile/core/traffic.hpp>
#include <pantile/error.hpp>
#include <pantile/options.hpp>
#include <pantile/tensor.hpp>

namespace pantile {

// ---------------------------------------------------------------------------------------------------------- forward
// fp32 and fp64 in their own precision. fp16 and bf16 are read exactly, computed in fp32 and rounded once, at the output;
// their out may also be fp32. lse is the natural log-sum-exp of the row's logits, fp32 (fp64 for fp64).

// clang-format off
void attention(tensor_view<const float>    q, tensor_view<const float>    k, tensor_view<const float>    v, tensor_view<float>    out, const options& = {});
void attention(tensor_view<const double>   q, tensor_view<const double>   k, tensor_view<const double>   v, tensor_view<double>   out, const options& = {});
void attention(tensor_view<const float16>  q, tensor_view<const float16>  k, tensor_view<const float16>  v, tensor_view<float16>  out, const options& = {});
void attention(tensor_view<const float16>  q, tensor_view<const float16>  k, tensor_view<const float16>  v, tensor_view<float>    out, const options& = {});
void attention(tensor_view<const bfloat16> q, tensor_view<const bfloat16> k, tensor_view<const bfloat16> v, tensor_view<bfloat16> out, const options& = {});
void attention(tensor_view<const bfloat16> q, tensor_view<const bfloat16> k, tensor_view<const bfloat16> v, tensor_view<float>    out, const options& = {});

void attention(tensor_view<const float>    q, tensor_view<const float>    k, tensor_view<const float>    v, tensor_view<float>    out, row_view<float>  lse, const options& = {});
void attention(tensor_view<const double>   q, tensor_view<const double>   k, tensor_view<const double>   v, tensor_view<double>   out, row_view<double> lse, const options& = {});
void attention(tensor_view<const float16>  q, tensor_view<const float16>  k, tensor_view<const float16>  v, tensor_view<float16>  out, row_view<float>  lse, const options& = {});
void attention(tensor_view<const float16>  q, tensor_view<const float16>  k, tensor_view<const float16>  v, tensor_view<float>    out, row_view<float>  lse, const options& = {});
void attention(tensor_view<const bfloat16> q, tensor_view<const bfloat16> k, tensor_view<const bfloat16> v, tensor_view<bfloat16> out, row_view<float>  lse, const options& = {});
void attention(tensor_view<const bfloat16> q, tensor_view<const bfloat16> k, tensor_view<const bfloat16> v, tensor_view<float>    out, row_view<float>  lse, const options& = {});

// --------------------------------------------------------------------------------------------------------- backward
// Gradients of a loss whose gradient with respect to out is dout; out and lse are what the forward call gave, over these keys
// or over more of them (a step of a ring). Probabilities are recomputed from lse (FlashAttention-2, Algorithm 2), where it is
// large from the scores' own maximum and sum (docs/numerics.md). With options.accumulate the gradients are added to dq, dk, dv.
// dK and dV of a kv head are summed over its query heads in fp32 (fp64 for fp64) and rounded once; the gradients of fp16
// and bf16 tensors may also be fp32.

void attention_backward(tensor_view<const float>  q, tensor_view<const float>  k, tensor_view<const float>  v, tensor_view<const float>  out, row_view<const float>  lse,
                        tensor_view<const float>  dout, tensor_view<float>  dq, tensor_view<float>  dk, tensor_view<float>  dv, const options& = {});
void attention_backward(tensor_view<const double> q, tensor_view<const double> k, tensor_view<const double> v, tensor_view<const double> out, row_view<const double> lse,
                        tensor_view<const double> dout, tensor_view<double> dq, tensor_view<double> dk, tensor_view<double> dv, const options& = {});
void attention_backward(tensor_view<const float16> q, tensor_view<const float16> k, tensor_view<const float16> v, tensor_view<const float16> out, row_view<const float> lse,
                        tensor_view<const float16> dout, tensor_view<float16> dq, tensor_view<float16> dk, tensor_view<float16> dv, const options& = {});
void attention_backward(tensor_view<const float16> q, tensor_view<const float16> k, tensor_view<const float16> v, tensor_view<const float16> out, row_view<const float> lse,
                        tensor_view<const float16> dout, tensor_view<float> dq, tensor_view<float> dk, tensor_view<float> dv, const options& = {});
void attention_backward(tensor_view<const bfloat16> q, tensor_view<const bfloat16> k, tensor_view<const bfloat16> v, tensor_view<const bfloat16> out, row_view<const float> lse,
                        tensor_view<const bfloat16> dout, tensor_view<bfloat16> dq, tensor_view<bfloat16> dk, tensor_view<bfloat16> dv, const options& = {});
void attention_backward(tensor_view<const bfloat16> q, tensor_view<const bfloat16> k, tensor_view<const bfloat16> v, tensor_view<const bfloat16> out, row_view<const float> lse,
                        tensor_view<const bfloat16> dout, tensor_view<float> dq, tensor_view<float> dk, tensor_view<float> dv, const options& = {});
// clang-format on

// -------------------------------------------------------------------------------------------------- partial results
/// Attention over some of the keys, not yet normalised. In base 2, with y = logit · log2(e):
///     max = max y,   sum = Σ 2^(y - max),   out = Σ 2^(y - max) · v          (max = -inf, sum = 0, out = 0: no key seen;
///     max = -inf, sum = 1, out = 0: keys were seen, but all their logits are below the type's range: finish gives NaN)
/// Parts over disjoint keys merge exactly, in any grouping: splits of long keys, ring attention, a shared prefix.
/// Kept in base 2 because that is what the kernels hold: a change of base would cost abs(max)·2^-24.
template <class T>
struct partial_view {
    tensor_view<T> out; ///< (B, Hq, Sq, E)
    row_view<T> max;    ///< (B, Hq, Sq)
    row_view<T> sum;    ///< (B, Hq, Sq)

    /// A view of T is a view of const T.
    template <class U>
        requires(std::is_same_v<U, const T> && !std::is_const_v<T>)
    constexpr operator partial_view<U>() const { // NOLINT(google-explicit-constructor)
        return {out, max, sum};
    }
};

// clang-format off
/// Attention of q over these keys only, as a partial result. Say where the keys stand with options.mask.at_offset.
void attention_partial(tensor_view<const float>    q, tensor_view<const float>    k, tensor_view<const float>    v, partial_view<float>  part, const options& = {});
void attention_partial(tensor_view<const double>   q, tensor_view<const double>   k, tensor_view<const double>   v, partial_view<double> part, const options& = {});
void attention_partial(tensor_view<const float16>  q, tensor_view<const float16>  k, tensor_view<const float16>  v, partial_view<float>  part, const options& = {});
void attention_partial(tensor_view<const bfloat16> q, tensor_view<const bfloat16> k, tensor_view<const bfloat16> v, partial_view<float>  part, const options& = {});

/// part = the attention over the keys of both. `part` may be the same memory as `a` (accumulate in place).
void merge(partial_view<const float>  a, partial_view<const float>  b, partial_view<float>  part);
void merge(partial_view<const double> a, partial_view<const double> b, partial_view<double> part);

/// Normalises: out = part.out / part.sum, lse = (part.max + log2(part.sum)) · ln 2. `out` may be part.out's memory.
void finish(partial_view<const float>  part, tensor_view<float>  out, row_view<float>  lse);
void finish(partial_view<const double> part, tensor_view<double> out, row_view<double> lse);
// clang-format on

// ---------------------------------------------------------------------------------------------------------- explain
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

// clang-format off
[[nodiscard]] explanation explain(tensor_view<const float>    q, tensor_view<const float>    k, tensor_view<const float>    v, const options& = {});
[[nodiscard]] explanation explain(tensor_view<const double>   q, tensor_view<const double>   k, tensor_view<const double>   v, const options& = {});
[[nodiscard]] explanation explain(tensor_view<const float16>  q, tensor_view<const float16>  k, tensor_view<const float16>  v, const options& = {});
[[nodiscard]] explanation explain(tensor_view<const bfloat16> q, tensor_view<const bfloat16> k, tensor_view<const bfloat16> v, const options& = {});

/// The same of a backward call: kernel "backward", tiles.key_splits the chunks of keys with a dQ partial of their own.
[[nodiscard]] explanation explain_backward(tensor_view<const float>    q, tensor_view<const float>    k, tensor_view<const float>    v, const options& = {});
[[nodiscard]] explanation explain_backward(tensor_view<const double>   q, tensor_view<const double>   k, tensor_view<const double>   v, const options& = {});
[[nodiscard]] explanation explain_backward(tensor_view<const float16>  q, tensor_view<const float16>  k, tensor_view<const float16>  v, const options& = {});
[[nodiscard]] explanation explain_backward(tensor_view<const bfloat16> q, tensor_view<const bfloat16> k, tensor_view<const bfloat16> v, const options& = {});
// clang-format on

/// A few lines for people.
[[nodiscard]] std::string to_string(const explanation& e);
std::ostream& operator<<(std::ostream& os, const explanation& e);

} // namespace pantile
