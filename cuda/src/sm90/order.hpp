#pragma once

#include <pantile/core/problem.hpp>

#include <cstdint>

// The order in which the persistent blocks of a Hopper launch take row tiles.

namespace pantile::inline v0::cuda {

/// Division by a number that is known at the launch: a product and a shift for some twenty dependent instructions.
struct divisor {
    std::uint32_t value = 1;
    std::uint32_t factor = 1U << 31; ///< 2^(31 + shift) / value, rounded up
    std::uint32_t shift = 0;         ///< the least with value <= 2^shift

    static constexpr divisor of(std::uint32_t value) {
        divisor d{value, 0, 0};
        while ((std::uint64_t{1} << d.shift) < value) ++d.shift;
        d.factor = static_cast<std::uint32_t>(((std::uint64_t{1} << (31 + d.shift)) + value - 1) / value);
        return d;
    }
    /// n / value, rounded down, for n < 2^31: rounding the factor up adds less than 1 / value to the quotient.
    [[nodiscard]] PANTILE_FN std::uint32_t quotient(std::uint32_t n) const {
        return static_cast<std::uint32_t>(static_cast<std::uint64_t>(n) * factor >> (31 + shift));
    }
};

/// One row tile of one query head of one batch.
struct head_rows {
    int batch = 0;
    int head = 0;
    int kv_head = 0;
    int row_tile = 0;
};

/// The row tiles of a launch, numbered. Heads run one after the other, so that the blocks of a moment share K and V; the
/// last `tail` heads run together. Last row tiles come first: under a causal mask they are the longest, and short ones
/// should end the launch.
struct work_order {
    std::uint32_t items = 0;       ///< heads · row_tiles, less than 2^31; heads count over all batches
    std::uint32_t heads_apart = 0; ///< heads before the tail
    std::uint32_t blocks = 1;      ///< that share the items
    divisor row_tiles;             ///< of a head
    divisor tail;
    divisor q_heads;
    divisor group; ///< query heads of a kv head

    static constexpr work_order of(const core::problem& p, index_t row_tiles, index_t tail, index_t blocks) {
        const auto narrow = [](index_t n) { return static_cast<std::uint32_t>(n); };
        const index_t heads = p.batch * p.q_heads;
        return {narrow(heads * row_tiles),      narrow(heads - tail),      narrow(core::min(heads * row_tiles, blocks)),
                divisor::of(narrow(row_tiles)), divisor::of(narrow(tail)), divisor::of(narrow(p.q_heads)),
                divisor::of(narrow(p.group()))};
    }

    [[nodiscard]] PANTILE_FN head_rows item(std::uint32_t n) const {
        std::uint32_t head = row_tiles.quotient(n);
        std::uint32_t place = n - head * row_tiles.value; // within the head
        if (head >= heads_apart) {
            n -= heads_apart * row_tiles.value;
            place = tail.quotient(n);
            head = heads_apart + n - place * tail.value;
        }
        const std::uint32_t batch = q_heads.quotient(head);
        head -= batch * q_heads.value;
        return {static_cast<int>(batch), static_cast<int>(head), static_cast<int>(group.quotient(head)),
                static_cast<int>(row_tiles.value - 1 - place)};
    }
};

} // namespace pantile::inline v0::cuda
