#include <support/plain_attention.hpp>

#include <algorithm>

#include <support/plain_machine.hpp>

namespace pantile::test {
namespace {

using core::log2_e;

alignment alignment_of(anchor a) {
    switch (a) {
    case anchor::bottom_right:
        return alignment::bottom_right;
    case anchor::top_left:
        return alignment::top_left;
    case anchor::explicit_offset:
        return alignment::explicit_offset;
    }
    return alignment::bottom_right;
}

core::problem problem_of(const attention_case& c) {
    core::problem p;
    p.batch = c.batch;
    p.q_heads = c.q_heads;
    p.kv_heads = c.kv_heads;
    p.q_len = c.q_len;
    p.k_len = c.k_len;
    p.head_dim = c.head_dim;
    p.value_dim = c.value_dim;
    p.mask.left = c.left.value_or(unbounded);
    p.mask.right = c.right.value_or(unbounded);
    p.mask.align = alignment_of(c.align);
    p.mask.offset = c.offset;
    p.key_lengths = {c.key_lengths.empty() ? nullptr : c.key_lengths.data()};
    p.scale = c.scale;
    return p;
}

struct weights {
    const tensor<double>* table = nullptr; ///< null: 1 everywhere
    double operator()(const pair_index& at) const {
        return table == nullptr ? 1.0 : (*table)(at.batch, at.head, at.row, at.key);
    }
};

/// The keys of a page lie together, the pages in reverse order with a hole between: row(key) is far from the identity.
struct page_pool {
    std::vector<index_t> table;
    paged_keys locator;
    index_t rows = 0;

