/// \file
/// Exact attention on NVIDIA GPUs, from C (C99): the functions of <pantile.h> over tensors in the memory of the current device
/// (pantile_on_device), put on a stream.
///
/// Shapes and semantics are those of <pantile.h>, statuses and messages too; PANTILE_CUDA_ERROR has the CUDA call that failed
/// and the runtime's words. Arguments are checked before any work; results are there when the stream has come past. The rest
/// is as on the C++ page, <pantile/cuda.hpp>. `stream` is a cudaStream_t; NULL: the default stream.
#ifndef PANTILE_CUDA_H
#define PANTILE_CUDA_H

#include <pantile/c_types.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What this thread's last failed call of a function below said. pantile_message() says the same where both rooms are linked
/// statically; two shared libraries know of their own failures only.
PANTILE_C_API const char* pantile_cuda_message(void);

/// The forward pass. results: out, and on request lse.
PANTILE_C_API pantile_status pantile_cuda_attention(const pantile_tensor* q, const pantile_tensor* k,
                                                    const pantile_tensor* v, const pantile_results* results,
                                                    void* stream, const pantile_options* options);

/// Not served yet: PANTILE_UNSUPPORTED.
PANTILE_C_API pantile_status pantile_cuda_attention_backward(const pantile_tensor* q, const pantile_tensor* k,
                                                             const pantile_tensor* v, const pantile_tensor* out,
                                                             const pantile_tensor* lse,
                                                             const pantile_loss_gradients* loss_gradients,
                                                             const pantile_gradients* gradients, void* stream,
                                                             const pantile_options* options);

/// Attention of q over these keys only, as a partial result.
PANTILE_C_API pantile_status pantile_cuda_attention_partial(const pantile_tensor* q, const pantile_tensor* k,
                                                            const pantile_tensor* v, const pantile_partial* part,
                                                            void* stream, const pantile_options* options);

/// part = the attention over the keys of both. `part` may be the same memory as `a`.
PANTILE_C_API pantile_status pantile_cuda_merge(const pantile_partial* a, const pantile_partial* b,
                                                const pantile_partial* part, void* stream);

/// Normalises into results->out and results->lse, which both must be given. out may be part.out's memory.
PANTILE_C_API pantile_status pantile_cuda_finish(const pantile_partial* part, const pantile_results* results,
                                                 void* stream);

/// How a call would run on the current device.
typedef struct pantile_device_explanation {
    size_t size;             ///< sizeof(pantile_device_explanation)
    char kernel[128];        ///< sm90, decode, portable or ffma, with the sizes it is compiled for
    pantile_tile_plan tiles; ///< row tile (packed rows), key tile, key splits
    int64_t heads_packed;    ///< query heads of one kv head that share a row tile
    int64_t blocks;          ///< thread blocks launched
    int32_t threads;         ///< of a block
    int32_t shared_bytes;    ///< of a block
    int64_t workspace_bytes; ///< device memory that the call works in
    pantile_traffic traffic; ///< predicted reads and writes between L2 and the multiprocessors, elements a tensor
    int64_t read_bytes;
    int64_t write_bytes;
    double flops; ///< of the visible pairs: 2·(D + E) each
} pantile_device_explanation;

/// How pantile_cuda_attention would run on the current device.
PANTILE_C_API pantile_status pantile_cuda_explain(const pantile_tensor* q, const pantile_tensor* k,
                                                  const pantile_tensor* v, const pantile_options* options,
                                                  pantile_device_explanation* explanation);
/// Not served yet: PANTILE_UNSUPPORTED.
PANTILE_C_API pantile_status pantile_cuda_explain_backward(const pantile_tensor* q, const pantile_tensor* k,
                                                           const pantile_tensor* v, const pantile_options* options,
                                                           pantile_device_explanation* explanation);

/// A few lines for people, cut to `capacity` bytes with the closing 0 (as snprintf does; text may be NULL where capacity is
/// 0). Into *needed, unless it is NULL: the bytes that all of it takes.
PANTILE_C_API pantile_status pantile_cuda_explanation_text(const pantile_device_explanation* explanation, char* text,
                                                           size_t capacity, size_t* needed);

#ifdef __cplusplus
} // extern "C"
#endif
#endif
