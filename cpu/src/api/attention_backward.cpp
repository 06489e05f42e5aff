#include <pantile/attention.hpp>
#include <pantile/core/choose_plan.hpp>
#include <pantile/core/float_environment.hpp>

#include "../backward/head_gradients.hpp"
#include "../catalogue/dispatch.hpp"
#include "../threads/parallel.hpp"
#include "../threads/scratch.hpp"
#include "../threads/threads.hpp"
#include "prepare.hpp"

namespace pantile::inline v0 {
namespace {

using namespace cpu;

/// A backward call that is ready to run.
struct prepared_backward {
    backward::call call;
    const kernels* isa = nullptr;
    const backward::kernels* code = nullptr;
    index_t number_bytes = 4; // of compute precision
    index_t threads = 1;
    index_t scratch_bytes = 0; // a thread
    index_t chunk_bytes = 0;   // shared by all threads, see shared_layout
    index_t shared_bytes = 0;  // these, and behind them what dslopes is summed from

    /// Second phase: (batch, query head, panel of rows).
    [[nodiscard]] index_t panels() const {
        return core::ceil_div(call.problem.q_len, code->panel_rows) * call.problem.q_heads * call.problem.batch;
    }
};

/// Row tiles of about 128 rows while a panel's Qᵀ is small, so that dK and dV are summed over more rows before they are
/// added. All rows (Q, dO, both also transposed, and dQ) pass by once a key tile. Where they come from beyond L2, that stream
/// is what a backward pass waits for: key tiles are then as long as K, V, dK and dV of one fill some 0.8 MB of L2
/// (docs/performance.md).
tile_plan choose_backward_plan(const core::problem& p, const backward::kernels& k, index_t number_bytes,
                               const tile_plan& requested) {
    constexpr index_t tile_bytes = 800'000;
    const index_t key_bytes = 2 * core::max(p.head_dim + p.value_dim, 1) * number_bytes;
    const index_t passing_bytes = p.q_len * (3 * p.head_dim + 2 * p.value_dim) * number_bytes;
    const index_t strips = passing_bytes > (1 << 20) ? core::max(tile_bytes / key_bytes / backward::strip_keys, 1) : 1;
    core::machine_limits m;
    m.row_quantum = k.panel_rows;
    m.key_quantum = k.block_keys;
    m.max_row_tile = core::max(k.panel_rows, 128 * 64 / core::max(p.head_dim, 1) / k.panel_rows * k.panel_rows);
    m.max_row_tile = core::min(m.max_row_tile, 128);
    m.max_key_tile = strips * backward::strip_keys;
    m.far_bytes = 4 * tile_bytes; // of which a key tile's K and V may take a quarter
    m.element_bytes = number_bytes;
    tile_plan plan = core::choose_plan(p, m, requested);
    // A row tile is whole panels; neither tile need exceed the problem.
    plan.row_tile = core::round_up(core::min(plan.row_tile, core::max(p.q_len, 1)), k.panel_rows);
    plan.key_tile = core::clamp(plan.key_tile, 1, core::max(p.k_len, 1));
    return plan;
}

/// Chunks of keys by shape alone: enough work items for many threads where heads are few, each chunk long enough to be
/// worth its partial of dQ, which is zeroed, read and written once more. `requested` (options.plan's key_splits) goes first.
void cut_keys(backward::call& c, index_t requested) {
    constexpr index_t wanted_items = 16;
    constexpr index_t most_chunks = 8;
    constexpr index_t least_keys = 512;
    const core::problem& p = c.problem;
    const index_t keys = core::max(p.k_len, 1);
    const index_t heads = core::max(p.batch * p.kv_heads, 1);
    const index_t chunks = requested > 0 ? core::min(requested, keys)
                                         : core::clamp(core::ceil_div(wanted_items, heads), 1,
                                                       core::clamp(keys / least_keys, 1, most_chunks));
    // Whole strips a chunk, so that no strip is cut short in the middle.
    c.chunk_keys = core::round_up(core::ceil_div(keys, chunks), core::min(c.plan.key_tile, backward::strip_keys));
    c.key_chunks = core::ceil_div(keys, c.chunk_keys);
    c.plan.key_splits = c.key_chunks;
}

prepared_backward prepare_backward(const core::problem& p, dtype type, const options& o) {
    prepared_backward r;
    r.isa = &choose_kernels(o.isa);
    const bool wide = type == dtype::fp64;
    r.code = &r.isa->backward(type);
    r.number_bytes = wide ? 8 : 4;
    r.call.problem = p;
    const tile_plan requested = core::requested_plan(o);
    r.call.plan = choose_backward_plan(p, *r.code, r.number_bytes, requested);
    cut_keys(r.call, requested.key_splits);
    r.call.accumulate = o.accumulate;
    r.threads = core::clamp(r.call.work_items(), 1, allowed_threads(o.threads));
    r.scratch_bytes = r.code->scratch_bytes(r.call);
    r.chunk_bytes = core::round_up(r.code->shared_bytes(r.call), scratch_alignment);
    // Whether dslopes is wanted, explain_backward does not know.
    r.shared_bytes = r.chunk_bytes + backward::slope_sum_count(r.call) * static_cast<index_t>(sizeof(double));
    return r;
}

void run(prepared_backward& r, const gradients& to, std::span<std::byte> given_workspace) {
    const workspace memory(given_workspace, r.threads, r.scratch_bytes, r.shared_bytes, "explain_backward");
    r.call.shared = memory.shared();
    if (to.dslopes.wanted) r.call.slope_sums = reinterpret_cast<double*>(memory.shared() + r.chunk_bytes);
    if (r.call.key_chunks > 1) {
        parallel_for(r.panels(), r.threads,
                     [&](index_t i, index_t thread) { r.code->prepare(r.call, i, memory.of_thread(thread)); });
    }
    parallel_for(r.call.work_items(), r.threads,
                 [&](index_t i, index_t thread) { r.code->run(r.call, i, memory.of_thread(thread)); });
    if (r.call.key_chunks > 1) {
        parallel_for(r.panels(), r.threads,
                     [&](index_t i, index_t thread) { r.code->reduce(r.call, i, memory.of_thread(thread)); });
    }
    const index_t heads = r.call.problem.q_heads;
    if (to.dslopes.wanted) {
        for (index_t h = 0; h < heads; ++h) backward::store_dslope(r.call, h, to.dslopes);
    }
    if (to.dsinks.wanted) {
        parallel_for(heads, r.threads, [&](index_t h, index_t) { backward::store_dsink(r.call, h, to.dsinks); });
    }
}

} // namespace

/// check → plan → run.
void erased::attention_backward(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v, const tensor_ref& out,
                                const tensor_ref& lse, const loss_gradients& from, const gradients& to,
                                const options& o) {
    const core::float_environment standard;
    const core::argument query = core::describe("q", q);
    const core::argument inputs[] = {query,
                                     core::describe("k", k),
                                     core::describe("v", v),
                                     core::describe("out", out),
                                     core::describe("lse", lse),
                                     core::describe("dout", from.dout)};
    core::argument outputs[5] = {core::describe("dq", to.dq), core::describe("dk", to.dk), core::describe("dv", to.dv)};
    const core::problem p = core::check_inputs(query, inputs[1], inputs[2], core::describe(o));
    prepared_backward r =
        prepare_backward(p, q.type, o); // refuses what the options ask for, as forward does, before results
    for (const int i : {3, 5}) {
        core::check_same_type(inputs[i], query);
        core::check_out(inputs[i], query, p.value_dim);
    }
    core::check_rows(inputs[4], query);
    const bool given[] = {to.dq.wanted, to.dk.wanted, to.dv.wanted};
    for (int i = 0; i < 3; ++i) core::check_given(outputs[i].name, given[i]);
    for (int i = 0; i < 3; ++i) {
        core::check_result_type(outputs[i], query);
        core::check_same_type(outputs[i], outputs[0]);
        core::check_same_shape(outputs[i], inputs[i]);
    }
    const auto of_heads = [&](const char* name, const char* option, const head_gradients& g,
                              const core::head_numbers_ref& numbers) {
        return core::check_head_gradients(name, option, g.data, g.type, g.where, g.count, g.wanted, numbers, p,
                                          memory::host);
    };
    outputs[3] = of_heads("dslopes", "options.slopes", to.dslopes, p.features.slopes);
    outputs[4] = of_heads("dsinks", "options.sinks", to.dsinks, p.features.sinks);
    core::check_memory(outputs, 5, inputs, 6, core::memory_of(o, p));
    r.call.q = q;
    r.call.k = k;
    r.call.v = v;
    r.call.out = out;
    r.call.lse = lse;
    r.call.dout = from.dout;
    r.call.dq = to.dq;
    r.call.dk = to.dk;
    r.call.dv = to.dv;
    run(r, to, o.workspace);
}

explanation erased::explain_backward(const tensor_ref& q, const tensor_ref& k, const tensor_ref& v, const options& o) {
    const core::float_environment standard;
    const core::problem p =
        core::check_inputs(core::describe("q", q), core::describe("k", k), core::describe("v", v), core::describe(o));
    const prepared_backward r = prepare_backward(p, q.type, o);
    explanation e;
    e.machine = "cpu";
    e.isa = r.isa->name;
    e.kernel = "backward";
    e.tiles = r.call.plan;
    e.threads = static_cast<int>(r.threads);
    e.workspace_bytes = workspace::bytes(r.threads, r.scratch_bytes, r.shared_bytes);
    e.traffic = core::backward_traffic(p, r.call.plan);
    const index_t size = bytes_of(q.type);
    const core::traffic& t = e.traffic;
    const core::transfers own = t.q + t.k + t.v + t.out + t.dout + t.dk + t.dv; // the rest is in compute precision
    const core::transfers work = t.dq + t.lse + t.delta;
    e.read_bytes = own.reads * size + work.reads * r.number_bytes;
    e.write_bytes = own.writes * size + work.writes * r.number_bytes;
    // S, dP, dV, dK, dQ: two operations a visible pair and dim each.
    e.flops = 2.0 * static_cast<double>(3 * p.head_dim + 2 * p.value_dim) * static_cast<double>(core::visible_pairs(p));
    return e;
}

} // namespace pantile::inline v0
