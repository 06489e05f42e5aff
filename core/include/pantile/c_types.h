/// \file
/// The C interface (C99, or C++) to what the host's and the device's functions share: statuses, tensors, options, and DLPack.
/// <pantile.h> has the functions of the host, <pantile_cuda.h> those of NVIDIA GPUs; docs/c.md says it all on one page.
///
/// Three rules hold for every struct and function:
///  - A struct that begins with `size` is given with sizeof it there and 0 in every field that is not wanted otherwise: 0 is the
///    default of every field. Structs of a later pantile are longer. A caller who was compiled against a shorter one goes on
///    working; one who was compiled against a longer one is refused only where a field that this library does not know is not 0.
///    Structs within structs never grow.
///  - Nothing of the caller's is kept, freed or owned: pointers are read and written during the call only (of calls on a device,
///    until the stream has come past).
///  - Functions return a status. No exception leaves them, and nothing aborts, exits or prints. Calls may come from any thread.
#ifndef PANTILE_C_TYPES_H
#define PANTILE_C_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include <pantile/version.hpp> // preprocessor only: the numbers that C++ has too

#if defined(__GNUC__)
#define PANTILE_C_API __attribute__((visibility("default")))
#else
#define PANTILE_C_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

// ------------------------------------------------------------------------------------------------------------ statuses
/// What became of a call. Whatever is not PANTILE_OK has left a text for pantile_message().
typedef enum pantile_status {
    PANTILE_OK = 0,
    PANTILE_INVALID_ARGUMENT = 1, ///< no machine could accept it; nothing was written
    PANTILE_UNSUPPORTED = 2,      ///< valid, but this machine does not serve it; the text says what is served
    PANTILE_CUDA_ERROR = 3,       ///< a CUDA call failed
    PANTILE_OUT_OF_MEMORY = 4,
    PANTILE_INTERNAL_ERROR = 5 ///< anything else: a fault of the library's
} pantile_status;

/// Why this thread's last failed call failed, on the host or on a device: the C++ exception's text, cut after 1023 bytes.
/// Empty before any has failed. The pointer stays good as long as the thread; its text until the next failure.
PANTILE_C_API const char* pantile_message(void);
/// "PANTILE_OK", … or "an unknown status". Never NULL.
PANTILE_C_API const char* pantile_status_name(int32_t status);
/// PANTILE_VERSION of the library that runs; the macro PANTILE_VERSION is that of the header.
PANTILE_C_API int32_t pantile_version(void);

// ------------------------------------------------------------------------------------------------------------- tensors
/// Of the numbers in a tensor. fp16 and bf16 have the bits of IEEE binary16 and of bfloat16.
typedef enum pantile_dtype { PANTILE_FP32 = 0, PANTILE_FP64 = 1, PANTILE_FP16 = 2, PANTILE_BF16 = 3 } pantile_dtype;

/// Whose memory it is: the host's, or the current CUDA device's.
typedef enum pantile_memory { PANTILE_HOST = 0, PANTILE_DEVICE = 1 } pantile_memory;

/// A view of a tensor in the caller's memory: of rank 4, (batch, heads, length, dim); of rank 3, (batch, heads, length), one
/// number a row. Strides are in elements and may be anything for inputs in host memory: 0 broadcasts, negative reverses. Extents
/// and strides beyond the rank are not read. All 0 (rank 0): not given. Inputs are only read.
typedef struct pantile_tensor {
    void* data;       ///< may be NULL where an extent is 0
    int32_t dtype;    ///< a pantile_dtype
    int32_t memory;   ///< a pantile_memory
    int32_t rank;     ///< 4 or 3; 0: not given
    int32_t reserved; ///< 0
    int64_t extent[4];
    int64_t stride[4];
} pantile_tensor;

/// Memory laid out as [batch][length][heads][dim], dense: what a projection gives. In host memory, as the next three.
PANTILE_C_API pantile_tensor pantile_bshd(const void* data, int32_t dtype, int64_t batch, int64_t length, int64_t heads,
                                          int64_t dim);
/// Memory laid out as [batch][heads][length][dim], dense.
PANTILE_C_API pantile_tensor pantile_bhsd(const void* data, int32_t dtype, int64_t batch, int64_t heads, int64_t length,
                                          int64_t dim);
/// One number a row, laid out as [batch][heads][length], dense.
PANTILE_C_API pantile_tensor pantile_bhs(const void* data, int32_t dtype, int64_t batch, int64_t heads, int64_t length);
/// Any layout: extents and strides (in elements) in the order batch, heads, length, dim. NULL for either: not given.
PANTILE_C_API pantile_tensor pantile_strided(const void* data, int32_t dtype, const int64_t extent[4],
                                             const int64_t stride[4]);
/// Says of a tensor that its memory is the device's.
PANTILE_C_API pantile_tensor pantile_on_device(pantile_tensor t);

