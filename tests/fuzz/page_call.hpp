/// \file
/// A call of the public page as plain data, right or wrong: what a fuzzer makes up, a model judges, and the page is given.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include <pantile/attention.hpp>

#include "fuzz.hpp"

namespace pantile::fuzz {

enum class function : unsigned char { forward, forward_lse, partial, merge, finish, backward };

/// Of the inputs; `widened`: fp16 and bf16 give fp32.
enum class number : unsigned char { f32, f64, f16, f16_widened, bf16, bf16_widened };

/// One tensor, or one number a row (rank 3), somewhere in the arena, or not even there.
struct view {
    const char* name = "";
    bool output = false;
    int rank = 4;
    std::array<index_t, 4> extent{1, 1, 1, 1};
    std::array<index_t, 4> stride{};
    index_t at = 0; ///< bytes from the arena's begin
    bool null = false;
    index_t element_bytes = 4;
    bool device = false; ///< of gradients of heads only: said to be device memory

    [[nodiscard]] bool empty() const;
};

/// Slopes or sinks, somewhere in the arena. None without numbers.
struct heads {
    std::vector<double> numbers;
    bool narrow = false; ///< in fp32, to which they are rounded
    bool null = false;
    bool device = false;
    index_t at = 0;

    [[nodiscard]] index_t element_bytes() const { return narrow ? 4 : 8; }
    [[nodiscard]] index_t bytes() const { return static_cast<index_t>(numbers.size()) * element_bytes(); }
    /// As the page reads it.
    [[nodiscard]] double operator[](std::size_t i) const {
        return narrow ? static_cast<double>(static_cast<float>(numbers[i])) : numbers[i];
    }
};

struct page_call {
    function what = function::forward;
    number type = number::f32;
    std::vector<view>
        views; ///< in the order of the function's arguments; behind them dslopes and dsinks, where they are wanted
    std::size_t tensors = 0; ///< of the views, those that are arguments
    index_t used = 0;        ///< bytes of the arena that the call may know of
    options o;               ///< without memory
    heads slopes, sinks;
    std::optional<index_t> key_lengths_at;
    std::vector<index_t> key_lengths;
    index_t workspace_at = 0;
    index_t workspace_bytes = 0;

    [[nodiscard]] bool has_options() const { return what != function::merge && what != function::finish; }
    [[nodiscard]] const view& named(const std::string& name) const;
};

inline constexpr index_t arena_bytes = 256 << 10;

/// A small valid call, then spoilt by as many changes as the input has bytes for.
[[nodiscard]] page_call make_call(bytes& from);

/// The bytes of every element, sorted; nothing where these are too many. Only for views whose strides are within ±2^48.
[[nodiscard]] std::optional<std::vector<index_t>> places_of(const view& v);

/// Calls the page with the arena's memory.
void call_page(const page_call& c, std::byte* arena, const options& o);
[[nodiscard]] explanation explain_page(const page_call& c, std::byte* arena, const options& o);

} // namespace pantile::fuzz
