/// \file
/// Closed forms of the traffic between near memory (a core's cache, shared memory) and far memory, in elements, of each
/// walk. `explain` reports them; the simulator runs the walks and holds its counts equal to them, in integers.
///
/// Sizes of one head: q query rows, k keys, d head dim, e value dim. A ragged edge enters only through which tiles exist.
#pragma once

#include <pantile/core/band.hpp>
#include <pantile/core/macros.hpp>
#include <pantile/core/problem.hpp>
#include <pantile/core/tile_plan.hpp>

namespace pantile::inline v0::core {

/// Elements read from and written to far memory.
struct transfers {
    index_t reads = 0;
    index_t writes = 0;
    constexpr bool operator==(const transfers&) const = default;
    PANTILE_FN transfers operator+(const transfers& o) const { return {reads + o.reads, writes + o.writes}; }
};

/// What a walk can move, tensor by tensor. The score-sized ones appear only in the unfused algorithm.
struct traffic {
    transfers q, k, v, out, lse;       // forward
    transfers dout, dq, dk, dv, delta; // backward; delta = rowsum(dout ∘ out)
    transfers scores, probabilities, dscores, dprobabilities;

    constexpr bool operator==(const traffic&) const = default;
    PANTILE_FN transfers total() const {
        return q + k + v + out + lse + dout + dq + dk + dv + delta + scores + probabilities + dscores + dprobabilities;
    }
};

/// Keys that the row tiles of a sequence bring in, together: Σ over row tiles of the keys of the tiles it visits. The keys
/// that a row tile sees are one run (consecutive rows' bands overlap), so its visited tiles are one run too.
PANTILE_FN index_t visited_keys(const band& m, index_t q_len, index_t row_tile, index_t key_tile) {
    if (m.left + m.right < 0) return 0;
    index_t sum = 0;
    for (index_t r = 0; r < q_len; r += row_tile) {
        const index_t lo = m.lo(r);
        const index_t hi = m.hi(min(r + row_tile, q_len) - 1);
        if (hi > lo) sum += min(m.k_len, round_up(hi, key_tile)) - lo / key_tile * key_tile;
    }
    return sum;
}

/// Rows that the key tiles of a sequence bring in, together.
PANTILE_FN index_t visited_rows(const band& m, index_t q_len, index_t row_tile, index_t key_tile) {
    if (m.left + m.right < 0) return 0;
    index_t sum = 0;
    for (index_t c = 0; c < m.k_len; c += key_tile) {
        const span r = m.rows(q_len, {c, min(c + key_tile, m.k_len)});
        if (!r.empty()) sum += min(q_len, round_up(r.end, row_tile)) - r.begin / row_tile * row_tile;
    }
    return sum;
}

/// FlashAttention-2 forward (Algorithm 1): Q once, K and V once a visiting row tile, out and lse once.
PANTILE_FN traffic forward_traffic(const problem& p, const tile_plan& plan) {
    traffic t;
    for (index_t b = 0; b < p.batch; ++b) {
        const sequence s = p.sequence_of(b);
        const index_t keys = visited_keys(p.band_of(s), s.q_len, plan.row_tile, plan.key_tile);
        t.q.reads += p.q_heads * s.q_len * p.head_dim;
        t.k.reads += p.q_heads * keys * p.head_dim;
        t.v.reads += p.q_heads * keys * p.value_dim;
        t.out.writes += p.q_heads * s.q_len * p.value_dim;
        t.lse.writes += p.q_heads * s.q_len;
    }
    return t;
}

/// FlashAttention-2 backward (Algorithm 2) with dQ accumulated in far memory and converted at the end: delta from out and
/// dout; K and V once a key tile; Q, dout, dQ, lse, delta once a visiting key tile; dQ zeroed, updated, converted.
PANTILE_FN traffic backward_traffic(const problem& p, const tile_plan& plan) {
    traffic t;
    for (index_t b = 0; b < p.batch; ++b) {
        const sequence s = p.sequence_of(b);
        const index_t rows = visited_rows(p.band_of(s), s.q_len, plan.row_tile, plan.key_tile);
        const index_t h = p.q_heads;
        const index_t d = p.head_dim;
        const index_t e = p.value_dim;
        t.out.reads += h * s.q_len * e;
        t.dout.reads += h * (s.q_len + rows) * e;
        t.delta.writes += h * s.q_len;
        t.k.reads += h * s.k_len * d;
        t.v.reads += h * s.k_len * e;
        t.q.reads += h * rows * d;
        t.lse.reads += h * rows;
        t.delta.reads += h * rows;
        t.dq.reads += h * (rows + s.q_len) * d;
        t.dq.writes += h * (rows + 2 * s.q_len) * d;
        t.dk.writes += h * s.k_len * d;
        t.dv.writes += h * s.k_len * e;
    }
    return t;
}

/// The unfused forward pass (FlashAttention, Algorithm 0): S = Q·Kᵀ, P = softmax(S), O = P·V, each through far memory.
PANTILE_FN traffic standard_forward_traffic(const problem& p) {
    traffic t;
    for (index_t b = 0; b < p.batch; ++b) {
        const sequence s = p.sequence_of(b);
        const index_t pairs = p.q_heads * s.q_len * s.k_len;
        t.q.reads += p.q_heads * s.q_len * p.head_dim;
        t.k.reads += p.q_heads * s.k_len * p.head_dim;
        t.v.reads += p.q_heads * s.k_len * p.value_dim;
        t.scores = t.scores + transfers{pairs, pairs};
        t.probabilities = t.probabilities + transfers{pairs, pairs};
        t.out.writes += p.q_heads * s.q_len * p.value_dim;
    }
    return t;
}

/// The unfused backward pass (FlashAttention, Algorithm 3), P kept from the forward pass.
PANTILE_FN traffic standard_backward_traffic(const problem& p) {
    traffic t;
    for (index_t b = 0; b < p.batch; ++b) {
        const sequence s = p.sequence_of(b);
        const index_t pairs = p.q_heads * s.q_len * s.k_len;
        const index_t q = p.q_heads * s.q_len;
        const index_t k = p.q_heads * s.k_len;
        t.probabilities.reads += 2 * pairs; // dV = Pᵀ·dO, dS = P ∘ (dP - delta)
        t.dprobabilities = t.dprobabilities + transfers{pairs, pairs};
        t.dscores = t.dscores + transfers{2 * pairs, pairs}; // read for dQ = dS·K and for dK = dSᵀ·Q
        t.dout.reads += 2 * q * p.value_dim;
        t.v.reads += k * p.value_dim;
        t.k.reads += k * p.head_dim;
        t.q.reads += q * p.head_dim;
        t.dv.writes += k * p.value_dim;
        t.dq.writes += q * p.head_dim;
        t.dk.writes += k * p.head_dim;
    }
    return t;
}

/// Pairs that are visible, all batches and query heads together: what a FLOP count should count.
PANTILE_FN index_t visible_pairs(const problem& p) {
    index_t pairs = 0;
    for (index_t b = 0; b < p.batch; ++b) {
        const sequence s = p.sequence_of(b);
        const band m = p.band_of(s);
        for (index_t i = 0; i < s.q_len; ++i) pairs += p.q_heads * m.keys(i).size();
    }
    return pairs;
}

} // namespace pantile::inline v0::core
