#include "prepare.hpp"

#include <pantile/core/choose_plan.hpp>

#include "../catalogue/dispatch.hpp"
#include "../threads/threads.hpp"

namespace pantile::inline v0::cpu {
namespace {

// Key tiles beyond this would leave the range in which a lane counts keys exactly; nobody wants one.
constexpr index_t largest_key_tile = index_t{1} << 22;

// Fewer rows do not pay for packing K and V for a matrix unit.
constexpr index_t least_matrix_rows = 32;

core::machine_limits limits_of(const forward_kernels& k, index_t number_bytes) {
    core::machine_limits m;
    m.row_quantum = k.panel_rows;
    m.key_quantum = k.block_keys;
    m.max_row_tile = k.max_row_tile;
    m.max_key_tile = k.max_key_tile;
    m.element_bytes = number_bytes;
    m.near_bytes = 32 << 10;
    m.far_bytes = k.far_bytes;
    return m;
}

/// Where rows are few, keys are split: until there are about `wanted_works` pieces of work, each of enough keys to be worth
/// its merge. A rule on shapes alone: the thread count changes no bit.
void allow_splits(core::machine_limits& m, const core::problem& p, index_t heads) {
    constexpr index_t wanted_works = 64;
    m.decode_rows = p.q_len * p.group();
    m.split_keys = 1024;
    m.max_splits = core::ceil_div(wanted_works, core::max(p.batch * heads, 1));
}

/// What is allowed, but no more threads than there is work for: waking one takes as long as about a million operations.
/// Reading counts, too: a number from memory takes as long as some 16 operations.
index_t choose_threads(const core::problem& p) {
    constexpr double least_work = 1e6;
    const auto dims = static_cast<double>(p.head_dim + p.value_dim);
    const double operations =
        2.0 * static_cast<double>(p.batch * p.q_heads) * static_cast<double>(p.q_len) * dims; // a key
    const double numbers = static_cast<double>(p.batch * p.kv_heads) * dims;                  // a key
    const double work = (operations + 16 * numbers) * static_cast<double>(p.k_len);
    const index_t most = allowed_threads(0);
    return work < static_cast<double>(most) * least_work ? 1 + static_cast<index_t>(work / least_work) : most;
}

} // namespace

bool wants_matrix_unit(const core::problem& p, dtype type) {
    return type == dtype::bf16 && p.q_len >= least_matrix_rows;
}

prepared prepare(const core::argument (&inputs)[3], const options& o) {
    const core::problem p = core::check_inputs(inputs[0], inputs[1], inputs[2], core::describe(o));
    return prepare(p, inputs[0], inputs[1], inputs[2], o);
}

prepared prepare(const core::problem& p, const tensor_ref& q, const tensor_ref& k, const tensor_ref& v,
                 const options& o) {
    return prepare(p, q, k, v, o, choose_kernels(o.isa, wants_matrix_unit(p, q.type)));
}

prepared prepare(const core::problem& p, const tensor_ref& q, const tensor_ref& k, const tensor_ref& v,
                 const options& o, const kernels& chosen) {
    prepared r;
    r.isa = &chosen;
    const bool wide = q.type == dtype::fp64;
    const tile_plan requested = core::requested_plan(o);
    const forward_kernels& decode = r.isa->decode(q.type);
    // A plan that names a row tile asks for the tile kernel.
    r.decode = p.q_len > 0 && p.q_len <= decode.panel_rows && requested.row_tile == 0;
    r.forward = r.decode ? &decode : &r.isa->tile(q.type);
    r.number_bytes = wide ? 8 : 4;
    r.call.problem = p;
    r.call.q = q;
    r.call.k = k;
    r.call.v = v;
    const index_t wanted = o.threads > 0 ? allowed_threads(o.threads) : choose_threads(p);
    core::machine_limits limits = limits_of(*r.forward, r.number_bytes);
    if (p.q_len <= r.forward->panel_rows) allow_splits(limits, p, r.heads());
    tile_plan plan = core::choose_plan(p, limits, requested, wanted);
    plan.row_tile =
        r.decode ? p.q_len : core::min(plan.row_tile, core::round_up(core::max(p.q_len, 1), r.forward->lanes));
    plan.key_tile = core::clamp(plan.key_tile, 1, core::clamp(p.k_len, 1, largest_key_tile));
    plan.key_splits = core::clamp(plan.key_splits, 1, core::max(core::ceil_div(p.k_len, plan.key_tile), 1));
    r.call.plan = plan;
    r.row_tiles = core::ceil_div(p.q_len, plan.row_tile);
    r.threads = core::max(core::min(wanted, r.works()), 1);
    r.scratch_bytes = r.forward->scratch_bytes(r.call);
    const index_t rows = p.batch * p.q_heads * p.q_len;
    if (plan.key_splits > 1) {
        // A plan may ask for any number of splits: what no memory holds stays a number.
        constexpr index_t most = index_t{1} << 62;
        const index_t split_bytes = rows * (p.value_dim + 2) * r.number_bytes;
        r.shared_bytes = split_bytes > most / plan.key_splits ? most : plan.key_splits * split_bytes;
    }
    return r;
}

} // namespace pantile::inline v0::cpu
