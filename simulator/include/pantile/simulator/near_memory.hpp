/// \file
/// Near memory as a scratchpad: what is live must fit, and a refusal names the live set.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/counts.hpp>

namespace pantile::inline v0::simulator {

/// What a tile in near memory is for; it decides the width of its numbers and, on machines with registers, its place.
enum class tile_role : unsigned char {
    operand,     ///< input of a matrix product, in the tensors' type: Q, K, V, dO
    accumulator, ///< S and P, O, dK, dV, dQ
    statistic,   ///< max, sum, lse, delta
    streamed,    ///< passes through in pieces of no fixed size: takes no room (idealised matrix products)
};

/// Near memory of one block (one row tile's or key tile's work).
struct PANTILE_API near_memory {
    index_t bytes = unbounded;     ///< scratchpad
    index_t accumulator_bytes = 0; ///< registers for accumulators and statistics; 0: these lie in the scratchpad too
    index_t operand_width = 1;
    index_t accumulator_width = 1;
    index_t statistic_width = 1;
    int stages = 1;                     ///< buffers of each streamed tile: 2 is double buffering
    bool probabilities_in_place = true; ///< P overwrites S; false: P has an operand tile of its own
    index_t product_rows = 64;          ///< rows of a product that share one pass over its right operand

    /// The model of the papers: M elements, every number counts as one.
    [[nodiscard]] static near_memory of_elements(index_t m);
    /// `bytes` of scratchpad (and of registers) for a call on `type`: accumulators are fp32 (fp64 for fp64).
    [[nodiscard]] static near_memory of_bytes(index_t bytes, dtype type, index_t accumulator_bytes = 0);
    [[nodiscard]] index_t width(tile_role role) const;
    /// Is this the model of the papers?
    [[nodiscard]] bool counts_elements() const { return operand_width == 1 && accumulator_width == 1; }
};

/// The live tiles of one place (scratchpad or registers).
class PANTILE_API scratchpad {
  public:
    scratchpad(std::string place, index_t capacity) : place_(std::move(place)), capacity_(capacity) {}

    /// Reserves bytes for a named tile and returns a ticket; throws does_not_fit if the live set would exceed the capacity.
    int hold(std::string_view name, index_t bytes);
    void release(int ticket);

    [[nodiscard]] index_t used() const { return used_; }
    [[nodiscard]] index_t peak() const { return peak_; }
    [[nodiscard]] index_t capacity() const { return capacity_; }
    /// "Q 16384 + K 32768 + …", largest first.
    [[nodiscard]] std::string live_set() const;

  private:
    struct entry {
        std::string_view name;
        index_t bytes = 0;
        bool live = false;
    };
    std::string place_;
    index_t capacity_ = 0;
    index_t used_ = 0;
    index_t peak_ = 0;
    std::vector<entry> entries_;
};

/// The live tiles exceed the near memory. The text lists every live tile with its size and says by how much they exceed it.
class PANTILE_API does_not_fit : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

} // namespace pantile::inline v0::simulator