/// A tensor from a DLPack tensor (a DLTensor*; also a DLManagedTensor*, which begins with one). Nothing is owned: the tensor
/// must stay alive as long as the view is used, and no deleter is called.
///
/// `layout` names the axes of the DLPack tensor, outermost first, by the letters b (batch), s (length), h (heads) and d (dim), each
/// at most once and one an axis: "bshd", "bhsd", "shd" (one batch), "bhs". With a d the view has rank 4, without one rank 3; axes
/// that are not named have extent 1.
/// Taken are float of 16, 32 and 64 bits and bfloat of 16, one lane. Of the devices: CPU and pinned memory (kDLCUDAHost) become
/// PANTILE_HOST; CUDA and managed memory (kDLCUDAManaged) PANTILE_DEVICE, of which calls want that it is the current device's
/// (device_id is not looked at). Strides may be NULL: dense, row-major.
PANTILE_C_API pantile_status pantile_from_dlpack(const void* dl_tensor, const char* layout, pantile_tensor* tensor);

// ------------------------------------------------------------------------------------------------------------- options
/// "No limit on this side" of a mask.
#define PANTILE_UNBOUNDED (INT64_C(1) << 60)

/// Where row 0 stands. bottom_right puts the last row at the last key, top_left puts row 0 at key 0, explicit_offset takes
/// the number given.
typedef enum pantile_alignment {
    PANTILE_NO_MASK = 0, ///< every row sees every key
    PANTILE_BOTTOM_RIGHT = 1,
    PANTILE_TOP_LEFT = 2,
    PANTILE_EXPLICIT_OFFSET = 3
} pantile_alignment;

/// Row i sees the keys i + off - left <= j <= i + off + right, both sides inclusive; off is k_len - q_len (bottom_right), 0
/// (top_left) or offset (explicit_offset). All 0: no mask, every row sees every key.
typedef struct pantile_mask {
    int64_t left;
    int64_t right;
    int64_t align;  ///< a pantile_alignment
    int64_t offset; ///< read where align is PANTILE_EXPLICIT_OFFSET
} pantile_mask;

/// Row i sees the keys j <= i + off.
PANTILE_C_API pantile_mask pantile_causal(int32_t align);
/// Row i sees the keys i + off - left <= j <= i + off + right; PANTILE_UNBOUNDED lifts a side.
PANTILE_C_API pantile_mask pantile_window(int64_t left, int64_t right, int32_t align);
/// The same band with row 0 at key `offset`: a chunk of a prefill, a row of a cache. Of no mask: no limits.
PANTILE_C_API pantile_mask pantile_at_offset(pantile_mask mask, int64_t offset);

/// The count of lengths in device memory where only that they are one a batch is known.
#define PANTILE_ONE_A_BATCH INT64_C(-1)

/// Whole numbers, one a batch. data NULL: none.
typedef struct pantile_lengths {
    const void* data;
    int64_t count;
    int32_t bits;   ///< of each number: 32 or 64
    int32_t memory; ///< a pantile_memory
} pantile_lengths;

/// The count of numbers in device memory where only that they are one a query head is known.
#define PANTILE_ONE_A_HEAD INT64_C(-1)

/// Numbers, one a query head; of slopes also one a batch and query head ([batch][head]). data NULL: none.
typedef struct pantile_head_numbers {
    const void* data;
    int64_t count;
    int32_t dtype;  ///< PANTILE_FP32 or PANTILE_FP64
    int32_t memory; ///< a pantile_memory
} pantile_head_numbers;

/// Numbers, one a query head, that a call writes. data NULL: not wanted.
typedef struct pantile_head_gradients {
    void* data;
    int64_t count;
    int32_t dtype;  ///< PANTILE_FP32 or PANTILE_FP64
    int32_t memory; ///< a pantile_memory
} pantile_head_gradients;

/// The instruction sets of the CPU. PANTILE_ISA_AUTOMATIC takes the best, or the one that the environment variable PANTILE_ISA
/// names; see pantile::isa.
typedef enum pantile_isa {
    PANTILE_ISA_AUTOMATIC = 0,
    PANTILE_ISA_BASELINE = 1,
    PANTILE_ISA_AVX2 = 2,
    PANTILE_ISA_AVX512 = 3,
    PANTILE_ISA_AMX = 4
} pantile_isa;

/// The kernels of the GPU. PANTILE_KERNEL_AUTOMATIC takes the first of sm90, decode and portable that serves the call well, or
/// the one that the environment variable PANTILE_CUDA_KERNEL names; see pantile::cuda_kernel.
typedef enum pantile_cuda_kernel {
    PANTILE_KERNEL_AUTOMATIC = 0,
    PANTILE_KERNEL_PORTABLE = 1,
    PANTILE_KERNEL_DECODE = 2,
    PANTILE_KERNEL_SM90 = 3,
    PANTILE_KERNEL_FFMA = 4
} pantile_cuda_kernel;

