/// \file
/// Tensors as every machine receives them: plain data, the element type and the place of the memory known at run time.
#pragma once

#include <cstdint>

#include <pantile/core/dtype.hpp>
#include <pantile/core/macros.hpp>

namespace pantile::inline v0 {

/// Whose memory it is: the host's, or the current CUDA device's.
enum class memory : unsigned char { host, device };

/// A tensor of any element type, (batch, heads, length, dim) or, with rank 3, (batch, heads, length). Views convert to it.
/// Extents and strides beyond the rank are not read. Strides are in elements. Inputs are only read.
struct tensor_ref {
    void* data = nullptr; ///< null: not given, or empty
    dtype type = dtype::fp32;
    memory where = memory::host;
    int rank = 4;
    index_t extent[4] = {0, 0, 0, 0};
    index_t stride[4] = {0, 0, 0, 0};

    [[nodiscard]] PANTILE_FN bool empty() const {
        for (int i = 0; i < rank; ++i) {
            if (extent[i] == 0) return true;
        }
        return false;
    }
};

namespace core {

/// One whole number a batch, of 64 or of 32 bits; none by default.
struct lengths_ref {
    const index_t* wide = nullptr;
    const std::int32_t* narrow = nullptr;

    [[nodiscard]] PANTILE_FN bool given() const { return wide != nullptr || narrow != nullptr; }
    [[nodiscard]] PANTILE_FN index_t operator[](index_t b) const { return wide != nullptr ? wide[b] : narrow[b]; }
    [[nodiscard]] PANTILE_FN const void* data() const {
        return wide != nullptr ? static_cast<const void*>(wide) : narrow;
    }
    [[nodiscard]] PANTILE_FN index_t element_bytes() const { return wide != nullptr ? 8 : 4; }
    constexpr bool operator==(const lengths_ref&) const = default;
};

} // namespace core
} // namespace pantile::inline v0