    page_pool(index_t keys, index_t page) {
        const index_t pages = core::ceil_div(keys, page);
        for (index_t n = 0; n < pages; ++n) table.push_back(2 * (pages - 1 - n) + 1);
        locator = {table.data(), 0, page};
        rows = 2 * pages * page;
    }
    /// The rows of one head of a tensor, moved into the pool; holes are NaN.
    [[nodiscard]] std::vector<double> spread(const double* from, index_t keys, index_t dim) const {
        std::vector<double> pool(static_cast<std::size_t>(rows * dim), std::nan(""));
        for (index_t j = 0; j < keys; ++j) {
            std::copy_n(from + j * dim, dim, pool.begin() + locator.row(0, j) * dim);
        }
        return pool;
    }
    void gather(const std::vector<double>& pool, double* to, index_t keys, index_t dim) const {
        for (index_t j = 0; j < keys; ++j) {
            for (index_t x = 0; x < dim; ++x) {
                to[j * dim + x] += pool[static_cast<std::size_t>(locator.row(0, j) * dim + x)];
            }
        }
    }
};

/// One head, forward and backward, with a logits policy and a locator.
template <class Logits, class Locator>
void one_head(const attention_case& c, const core::problem& p, const core::sequence& seq, const cut& how,
              const plain_head& head, const Logits& logits, const Locator& locator, const double* dout,
              const plain_gradients& gradients, double* out, double* lse, double* dsink) {
    using softmax = core::online_softmax<core::scalar_ops<double>>;
    const tile_plan tiles{how.row_tile, how.key_tile, how.splits};
    const weights weight{c.weight.empty() ? nullptr : &c.weight};
    const auto h = static_cast<std::size_t>(head.head);
    const double* const sink = c.sinks.empty() || c.sinks[h] == -HUGE_VAL ? nullptr : &c.sinks[h];
    core::tile_map map;
    if (!c.block_mask.empty()) map = {c.block_mask.data.data(), c.block_rows, c.block_cols, c.block_mask.extent[3]};

    // Parts begin at block and page edges, so that the map and the pages can be shifted with them.
    index_t edge = std::max<index_t>(map.block_cols, 1);
    if (how.page > 0) edge *= how.page;
    const index_t part_keys = core::round_up(core::ceil_div(std::max<index_t>(seq.k_len, 1), how.splits), edge);
    plain_partial whole;
    for (index_t begin = 0; begin == 0 || begin < seq.k_len; begin += part_keys) {
        const core::sequence part = seq.part({begin, std::min(begin + part_keys, seq.k_len)});
        core::tile_map shifted = map;
        if (map.visible != nullptr) shifted.visible += begin / map.block_cols;
        const core::schedule plan(p, part, tiles, locator.run_length(), shifted);
        plain_partial here{std::vector<core::softmax_state<double>>(static_cast<std::size_t>(c.q_len)),
                           std::vector<double>(static_cast<std::size_t>(c.q_len * c.value_dim))};
        plain_forward_machine machine(plan, head, logits, weight, locator, begin == 0 ? sink : nullptr, here);
        for (index_t i = 0; i < plan.row_tiles(); ++i) core::walk::forward(machine, plan, i);
        if (begin == 0) {
            whole = here;
            continue;
        }
        for (index_t i = 0; i < c.q_len; ++i) {
            const auto n = static_cast<std::size_t>(i);
            double factor_whole = 0.0;
            double factor_here = 0.0;
            whole.state[n] = softmax::merge(whole.state[n], here.state[n], factor_whole, factor_here);
            for (index_t x = 0; x < c.value_dim; ++x) {
                double& o = whole.out[static_cast<std::size_t>(i * c.value_dim + x)];
                o = o * factor_whole + here.out[static_cast<std::size_t>(i * c.value_dim + x)] * factor_here;
            }
        }
    }

    std::vector<double> delta(static_cast<std::size_t>(c.q_len), 0.0);
    for (index_t i = 0; i < c.q_len; ++i) {
        const auto& state = whole.state[static_cast<std::size_t>(i)];
        lse[i] = core::finish_lse(state);
        for (index_t x = 0; x < c.value_dim; ++x) {
            out[i * c.value_dim + x] =
                whole.out[static_cast<std::size_t>(i * c.value_dim + x)] * core::finish_factor(state);
            delta[static_cast<std::size_t>(i)] += out[i * c.value_dim + x] * dout[i * c.value_dim + x];
        }
        if (sink != nullptr) *dsink -= std::exp(*sink - lse[i]) * delta[static_cast<std::size_t>(i)];
    }
    const core::schedule plan(p, seq, tiles, locator.run_length(), map);
    plain_backward_machine machine(plan, head, logits, weight, locator, dout, lse, delta.data(), gradients);
    for (index_t j = 0; j < plan.key_tiles(); ++j) core::walk::backward(machine, plan, j);
}

/// Calls f with the policy that the case's features make.
template <class F>
void with_logits(const attention_case& c, index_t batch, index_t offset, F f) {
    const auto biased = [&](const auto& base) {
        if (c.bias.empty()) return f(base);
        with_bias<double, std::decay_t<decltype(base)>> policy{base, c.bias.data.data(), {}};
        const extents& e = c.bias.extent;
        policy.stride[3] = e[3] == 1 ? 0 : 1;
        policy.stride[2] = e[2] == 1 ? 0 : e[3];
        policy.stride[1] = e[1] == 1 ? 0 : e[2] * e[3];
        policy.stride[0] = e[0] == 1 ? 0 : e[1] * e[2] * e[3];
        return f(policy);
    };
    const auto sloped = [&](const auto& base) {
        if (c.slopes.empty()) return biased(base);
        return biased(
            with_alibi<double, std::decay_t<decltype(base)>>{base, c.slopes.data() + c.slope_place(batch, 0), offset});
    };
    if (c.softcap != 0.0) {
        sloped(softcapped<double>{c.scale, c.softcap});
    } else {
        sloped(scaled<double>{c.scale});
    }
}

} // namespace

plain_result attention_by_walks(const attention_case& c, const attention_inputs& in, const cut& how) {
    plain_result r;
    r.forward = {tensor<double>(c.out_extent()), tensor<double>(c.lse_extent())};
    r.backward = {tensor<double>(c.q_extent()), tensor<double>(c.k_extent()), tensor<double>(c.v_extent()), {}};
    if (!c.bias.empty()) r.backward.dbias = tensor<double>(c.bias.extent);
    r.backward.dsinks.assign(c.sinks.size(), 0.0);
    r.backward.dslopes.assign(c.slopes.size(), 0.0);
    const core::problem p = problem_of(c);
    for (index_t b = 0; b < c.batch; ++b) {
        const core::sequence seq = p.sequence_of(b);
        for (index_t h = 0; h < c.q_heads; ++h) {
            const index_t g = p.kv_head(h);
            const plain_head dense{
                b, h, c.head_dim, c.value_dim, in.q.row(b, h, 0), in.k.row(b, g, 0), in.v.row(b, g, 0)};
            double* const dbias = c.bias.empty() ? nullptr : r.backward.dbias.data.data();
            double no_sink = 0.0;
            double* const dsink = c.sinks.empty() ? &no_sink : &r.backward.dsinks[static_cast<std::size_t>(h)];
            double* const dslope = c.slopes.empty() ? nullptr : &r.backward.dslopes[c.slope_place(b, h)];
            with_logits(c, b, seq.offset, [&](const auto& logits) {
                const auto run = [&](const plain_head& head, const auto& locator, const plain_gradients& gradients) {
                    one_head(c, p, seq, how, head, logits, locator, in.dout.row(b, h, 0), gradients,
                             r.forward.out.row(b, h, 0), r.forward.lse.row(b, h, 0), dsink);
                };
                double* const dq = r.backward.dq.row(b, h, 0);
                double* const dk = r.backward.dk.row(b, g, 0);
                double* const dv = r.backward.dv.row(b, g, 0);
                if (how.page == 0) {
                    run(dense, contiguous_keys{}, {dq, dk, dv, dbias, dslope, seq.offset});
                    return;
                }
                const page_pool pages(c.k_len, how.page);
                const std::vector<double> k = pages.spread(dense.k, c.k_len, c.head_dim);
                const std::vector<double> v = pages.spread(dense.v, c.k_len, c.value_dim);
                std::vector<double> dk_pool(k.size(), 0.0);
                std::vector<double> dv_pool(v.size(), 0.0);
                plain_head paged = dense;
                paged.k = k.data();
                paged.v = v.data();
                paged_keys locator = pages.locator;
                locator.table_stride = 0; // one table for all batches
                run(paged, locator, {dq, dk_pool.data(), dv_pool.data(), dbias, dslope, seq.offset});
                pages.gather(dk_pool, dk, c.k_len, c.head_dim);
                pages.gather(dv_pool, dv, c.k_len, c.value_dim);
            });
        }
    }
    return r;
}

} // namespace pantile::test
