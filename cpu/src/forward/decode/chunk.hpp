/// \file
/// Dims of a row of K or V in whole vectors of compute precision, converted in registers on the way in.
#pragma once

#include "../../micro/convert.hpp"

namespace pantile::inline v0::cpu::decode {

/// A run of dims that are read at once. Where they lie in the vectors is up to the type: what meets them, packed Q and the
/// sums of O, is kept in the same order.
template <class V, class From>
struct chunk {
    static constexpr int vectors = 1;
    static constexpr index_t dims = lanes<V>;
    V at[1];

    static PANTILE_INLINE chunk load(const From* p) { return {{load_as<V>(p)}}; }
    /// The number, counted through the vectors, of dim i.
    static PANTILE_INLINE index_t place(index_t i) { return i; }
};

/// bf16 in pairs: even dims, then odd ones. A 32-bit word holds both: a shift makes fp32 of the even one, a mask of the odd
/// one. Half the instructions of widening 16 bits to 32 first.
template <class V>
struct chunk<V, bfloat16> {
    static constexpr int vectors = 2;
    static constexpr index_t dims = 2 * lanes<V>;
    V at[2];

    static PANTILE_INLINE chunk load(const bfloat16* p) {
        using words = xsimd::batch<std::uint32_t, typename V::arch_type>;
        const words pairs = words::load_unaligned(reinterpret_cast<const std::uint32_t*>(p));
        return {{xsimd::bitwise_cast<V>(pairs << 16), xsimd::bitwise_cast<V>(pairs & words(0xffff0000U))}};
    }
    static PANTILE_INLINE index_t place(index_t i) { return i % 2 * lanes<V> + i / 2; }
};

/// How `dim` dims are cut into chunks: one after the other, and, if they do not fill the last, a last one that ends where
/// the dims end. It repeats dims of the one before; a product must count them once.
template <class V, class From>
struct cut {
    using piece = chunk<V, From>;
    static constexpr index_t dims = chunk<V, From>::dims;
    index_t dim; ///< at least `dims`

    /// Dims that a row of `dim` must have: a short one is filled up with zeros.
    static PANTILE_INLINE index_t width(index_t dim) { return core::max(dim, dims); }

    [[nodiscard]] PANTILE_INLINE index_t whole() const { return dim / dims; }
    [[nodiscard]] PANTILE_INLINE bool has_rest() const { return dim % dims != 0; }
    [[nodiscard]] PANTILE_INLINE index_t chunks() const { return whole() + (has_rest() ? 1 : 0); }
    /// First dim of chunk c.
    [[nodiscard]] PANTILE_INLINE index_t first(index_t c) const { return c < whole() ? c * dims : dim - dims; }
    /// Dims of chunk c that the chunk before has, too.
    [[nodiscard]] PANTILE_INLINE index_t repeated(index_t c) const { return c < whole() ? 0 : dims - dim % dims; }
};

} // namespace pantile::inline v0::cpu::decode
