/// \file
/// The policy that turns a raw score s = q·k into a logit x, and dx/ds, for the plain machine. Order on a logit: scale, softcap,
/// then bias and ALiBi, then the mask. Policies take the score of one pair and its place (batch, head, row, key); the machine
/// multiplies the logit by log2(e) itself.
#pragma once

#include <cmath>

#include <pantile/core/macros.hpp>

namespace pantile::test {

/// Where a score stands: batch, query head, query row, key.
struct pair_index {
    index_t batch = 0;
    index_t head = 0;
    index_t row = 0;
    index_t key = 0;
};

/// x = scale · s.
template <class T>
struct scaled {
    T scale = T(1);
    PANTILE_FN T value(T s, const pair_index&) const { return scale * s; }
    PANTILE_FN T derivative(T, const pair_index&) const { return scale; }
};

/// x = cap · tanh(scale · s / cap) (Gemma 2, arXiv 2408.00118).
template <class T>
struct softcapped {
    T scale = T(1);
    T cap = T(1);
    PANTILE_FN T value(T s, const pair_index&) const { return cap * std::tanh(scale * s / cap); }
    PANTILE_FN T derivative(T s, const pair_index&) const {
        const T t = std::tanh(scale * s / cap);
        return scale * (T(1) - t * t);
    }
};

/// x = base(s) - slope[head] · |row + offset - key| (ALiBi, arXiv 2108.12409).
template <class T, class Base = scaled<T>>
struct with_alibi {
    Base base;
    const T* slopes = nullptr; ///< one a query head
    index_t offset = 0;        ///< the mask's
    PANTILE_FN T value(T s, const pair_index& at) const {
        const index_t distance = at.row + offset - at.key;
        return base.value(s, at) - slopes[at.head] * static_cast<T>(distance < 0 ? -distance : distance);
    }
    PANTILE_FN T derivative(T s, const pair_index& at) const { return base.derivative(s, at); }
};

/// x = base(s) + bias[batch, head, row, key], strides in elements, 0 where the bias is broadcast; -inf masks.
template <class T, class Base = scaled<T>>
struct with_bias {
    Base base;
    const T* bias = nullptr;
    index_t stride[4] = {0, 0, 0, 0};
    PANTILE_FN index_t place(const pair_index& at) const {
        return at.batch * stride[0] + at.head * stride[1] + at.row * stride[2] + at.key * stride[3];
    }
    PANTILE_FN T value(T s, const pair_index& at) const { return base.value(s, at) + bias[place(at)]; }
    PANTILE_FN T derivative(T s, const pair_index& at) const { return base.derivative(s, at); }
};

/// weight = 1 for every pair: what P is multiplied by on its way into O, after the sum (dropout gives 0 or 1/(1-p)).
struct unit_weight {
    PANTILE_FN int operator()(const pair_index&) const { return 1; }
};

} // namespace pantile::test
