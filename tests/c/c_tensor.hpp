/// \file
/// Tensors of the C interface from views, and random numbers for them.
#pragma once

#include <cstring>
#include <random>
#include <type_traits>
#include <vector>

#include <pantile.h>
#include <pantile/attention.hpp>

namespace pantile::test {

/// The same tensor in C. Its numbers are named here, and not by the library's own translation.
inline pantile_tensor in_c(const tensor_ref& t) {
    pantile_tensor c = {};
    c.data = t.data;
    c.dtype = t.type == dtype::fp32 ? 0 : t.type == dtype::fp64 ? 1 : t.type == dtype::fp16 ? 2 : 3;
    c.memory = t.where == memory::host ? 0 : 1;
    c.rank = t.rank;
    for (int i = 0; i < t.rank; ++i) {
        c.extent[i] = t.extent[i];
        c.stride[i] = t.stride[i];
    }
    return c;
}

inline pantile_partial in_c(const partial_ref& p) {
    return {sizeof(pantile_partial), in_c(p.out), in_c(p.max), in_c(p.sum)};
}

inline pantile_head_gradients heads_in_c(const head_gradients& g) {
    if (!g.wanted) return {};
    return {g.data, g.count, g.type == dtype::fp64 ? 1 : 0, g.where == memory::host ? 0 : 1};
}

template <class T>
[[nodiscard]] std::vector<T> random_numbers(index_t count, unsigned seed) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal;
    std::vector<T> x;
    for (index_t n = 0; n < count; ++n) x.push_back(T(normal(engine)));
    return x;
}

template <class T>
[[nodiscard]] bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

} // namespace pantile::test
