#include "plan.hpp"

#include "decode/tile.hpp"

#include <pantile/error.hpp>

#include <string>

namespace pantile::inline v0::cuda {
namespace {

constexpr index_t largest_dim = 256;
constexpr index_t largest_int = 0x7fffffff;
constexpr index_t fewest_keys_of_a_split = 256; ///< below this a split costs more than it brings
constexpr index_t most_splits = 128;

/// The kernel of `kind` with the smallest padded dims that hold the problem's, if its tiles fit the device's shared memory;
/// of two such, the one with the smaller row tile if `short_rows`, else the one with the larger, else the first of the catalogue.
/// `merges_splits`: of kernel_decode.cuh or not. Null: there is none.
const kernel* smallest(cuda_kernel kind, dtype type, const core::problem& p, const device_facts& device,
                       bool short_rows = false, bool merges_splits = false) {
    const kernel* best = nullptr;
    for (const auto& table : kernel_tables()) {
        for (const kernel& k : table) {
            if (k.kind != kind || k.type != type || k.dim < p.head_dim || k.value_dim < p.value_dim) continue;
            if (k.shared_bytes > device.shared_bytes || k.merges_splits != merges_splits) continue;
            if (p.features.arithmetic() && !k.serves_scored) continue;
            const int padded = k.dim + k.value_dim;
            const int best_padded = best == nullptr ? 0 : best->dim + best->value_dim;
            const bool better = best == nullptr || padded < best_padded ||
                                (padded == best_padded && (short_rows ? k.rows < best->rows : k.rows > best->rows));
            if (better) best = &k;
        }
    }
    return best;
}

/// May the mask hide some pair, so that row tiles differ in length?
bool hides(const core::problem& p) { return p.mask.left < p.k_len || p.mask.right < p.k_len; }

/// Why the sm90 kernel cannot serve the call; empty if it can.
std::string sm90_objection(const core::problem& p, const call_facts& call, const device_facts& device) {
    if (device.compute_capability != 90) return "the device is not of compute capability 9.0";
    if (call.type != dtype::fp32) { // what the copy engine can read
        if (!call.vectors) return "a base, stride or dim of q, k or v is not a multiple of 16 bytes";
        if (call.repeats) return "a stride of q, k or v is 0 or negative";
    }
    if (p.head_dim == 0 || p.value_dim == 0 || p.k_len == 0) return "head_dim, value_dim or k.length is 0";
    if (p.q_len > largest_int / 2 || p.k_len > largest_int / 2) return "a length is above 2^30";
    if (p.batch * p.q_heads * core::ceil_div(p.q_len, 128) > largest_int)
        return "it would have more than 2^31 row tiles";
    if (call.key_splits > 1) return "it does not split keys";
    const index_t offset = p.mask.align == alignment::explicit_offset ? p.mask.offset : 0;
    if (call.type != dtype::fp32 && p.features.slopes.given() &&
        (offset > largest_int / 2 || -offset > largest_int / 2))
        return "an offset is above 2^30, with slopes";
    return {};
}

/// The kernel for few rows, or null: the one that streams K and V (kernel_decode.cuh) where it can serve the call.
const kernel* decode_kernel(const core::problem& p, const call_facts& call, const device_facts& device) {
    const kernel* streaming = smallest(cuda_kernel::decode, call.type, p, device, false, true);
    const bool fits = streaming != nullptr && p.q_len * p.group() <= streaming->rows;
    if (fits && call.vectors && p.k_len <= largest_int / 2) return streaming;
    return smallest(cuda_kernel::decode, call.type, p, device);
}

/// Heads whose row tiles end the launch together, longest first: `tiles_a_slot` row tiles for every block that runs at a
/// time, so that the ends even out. Without a mask row tiles are alike and no order helps.
int tail_of(const core::problem& p, index_t heads, index_t row_tiles, index_t slots, index_t tiles_a_slot = 3) {
    if (!hides(p) || heads == 0) return 1;
    return static_cast<int>(core::clamp(core::ceil_div(tiles_a_slot * slots, core::max(row_tiles, 1)), 1, heads));
}

/// The smallest number of splits that fills the multiprocessors to within 95 % of the best: the share of `slots` that work
/// in the average wave.
index_t choose_splits(index_t blocks, index_t k_len, index_t slots) {
    const index_t most = core::clamp(k_len / fewest_keys_of_a_split, 1, most_splits);
    const auto filled = [&](index_t splits) {
        const index_t all = blocks * splits;
        return static_cast<double>(all) / static_cast<double>(core::round_up(all, slots));
    };
    double best = 0.0;
    for (index_t s = 1; s <= most; ++s) best = filled(s) > best ? filled(s) : best;
    for (index_t s = 1; s <= most; ++s) {
        if (filled(s) >= 0.95 * best) return s;
    }
    return most;
}

forward_plan plan_portable(const core::problem& p, const call_facts& call, const device_facts& device,
                           const kernel* chosen) {
    if (chosen == nullptr) {
        throw unsupported("pantile: no kernel for this call's types and dims fits the " +
                          std::to_string(device.shared_bytes) +
                          " bytes of shared memory that this device gives a block");
    }
    forward_plan plan;
    plan.chosen = chosen;
    plan.heads_packed = chosen->kind == cuda_kernel::decode && p.group() <= chosen->rows ? p.group() : 1;
    plan.tiles.row_tile = chosen->rows / plan.heads_packed * plan.heads_packed;
    plan.tiles.key_tile = chosen->keys;
    const index_t groups = p.batch * p.q_heads / core::max(plan.heads_packed, 1);
    const index_t items = groups * core::ceil_div(p.q_len, plan.tiles.row_tile / plan.heads_packed);
    if (items > largest_int) {
        throw unsupported("pantile: the call has " + std::to_string(items) +
                          " row tiles; the CUDA machine serves up to 2^31 - 1");
    }
    plan.tiles.key_splits = 1;
    if (call.key_splits > 0) {
        plan.tiles.key_splits = call.key_splits;
    } else if (chosen->kind == cuda_kernel::decode) {
        plan.tiles.key_splits = choose_splits(items, p.k_len, device.multiprocessors * chosen->resident);
    }
    if (plan.tiles.key_splits > 65535) {
        throw invalid_argument("pantile: options.key_splits is " + std::to_string(plan.tiles.key_splits) +
                               ": it must be at most 65535");
    }
    plan.tail = tail_of(p, groups, core::ceil_div(items, core::max(groups, 1)), 2 * device.multiprocessors);
    plan.blocks = items * plan.tiles.key_splits;
    if (plan.tiles.key_splits > 1 && chosen->merges_splits) {
        plan.workspace_bytes = decode_parts{groups, plan.tiles.key_splits, static_cast<int>(p.q_len * p.group()),
                                            static_cast<int>(p.value_dim)}
                                   .bytes();
    } else if (plan.tiles.key_splits > 1) {
        const index_t rows = p.batch * p.q_heads * p.q_len;
        plan.workspace_bytes = plan.tiles.key_splits * rows * (p.value_dim + 2) * bytes_of(computed_in(call.type));
    }
    return plan;
}

} // namespace

forward_plan choose(const core::problem& p, const call_facts& call, const device_facts& device) {
    const index_t dim = core::max(p.head_dim, p.value_dim);
    if (dim > largest_dim) {
        throw unsupported("pantile: the CUDA machine serves head and value dims up to 256, and this call has " +
                          std::to_string(dim));
    }
    if (device.compute_capability < 80) {
        throw unsupported("pantile: the CUDA machine needs compute capability 8.0 or later; this device has " +
                          std::to_string(device.compute_capability / 10) + "." +
                          std::to_string(device.compute_capability % 10));
    }
    const std::string objection = sm90_objection(p, call, device);
    if (call.forced == cuda_kernel::sm90 && !objection.empty()) {
        throw unsupported("pantile: the sm90 kernel cannot serve this call: " + objection);
    }
    if (call.forced == cuda_kernel::ffma) {
        if (call.type != dtype::fp32) {
            throw unsupported("pantile: the ffma kernel cannot serve this call: q, k and v are not fp32");
        }
        return plan_portable(p, call, device, smallest(cuda_kernel::ffma, call.type, p, device));
    }
    // Few rows: reading K and V once, by as many multiprocessors as there are, is all that counts.
    const kernel* decode = decode_kernel(p, call, device);
    const index_t rows = p.q_len * p.group();
    const bool few_rows = decode != nullptr && rows <= decode->rows && p.k_len >= 2 * fewest_keys_of_a_split;
    if (call.forced == cuda_kernel::decode || (call.forced == cuda_kernel::automatic && few_rows)) {
        return plan_portable(p, call, device, decode);
    }
    // 128 or 256 rows leave a third of the large row tiles (192) empty, and a short causal row tile is mostly diagonal:
    // small ones waste less of it.
    const kernel* hopper = smallest(cuda_kernel::sm90, call.type, p, device, p.q_len <= (hides(p) ? 1024 : 256));
    if (call.forced != cuda_kernel::portable && objection.empty() && hopper != nullptr) {
        const index_t heads = p.batch * p.q_heads;
        const index_t row_tiles = core::ceil_div(p.q_len, hopper->rows);
        const index_t items = heads * row_tiles;
        forward_plan plan;
        plan.chosen = hopper;
        plan.tiles = {hopper->rows, hopper->keys, 1};
        // In the tail the row tiles of a head run far apart, and K and V of many heads do not stay in L2. Short row tiles
        // are bound by memory already: for them the tail is short.
        plan.tail = tail_of(p, heads, row_tiles, device.multiprocessors * hopper->resident, row_tiles <= 8 ? 1 : 3);
        plan.blocks = items;
        if (call.type == dtype::fp64) return plan; // a block a row tile
        plan.blocks = core::min(items, device.multiprocessors);
        // Under a mask row tiles differ in length: free blocks take the next one. Else all are alike, and taking turns
        // shares them out evenly.
        plan.counts_items = hides(p) && items > device.multiprocessors;
        plan.workspace_bytes = plan.counts_items ? 256 : 0;
        return plan;
    }
    const kernel* portable = smallest(cuda_kernel::portable, call.type, p, device);
    return plan_portable(p, call, device, portable != nullptr ? portable : decode);
}

} // namespace pantile::inline v0::cuda
