/// \file
/// Exact attention on the host, from C (C99): out = softmax(scale · q·kᵀ + mask) · v, without ever holding the score matrix.
///
/// Shapes, as (batch, heads, length, dim):
///     q, dq         (B, Hq,  Sq, D)          k, dk   (B, Hkv, Sk, D)
///     out, dout     (B, Hq,  Sq, E)          v, dv   (B, Hkv, Sk, E)          lse   (B, Hq, Sq)
/// Hq must be a multiple of Hkv. All tensors of a call are in host memory. The rest is as on the C++ page,
/// <pantile/attention.hpp>: what overlaps, what a row that sees no key gets, that the same call gives the same bits.
///
/// Every function returns PANTILE_OK, or a status whose text pantile_message() has, before any work: the text of the C++
/// function, which names the argument, its value and the limit. A pointer to a struct must not be NULL, but for `options`.
#ifndef PANTILE_H
#define PANTILE_H

#include <pantile/c_types.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The forward pass. results: out, and on request lse.
PANTILE_C_API pantile_status pantile_attention(const pantile_tensor* q, const pantile_tensor* k,
                                               const pantile_tensor* v, const pantile_results* results,
                                               const pantile_options* options);

/// Gradients of a loss whose gradient with respect to out is loss_gradients->dout; out and lse are what the forward call gave.
PANTILE_C_API pantile_status pantile_attention_backward(const pantile_tensor* q, const pantile_tensor* k,
                                                        const pantile_tensor* v, const pantile_tensor* out,
                                                        const pantile_tensor* lse,
                                                        const pantile_loss_gradients* loss_gradients,
                                                        const pantile_gradients* gradients,
                                                        const pantile_options* options);

/// Attention of q over these keys only, as a partial result. Say where the keys stand with pantile_at_offset.
PANTILE_C_API pantile_status pantile_attention_partial(const pantile_tensor* q, const pantile_tensor* k,
                                                       const pantile_tensor* v, const pantile_partial* part,
                                                       const pantile_options* options);

/// part = the attention over the keys of both. `part` may be the same memory as `a`.
PANTILE_C_API pantile_status pantile_merge(const pantile_partial* a, const pantile_partial* b,
                                           const pantile_partial* part);

/// Normalises: results->out = part.out / part.sum, results->lse = (part.max + log2(part.sum)) · ln 2; both must be given. out
/// may be part.out's memory.
PANTILE_C_API pantile_status pantile_finish(const pantile_partial* part, const pantile_results* results);

/// How a call would run.
typedef struct pantile_explanation {
    size_t size;             ///< sizeof(pantile_explanation)
    char machine[16];        ///< "cpu"
    char isa[16];            ///< baseline, avx2, avx512, amx
    char kernel[32];         ///< tile, decode, backward
    pantile_tile_plan tiles; ///< row tile, key tile, key splits
    int32_t threads;         ///< threads that the call would use
    int32_t reserved;
    int64_t workspace_bytes; ///< all threads' scratch and split partials together
    pantile_traffic traffic; ///< predicted reads and writes, elements a tensor
    int64_t read_bytes;      ///< the same in bytes
    int64_t write_bytes;
    double flops;   ///< of the visible pairs: 2·(D + E) each
    char note[256]; ///< why a better instruction set that the processor has is not used; mostly empty
} pantile_explanation;

/// How pantile_attention would run. Fields of `explanation` that this library does not know become 0.
PANTILE_C_API pantile_status pantile_explain(const pantile_tensor* q, const pantile_tensor* k, const pantile_tensor* v,
                                             const pantile_options* options, pantile_explanation* explanation);
/// How pantile_attention_backward would run.
PANTILE_C_API pantile_status pantile_explain_backward(const pantile_tensor* q, const pantile_tensor* k,
                                                      const pantile_tensor* v, const pantile_options* options,
                                                      pantile_explanation* explanation);

/// A few lines for people, cut to `capacity` bytes with the closing 0 (as snprintf does; text may be NULL where capacity is
/// 0). Into *needed, unless it is NULL: the bytes that all of it takes.
PANTILE_C_API pantile_status pantile_explanation_text(const pantile_explanation* explanation, char* text,
                                                      size_t capacity, size_t* needed);

#ifdef __cplusplus
} // extern "C"
#endif
#endif
