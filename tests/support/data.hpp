/// \file
/// Numbers to compute with: ordinary ones, and those that break careless kernels.
#pragma once

#include <cstdint>

#include <support/error_rule.hpp>

namespace pantile::test {

enum class data_kind : unsigned char {
    normal,         ///< standard normal
    uniform,        ///< [0, 1): every product positive, sums without cancellation
    large_logits,   ///< logits of several hundred: the softmax is nearly one-hot, exp without its maximum overflows
    constant_rows,  ///< all keys alike: every probability equal
    repeated_rows,  ///< rows of q, k, v and dout are each one of three, logits large: what is equal errs alike
    growing_maxima, ///< each key beats all before it: every tile rescales what was accumulated
    falling_maxima, ///< the first key wins: everything after it underflows
    tiny,           ///< near the smallest numbers of the type
    zeros,          ///< many exact zeros
};
inline constexpr data_kind data_kinds[] = {
    data_kind::normal,         data_kind::uniform,       data_kind::large_logits,
    data_kind::constant_rows,  data_kind::repeated_rows, data_kind::growing_maxima,
    data_kind::falling_maxima, data_kind::tiny,          data_kind::zeros};
[[nodiscard]] const char* name(data_kind k);

/// q, k, v, dout of a case, each number exact in `t`. The same arguments give the same numbers on every machine.
[[nodiscard]] attention_inputs make_inputs(const attention_case& c, dtype t, data_kind kind, std::uint64_t seed);

/// The inputs as tensors of `t` in layout `l` store them: where it broadcasts, one index stands for all.
[[nodiscard]] attention_inputs as_stored(const attention_inputs& in, layout l, dtype t);

/// Fills the features that `c` has switched on (a non-empty slopes, sinks, bias or weight) with numbers. Slopes and sinks
/// are exact in fp32; some slopes are negative, some sinks minus infinity, which is none.
void fill_features(attention_case& c, std::uint64_t seed);

} // namespace pantile::test
