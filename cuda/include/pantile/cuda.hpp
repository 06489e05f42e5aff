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

#include <array>
#include <cstddef>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>

#include <pantile/core/traffic.hpp>
#include <pantile/error.hpp>
#include <pantile/options.hpp>
#include <pantile/tensor.hpp>

/// A stream, as the CUDA runtime declares it: this page needs none of its headers.
struct CUstream_st;
using cudaStream_t = CUstream_st*; // NOLINT(readability-identifier-naming)

namespace pantile {

/// A view of a (batch, heads, length, dim) tensor in device memory; strides in elements, the last one must be 1. float16
/// and bfloat16 have the bits of __half and __nv_bfloat16.
template <class T>
struct device_view {
    T* data = nullptr;
    std::array<index_t, 4> extent{};
    std::array<index_t, 4> stride{};

    [[nodiscard]] constexpr index_t batch() const { return extent[0]; }
    [[nodiscard]] constexpr index_t heads() const { return extent[1]; }
    [[nodiscard]] constexpr index_t length() const { return extent[2]; }
    [[nodiscard]] constexpr index_t dim() const { return extent[3]; }
    /// A view of T is a view of const T.
    template <class U>
        requires(std::is_same_v<U, const T> && !std::is_const_v<T>)
    constexpr operator device_view<U>() const { // NOLINT(google-explicit-constructor)
        return {data, extent, stride};
    }
};

/// One number a query row in device memory, (batch, heads, length).
template <class T>
struct device_row_view {
    T* data = nullptr;
    std::array<index_t, 3> extent{};
    std::array<index_t, 3> stride{};

    /// A view of T is a view of const T.
    template <class U>
        requires(std::is_same_v<U, const T> && !std::is_const_v<T>)
    constexpr operator device_row_view<U>() const { // NOLINT(google-explicit-constructor)
        return {data, extent, stride};
    }
};

/// Says of a layout that its memory is the device's: on_device(bshd(pointer, batch, length, heads, dim)).
template <class T>
[[nodiscard]] constexpr device_view<T> on_device(const tensor_view<T>& v) {
    return {v.data, v.extent, v.stride};
}
template <class T>
[[nodiscard]] constexpr device_row_view<T> on_device(const row_view<T>& v) {
    return {v.data, v.extent, v.stride};
}

/// The kernels. automatic takes the first of sm90, decode and portable that serves the call well, or the one that the
/// environment variable PANTILE_CUDA_KERNEL names.
enum class cuda_kernel : unsigned char {
    automatic,
    portable, ///< sm_80 and later: mma.sync, cp.async
    decode,   ///< few rows on long keys: small row tiles, packed heads, split keys
    sm90,     ///< Hopper: wgmma and warp specialisation; fp64 with mma.sync. All but fp32 through the copy engine
    ffma,     ///< fp32 by fused multiply-adds, one rounding each, instead of three tf32 products; only if asked for
};

struct device_options {
    pantile::mask mask{};
    std::optional<double> scale{}; ///< logit = scale · q·k; any sign; default 1/sqrt(head_dim)
    /// Keys that count in each batch, in device memory, one a batch; null: all. Values beyond 0 … k_len are clamped.
    const index_t* key_lengths = nullptr;
    cuda_kernel kernel = cuda_kernel::automatic;
    index_t key_splits = 0; ///< parts that the keys are cut into; 0: chosen from shapes and device
    /// Device memory to work in, at least explain(…).workspace_bytes, 256-byte aligned; no tensor of the call may lie in it.
    std::span<std::byte> workspace{};
};

// ---------------------------------------------------------------------------------------------------------- forward
// fp32 and fp64 in their own precision (fp32 products as three tf32 products, exact to about 2^-22 each, unless the ffma
// kernel is asked for). fp16 and bf16 are computed in fp32, with P rounded to the inputs' type for the matrix unit, and
// rounded once at the output, which may also be fp32. lse is fp32 (fp64 for fp64).
//
// A power of two of the scale joins q before the product in fp32 and fp64, so that q·k may be beyond their range where the
// logit scale·q·k is not. In fp16 and bf16 q goes to the matrix unit as it is: q·k itself must be within fp32's range, which
// fp16's always is. Logits may have any finite size in fp32 and fp64; their sizes may go up to 2^30 in bf16 and 2^26 in fp16.
// A row that sees keys, all of whose logits overflow to minus infinity, is NaN in out and lse, as one with a logit that is
// infinity or NaN; only a row that sees no key has out = 0 and lse = -inf.

// clang-format off
void attention(device_view<const float>    q, device_view<const float>    k, device_view<const float>    v, device_view<float>    out, cudaStream_t stream, const device_options& = {});
void attention(device_view<const double>   q, device_view<const double>   k, device_view<const double>   v, device_view<double>   out, cudaStream_t stream, const device_options& = {});
void attention(device_view<const float16>  q, device_view<const float16>  k, device_view<const float16>  v, device_view<float16>  out, cudaStream_t stream, const device_options& = {});
void attention(device_view<const float16>  q, device_view<const float16>  k, device_view<const float16>  v, device_view<float>    out, cudaStream_t stream, const device_options& = {});
void attention(device_view<const bfloat16> q, device_view<const bfloat16> k, device_view<const bfloat16> v, device_view<bfloat16> out, cudaStream_t stream, const device_options& = {});
void attention(device_view<const bfloat16> q, device_view<const bfloat16> k, device_view<const bfloat16> v, device_view<float>    out, cudaStream_t stream, const device_options& = {});

void attention(device_view<const float>    q, device_view<const float>    k, device_view<const float>    v, device_view<float>    out, device_row_view<float>  lse, cudaStream_t stream, const device_options& = {});
void attention(device_view<const double>   q, device_view<const double>   k, device_view<const double>   v, device_view<double>   out, device_row_view<double> lse, cudaStream_t stream, const device_options& = {});
void attention(device_view<const float16>  q, device_view<const float16>  k, device_view<const float16>  v, device_view<float16>  out, device_row_view<float>  lse, cudaStream_t stream, const device_options& = {});
void attention(device_view<const float16>  q, device_view<const float16>  k, device_view<const float16>  v, device_view<float>    out, device_row_view<float>  lse, cudaStream_t stream, const device_options& = {});
void attention(device_view<const bfloat16> q, device_view<const bfloat16> k, device_view<const bfloat16> v, device_view<bfloat16> out, device_row_view<float>  lse, cudaStream_t stream, const device_options& = {});
void attention(device_view<const bfloat16> q, device_view<const bfloat16> k, device_view<const bfloat16> v, device_view<float>    out, device_row_view<float>  lse, cudaStream_t stream, const device_options& = {});
// clang-format on

// -------------------------------------------------------------------------------------------------- partial results
/// partial_view of attention.hpp in device memory: attention over some of the keys, not yet normalised. In base 2, with
/// y = logit · log2(e):  max = max y,  sum = Σ 2^(y - max),  out = Σ 2^(y - max) · v. Parts over disjoint keys merge exactly,
/// in any grouping, and the same numbers mean the same on the host. A row that sees no key has max = -inf and sum = 0; one that
/// sees keys whose logits are all minus infinity has max = -inf and sum > 0.
template <class T>
struct device_partial_view {
    device_view<T> out;     ///< (B, Hq, Sq, E), last dim contiguous
    device_row_view<T> max; ///< (B, Hq, Sq)
    device_row_view<T> sum; ///< (B, Hq, Sq)

