#include "run.hpp"

#include <exception>
#include <type_traits>

#include "../forward/merge_rows.hpp"
#include "../threads/parallel.hpp"
#include "../threads/scratch.hpp"

namespace pantile::inline v0::cpu {
namespace {

/// Work number i: row tiles of a head run from the last to the first, because under a causal mask the last is the longest.
forward_work work_of(const prepared& p, index_t i, index_t& split) {
    const core::problem& q = p.call.problem;
    const index_t splits = p.call.plan.key_splits;
    split = i % splits;
    i /= splits;
    forward_work w;
    w.row_tile = p.row_tiles - 1 - i % p.row_tiles;
    i /= p.row_tiles;
    w.head = i % p.heads();
    w.batch = i / p.heads();
    w.seq = q.sequence_of(w.batch);
    if (splits > 1) {
        // Whole key tiles a split, so that a split's tiles are the tiles of the unsplit walk.
        const index_t keys = w.seq.k_len;
        const index_t tile = p.call.plan.key_tile;
        const index_t length = core::round_up(core::ceil_div(keys, splits), tile);
        w.seq = w.seq.part({core::min(split * length, keys), core::min((split + 1) * length, keys)});
        w.carries_sink = split == 0;
    }
    return w;
}

/// The partial results of all splits: [split][batch][head][row] of {out, max, sum}.
template <class T>
struct split_results {
    const core::problem& problem;
    T* base;

    [[nodiscard]] index_t rows() const { return problem.batch * problem.q_heads * problem.q_len; }
    [[nodiscard]] T* of_split(index_t split) const { return base + split * rows() * (problem.value_dim + 2); }
    [[nodiscard]] T* max_of(index_t split) const { return of_split(split) + rows() * problem.value_dim; }
    [[nodiscard]] T* sum_of(index_t split) const { return max_of(split) + rows(); }

    [[nodiscard]] output to(index_t split) const {
        const index_t head = problem.q_len;
        const index_t batch = head * problem.q_heads;
        const index_t e = problem.value_dim;
        output to;
        to.out = {of_split(split), dtype_of<T>, memory::host, 4, {}, {batch * e, head * e, e, 1}};
        to.max = {max_of(split), dtype_of<T>, memory::host, 3, {}, {batch, head, 1}};
        to.sum = {sum_of(split), dtype_of<T>, memory::host, 3, {}, {batch, head, 1}};
        return to;
    }

    /// Merges the splits of row `row` (of all heads and batches) in index order, into split 0.
    [[nodiscard]] core::softmax_state<T> merge(index_t row, index_t splits) const {
        const index_t e = problem.value_dim;
        core::softmax_state<T> state{max_of(0)[row], sum_of(0)[row]};
        T* out = of_split(0) + row * e;
        for (index_t s = 1; s < splits; ++s) {
            const core::softmax_state<T> next{max_of(s)[row], sum_of(s)[row]};
            state = merge_row<T>(state, out, 1, next, of_split(s) + row * e, 1, out, 1, e);
        }
        return state;
    }
};

template <class T>
void put(const tensor_ref& to, index_t b, index_t h, index_t i, T x) {
    if (to.data != nullptr) static_cast<T*>(to.data)[b * to.stride[0] + h * to.stride[1] + i * to.stride[2]] = x;
}

/// One row's splits, merged and stored to the caller's tensors.
template <class T>
void finish_row(const split_results<T>& parts, index_t row, index_t splits, const output& to) {
    const core::problem& p = parts.problem;
    const index_t i = row % p.q_len;
    const index_t h = row / p.q_len % p.q_heads;
    const index_t b = row / p.q_len / p.q_heads;
    const core::softmax_state<T> state = parts.merge(row, splits);
    const T factor = to.max.data != nullptr ? T(1) : core::finish_factor(state);
    const T* out = parts.of_split(0) + row * p.value_dim;
    with_elements<T>(to.out.data, to.out.type, [&](auto* data) {
        using number = std::remove_pointer_t<decltype(data)>;
        number* target = data + (b * to.out.stride[0] + h * to.out.stride[1] + i * to.out.stride[2]);
        for (index_t x = 0; x < p.value_dim; ++x) target[x * to.out.stride[3]] = number(out[x] * factor);
    });
    put(to.lse, b, h, i, core::finish_lse(state));
    put(to.max, b, h, i, state.max);
    put(to.sum, b, h, i, state.sum);
}

template <class T>
void run_split(const prepared& p, const output& to, const workspace& memory) {
    const split_results<T> parts{p.call.problem, reinterpret_cast<T*>(memory.shared())};
    parallel_for(p.works(), p.threads, [&](index_t i, index_t thread) {
        index_t split = 0;
        const forward_work work = work_of(p, i, split);
        p.forward->run(p.call, work, parts.to(split), memory.of_thread(thread));
    });
    parallel_for(parts.rows(), core::min(p.threads, parts.rows() / 64 + 1),
                 [&](index_t row, index_t) { finish_row(parts, row, p.call.plan.key_splits, to); });
}

} // namespace

void run(const prepared& p, const output& to, std::span<std::byte> given_workspace) {
    const workspace memory(given_workspace, p.threads, p.scratch_bytes, p.shared_bytes, "explain");
    if (p.call.plan.key_splits > 1) {
        if (p.number_bytes == 8) return run_split<double>(p, to, memory);
        return run_split<float>(p, to, memory);
    }
    parallel_for(p.works(), p.threads, [&](index_t i, index_t thread) {
        index_t split = 0;
        const forward_work work = work_of(p, i, split);
        p.forward->run(p.call, work, to, memory.of_thread(thread));
    });
}

} // namespace pantile::inline v0::cpu