/// Tile sizes; 0 in a field: the chosen one.
typedef struct pantile_tile_plan {
    int64_t row_tile;   ///< query rows of a row tile
    int64_t key_tile;   ///< keys of a key tile
    int64_t key_splits; ///< parts that the keys are cut into
} pantile_tile_plan;

/// The options of a call, those of pantile::options. 0 in every field but size, or no options at all (NULL): the defaults.
typedef struct pantile_options {
    size_t size; ///< sizeof(pantile_options)
    pantile_mask mask;
    double scale;       ///< logit = scale · q·k; read where has_scale is 1, and 0 elsewhere
    int32_t has_scale;  ///< 0: the scale is 1/sqrt(head_dim)
    int32_t accumulate; ///< 1: backward adds to its gradients instead of overwriting them
    /// Keys that count in each batch, 0 … k_len, in the memory of q, k and v. The rest is never read.
    pantile_lengths key_lengths;
    int32_t threads; ///< of the host; 0: what OpenMP would use
    int32_t isa;     ///< of the host; a pantile_isa
    pantile_tile_plan plan;
    int32_t kernel;     ///< of a device; a pantile_cuda_kernel
    int32_t reserved;   ///< 0
    int64_t key_splits; ///< parts that the keys are cut into; 0: what plan says, or else chosen
    /// Memory to work in, at least workspace_bytes of the explanation, where q, k and v are. 0 bytes: the library's own.
    void* workspace;
    int64_t workspace_bytes;
    double softcap; ///< logit = softcap · tanh(logit / softcap), before ALiBi and the mask; 0: off
    /// ALiBi: logit - slope · |i + off - j|, off that of the mask.
    pantile_head_numbers slopes;
    /// Logits of keys without a value, one a query head: each row's denominator grows by exp(sink). Of the partial results of a
    /// row exactly one must carry it.
    pantile_head_numbers sinks;
} pantile_options;

/// pantile_options o = PANTILE_OPTIONS_INIT; then fields. In C99 the same as {.size = sizeof(pantile_options)}.
// clang-format off
#define PANTILE_OPTIONS_INIT \
    {sizeof(pantile_options), {0, 0, 0, 0}, 0.0, 0, 0, {0, 0, 0, 0}, 0, 0, {0, 0, 0}, 0, 0, 0, 0, 0, 0.0, {0, 0, 0, 0}, {0, 0, 0, 0}}
// clang-format on

// ----------------------------------------------------------------------------------------------- what calls read and write
/// What a forward call gives. out must be given, lse is written if it is.
typedef struct pantile_results {
    size_t size;        ///< sizeof(pantile_results)
    pantile_tensor out; ///< (B, Hq, Sq, E); of q's type, or of the one computed in
    pantile_tensor lse; ///< (B, Hq, Sq): natural log-sum-exp of each row's logits, fp32 (fp64 for fp64)
} pantile_results;

/// The gradients of the loss that a backward call starts from.
typedef struct pantile_loss_gradients {
    size_t size;         ///< sizeof(pantile_loss_gradients)
    pantile_tensor dout; ///< (B, Hq, Sq, E), of q's type
} pantile_loss_gradients;

/// What a backward call gives; dq, dk and dv must be given, the others are written if they are.
typedef struct pantile_gradients {
    size_t size;                    ///< sizeof(pantile_gradients)
    pantile_tensor dq;              ///< (B, Hq, Sq, D)
    pantile_tensor dk;              ///< (B, Hkv, Sk, D)
    pantile_tensor dv;              ///< (B, Hkv, Sk, E)
    pantile_head_gradients dslopes; ///< (Hq), summed over batches; where options.slopes is one a query head
    pantile_head_gradients dsinks;  ///< (Hq), summed over batches and rows
} pantile_gradients;

/// Attention over some of the keys, not yet normalised; see pantile::basic_partial_view. fp32 (fp64 for fp64).
typedef struct pantile_partial {
    size_t size;        ///< sizeof(pantile_partial)
    pantile_tensor out; ///< (B, Hq, Sq, E)
    pantile_tensor max; ///< (B, Hq, Sq)
    pantile_tensor sum; ///< (B, Hq, Sq)
} pantile_partial;

// -------------------------------------------------------------------------------------------------- what explain tells
/// Elements read from and written to far memory.
typedef struct pantile_transfers {
    int64_t reads;
    int64_t writes;
} pantile_transfers;

/// Predicted traffic, tensor by tensor; what a call does not move is 0.
typedef struct pantile_traffic {
    pantile_transfers q, k, v, out, lse;
    pantile_transfers dout, dq, dk, dv, delta;
    pantile_transfers scores, probabilities, dscores, dprobabilities;
} pantile_traffic;

#ifdef __cplusplus
} // extern "C"
#endif
#endif
