#include <pantile/simulator/workload.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>

#include <pantile/core/check.hpp>
#include <pantile/error.hpp>

namespace pantile::inline v0::simulator {

namespace {

[[noreturn]] void reject(const std::string& what) { throw invalid_argument(what); }

/// A dense tensor of a call, as the library's checks take it: they look at its address and its shape, and at no number.
core::argument described(const char* name, dtype type, index_t batch, index_t heads, index_t length, index_t dim) {
    static std::byte somewhere{};
    const index_t row = std::max<index_t>(dim, 1); // strides of empty tensors are not looked at
    const tensor_ref t{&somewhere, type, memory::host, 4, {batch, heads, length, dim}, {0, 0, row, 1}};
    return core::describe(name, t);
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
    if (head_dim > 0) p.scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
    p.features.softcap = softcap;
    if (!slopes.empty()) p.features.slopes.wide = slopes.data();
    if (static_cast<index_t>(slopes.size()) > q_heads) p.features.slopes.batch_stride = q_heads;
    if (!sinks.empty()) p.features.sinks.wide = sinks.data();
    return p;
}

std::string workload::features_text() const {
    std::string text;
    const auto add = [&](bool on, const std::string& what) {
        if (on) text += (text.empty() ? "" : ", ") + what;
    };
    std::array<char, 32> cap{};
    std::snprintf(cap.data(), cap.size(), "softcap %g", softcap);
    add(softcap > 0, cap.data());
    add(!slopes.empty(), "ALiBi");
    add(!sinks.empty(), "sinks");
    return text;
}

core::tile_map workload::tile_map() const {
    if (blocks.empty()) return {};
    return {blocks.data(), block_rows, block_cols, core::ceil_div(k_len, block_cols)};
}

void workload::check() const {
    // The library has no calls of fp8: their options are checked as those of other types that compute in fp32.
    const dtype called = type == dtype::fp8 ? dtype::fp16 : type;
    // Bands that lie beside the diagonal are studied here, no call can ask for them: a negative side is checked as 0.
    pantile::mask sides = mask;
    sides.left = std::max<index_t>(sides.left, 0);
    sides.right = std::max<index_t>(sides.right, 0);
    const options o{.mask = sides, .softcap = softcap, .slopes = slopes, .sinks = sinks, .key_lengths = key_lengths};
    (void)core::check_inputs(described("q", called, batch, q_heads, q_len, head_dim),
                             described("k", called, batch, kv_heads, k_len, head_dim),
                             described("v", called, batch, kv_heads, k_len, value_dim), core::describe(o));
    if (devices < 1) reject("devices is " + std::to_string(devices) + ": it must be at least 1");
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
    case tensor::partial_max:
    case tensor::partial_sum:
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
            task.first_head = w.packed_heads ? h * group : h;
            body(task);
        }
    }
}

} // namespace pantile::inline v0::simulator