    /// A view of T is a view of const T.
    template <class U>
        requires(std::is_same_v<U, const T> && !std::is_const_v<T>)
    constexpr operator device_partial_view<U>() const { // NOLINT(google-explicit-constructor)
        return {out, max, sum};
    }
};

// clang-format off
/// Attention of q over these keys only, as a partial result. Say where the keys stand with options.mask.at_offset.
void attention_partial(device_view<const float>    q, device_view<const float>    k, device_view<const float>    v, device_partial_view<float>  part, cudaStream_t stream, const device_options& = {});
void attention_partial(device_view<const double>   q, device_view<const double>   k, device_view<const double>   v, device_partial_view<double> part, cudaStream_t stream, const device_options& = {});
void attention_partial(device_view<const float16>  q, device_view<const float16>  k, device_view<const float16>  v, device_partial_view<float>  part, cudaStream_t stream, const device_options& = {});
void attention_partial(device_view<const bfloat16> q, device_view<const bfloat16> k, device_view<const bfloat16> v, device_partial_view<float>  part, cudaStream_t stream, const device_options& = {});

/// part = the attention over the keys of both, by core::online_softmax::merge. `part` may be the same memory as `a`.
void merge(device_partial_view<const float>  a, device_partial_view<const float>  b, device_partial_view<float>  part, cudaStream_t stream);
void merge(device_partial_view<const double> a, device_partial_view<const double> b, device_partial_view<double> part, cudaStream_t stream);

/// Normalises: out = part.out / part.sum, lse = (part.max + log2(part.sum)) · ln 2. `out` may be part.out's memory.
void finish(device_partial_view<const float>  part, device_view<float>  out, device_row_view<float>  lse, cudaStream_t stream);
void finish(device_partial_view<const double> part, device_view<double> out, device_row_view<double> lse, cudaStream_t stream);
// clang-format on

// ---------------------------------------------------------------------------------------------------------- explain
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

// clang-format off
[[nodiscard]] device_explanation explain(device_view<const float>    q, device_view<const float>    k, device_view<const float>    v, const device_options& = {});
[[nodiscard]] device_explanation explain(device_view<const double>   q, device_view<const double>   k, device_view<const double>   v, const device_options& = {});
[[nodiscard]] device_explanation explain(device_view<const float16>  q, device_view<const float16>  k, device_view<const float16>  v, const device_options& = {});
[[nodiscard]] device_explanation explain(device_view<const bfloat16> q, device_view<const bfloat16> k, device_view<const bfloat16> v, const device_options& = {});
// clang-format on

/// A few lines for people.
[[nodiscard]] std::string to_string(const device_explanation& e);
std::ostream& operator<<(std::ostream& os, const device_explanation& e);

} // namespace pantile
