/// \file
/// What a simulated run counts: elements that cross between far and near memory, tensor by tensor, and arithmetic.
#pragma once

#if defined(PANTILE_LINKS_CORE) && !defined(PANTILE_LINKS_SIMULATOR) // what pantile's CMake targets say of themselves
#error "<pantile/simulator.hpp> belongs to the simulator's library: link pantile::simulator"
#endif

#include <array>
#include <string_view>

#include <pantile/core/dtype.hpp>
#include <pantile/core/macros.hpp>
#include <pantile/core/traffic.hpp>

namespace pantile::inline v0::simulator {

/// Everything that an algorithm may keep in far memory.
enum class tensor : unsigned char {
    q,
    k,
    v,
    out,
    lse,
    row_max, ///< m of FlashAttention-1
    row_sum, ///< l of FlashAttention-1
    scores,
    probabilities,
    partial_out, ///< O of one split of the keys, not normalised; of ring's rounds normalised
    partial_max, ///< of one split, in base 2
    partial_sum,
    partial_lse, ///< of ring's rounds
    dout,
    delta,  ///< rowsum(dout ∘ out)
    dq_sum, ///< dq while it is being summed, fp32
    dq,
    dk,
    dv,
    dprobabilities,
    dscores,
};
inline constexpr int tensor_kinds = static_cast<int>(tensor::dscores) + 1;

/// "q", "k", … as the tool prints them.
[[nodiscard]] PANTILE_API std::string_view name(tensor t);

/// Types of the tensors that a user owns. lse, statistics, partial results and dq_sum are fp32 whatever the type (fp64
/// for fp64).
using pantile::bytes_of;
using pantile::dtype;
[[nodiscard]] PANTILE_API std::string_view name(dtype type);
/// Throws invalid_argument for an unknown name.
[[nodiscard]] PANTILE_API dtype parse_dtype(std::string_view type_name);
/// Bytes of one element of `t` in a call on `type`.
[[nodiscard]] PANTILE_API index_t bytes_of(tensor t, dtype type);

/// a + b, a · b; throw std::overflow_error instead of wrapping.
[[nodiscard]] PANTILE_API index_t checked_add(index_t a, index_t b);
[[nodiscard]] PANTILE_API index_t checked_mul(index_t a, index_t b);

/// Reads from and writes to far memory, in elements, for each tensor.
struct PANTILE_API counts {
    std::array<core::transfers, tensor_kinds> moved{};

    core::transfers& operator[](tensor t) { return moved[static_cast<std::size_t>(t)]; }
    const core::transfers& operator[](tensor t) const { return moved[static_cast<std::size_t>(t)]; }
    void read(tensor t, index_t elements) { (*this)[t].reads = checked_add((*this)[t].reads, elements); }
    void write(tensor t, index_t elements) { (*this)[t].writes = checked_add((*this)[t].writes, elements); }

    [[nodiscard]] core::transfers elements() const;
    [[nodiscard]] core::transfers bytes(dtype type) const;
    counts& operator+=(const counts& other);
    bool operator==(const counts&) const = default;
};

/// Arithmetic, as the tiles ask for it: a partial tile is computed whole.
struct PANTILE_API work {
    index_t matrix_flops = 0; ///< 2·m·n·k a matrix product
    index_t exponentials = 0;
    index_t vector_flops = 0; ///< scaling, maxima, sums, rescaling of accumulators
    index_t near_bytes = 0;   ///< operand bytes that the matrix products read from near memory

    work& operator+=(const work& other);
    bool operator==(const work&) const = default;
};

} // namespace pantile::inline v0::simulator
