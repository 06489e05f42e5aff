/// \file
/// Calls at the edges of what numbers can hold: their shapes, types and inputs.
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "api_call.hpp"

namespace pantile::test {

inline constexpr double infinity = std::numeric_limits<double>::infinity();
inline constexpr dtype types[] = {dtype::fp64, dtype::fp32, dtype::fp16, dtype::bf16};

/// Calls of every kind that this machine has: types × instruction sets, out in the precision computed in.
template <class F>
void for_each_style(F f) {
    for (const dtype type : types) {
        for (const isa set : available_isas()) {
            call_style s;
            s.type = type;
            s.wide_out = type == dtype::fp16 || type == dtype::bf16;
            s.set = set;
            SCOPED_TRACE(std::string(name(type)) + ", " + name(set));
            f(s);
        }
    }
}

inline attention_case shape(index_t q_len, index_t k_len, index_t dim = 16) {
    attention_case c;
    c.q_len = q_len;
    c.k_len = k_len;
    c.head_dim = c.value_dim = dim;
    return c;
}

/// Rows of decode, of one panel, and of several with more keys than one tile has.
inline const std::vector<attention_case>& shapes() {
    static const std::vector<attention_case> all = {shape(2, 40), shape(40, 50), shape(70, 300)};
    return all;
}

/// Every q is `q`, every k is `k`; values are random.
inline attention_inputs constant_inputs(const attention_case& c, dtype type, double q, double k) {
    attention_inputs in = make_inputs(c, type, data_kind::normal, 11);
    std::fill(in.q.data.begin(), in.q.data.end(), rounded(q, type));
    std::fill(in.k.data.begin(), in.k.data.end(), rounded(k, type));
    return in;
}

} // namespace pantile::test
