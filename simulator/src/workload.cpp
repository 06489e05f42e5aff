#include <pantile/simulator/workload.hpp>

#include <string>

#include <pantile/error.hpp>

namespace pantile::inline v0::simulator {

namespace {

[[noreturn]] void reject(const std::string& what) { throw invalid_argument(what); }

void require_not_negative(const char* name, index_t value) {
    if (value < 0) reject(std::string(name) + " is " + std::to_string(value) + ": it must not be negative");
}

} // namespace

std::string_view name(pass p) { return p == pass::forward ? "forward" : "backward"; }

workload workload::square(index_t n, index_t d, index_t heads, index_t batch) {
    workload w;
    w.batch = batch;
    w.q_heads = w.kv_heads = heads;
    w.q_len = w.k_len = n;
    w.head_dim = w.value_dim = d;
    return w;
}

core::problem workload::problem() const {
    core::problem p;
    p.batch = batch;
    p.q_heads = q_heads;
    p.kv_heads = kv_heads;
    p.q_len = q_len;
    p.k_len = k_len;
    p.head_dim = head_dim;
    p.value_dim = value_dim;
    p.mask = mask;
    if (!key_lengths.empty()) p.key_lengths.wide = key_lengths.data();
    return p;
}

core::tile_map workload::tile_map() const {
    if (blocks.empty()) return {};
    return {blocks.data(), block_rows, block_cols, core::ceil_div(k_len, block_cols)};
}

void workload::check() const {
    require_not_negative("batch", batch);
    require_not_negative("q_heads", q_heads);
    require_not_negative("kv_heads", kv_heads);
    require_not_negative("q_len", q_len);
    require_not_negative("k_len", k_len);
    require_not_negative("head_dim", head_dim);
    require_not_negative("value_dim", value_dim);
    if (devices < 1) reject("devices is " + std::to_string(devices) + ": it must be at least 1");
    if (q_heads > 0 && (kv_heads == 0 || q_heads % kv_heads != 0)) {
        reject("q_heads is " + std::to_string(q_heads) + ", kv_heads is " + std::to_string(kv_heads) +
               ": the first must be a multiple of the second");
    }
    if (!key_lengths.empty() && static_cast<index_t>(key_lengths.size()) != batch) {
        reject("key_lengths has " + std::to_string(key_lengths.size()) + " entries, batch is " + std::to_string(batch) +
               ": there must be one a batch");
    }
    for (const index_t keys : key_lengths) {
        if (keys < 0 || keys > k_len) {
            reject("key_lengths holds " + std::to_string(keys) + ": it must be 0 to k_len, " + std::to_string(k_len));
        }
    }
    if (blocks.empty()) return;
    if (block_rows <= 0 || block_cols <= 0) {
        reject("blocks of " + std::to_string(block_rows) + "x" + std::to_string(block_cols) +
               ": both must be positive");
    }
    const index_t expected = core::ceil_div(q_len, block_rows) * core::ceil_div(k_len, block_cols);
    if (static_cast<index_t>(blocks.size()) != expected) {
        reject("blocks has " + std::to_string(blocks.size()) + " entries: " + std::to_string(expected) +
               " blocks cover the scores");
    }
}

std::array<index_t, 3> shape_of(tensor t, const workload& w, index_t key_splits) {
    const index_t q_places = w.batch * w.q_heads;
    const index_t kv_places = w.batch * w.kv_heads;
    switch (t) {
    case tensor::q:
    case tensor::dq:
    case tensor::dq_sum:
        return {q_places, w.q_len, w.head_dim};
    case tensor::k:
        return {kv_places, w.k_len, w.head_dim};
    case tensor::v:
        return {kv_places, w.k_len, w.value_dim};
    case tensor::out:
    case tensor::dout:
        return {q_places, w.q_len, w.value_dim};
    case tensor::lse:
    case tensor::row_max:
    case tensor::row_sum:
    case tensor::delta:
        return {q_places, w.q_len, 1};
    case tensor::scores:
    case tensor::probabilities:
    case tensor::dprobabilities:
    case tensor::dscores:
        return {q_places, w.q_len, w.k_len};
    case tensor::partial_out:
        return {key_splits * q_places, w.q_len, w.value_dim};
    case tensor::partial_lse:
        return {key_splits * q_places, w.q_len, 1};
    case tensor::dk:
        return {w.packed_heads ? kv_places : q_places, w.k_len, w.head_dim};
    case tensor::dv:
        return {w.packed_heads ? kv_places : q_places, w.k_len, w.value_dim};
    }
    return {};
}

void for_each_head(const workload& w, const tile_plan& plan, const std::function<void(const head_task&)>& body) {
    const core::problem p = w.problem();
    const index_t group = w.packed_heads ? w.group() : 1;
    const bool whole_positions = w.packed_heads && w.banded() && group > 0; // a row tile must not cut a position
    if (whole_positions && plan.row_tile % group != 0) {
        throw invalid_argument("row_tile is " + std::to_string(plan.row_tile) + ", " + std::to_string(group) +
                               " query heads share a key/value head: packed heads under a mask need a multiple of it");
    }
    for (index_t b = 0; b < w.batch; ++b) {
        core::sequence s = p.sequence_of(b);
        tile_plan tiles = plan;
        if (whole_positions) {
            tiles.row_tile /= group;
        } else {
            s.q_len *= group; // without a mask, packed rows are rows like any others
        }
        const index_t heads = w.packed_heads ? w.kv_heads : w.q_heads;
        for (index_t h = 0; h < heads; ++h) {
            head_task task;
            task.batch = b;
            task.q_place = b * heads + h;
            task.kv_place = b * w.kv_heads + (w.packed_heads ? h : p.kv_head(h));
            task.plan = core::schedule(p, s, tiles, 0, w.tile_map());
            task.row_scale = whole_positions ? group : 1;
            task.group = group;
            body(task);
        }
    }
}

} // namespace pantile::inline v0::simulator
