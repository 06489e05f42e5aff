#include <pantile/simulator/l2.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <deque>

#include <nlohmann/json.hpp>

#include <pantile/error.hpp>
#include <pantile/simulator/format.hpp>

namespace pantile::inline v0::simulator {

namespace {

/// LRU over tiles with small dense numbers, each of its own size.
class tile_cache {
  public:
    tile_cache(std::size_t tiles, index_t capacity) : nodes_(tiles + 1), capacity_(capacity) {}

    [[nodiscard]] bool holds(std::size_t tile) const { return nodes_[tile + 1].bytes > 0; }
    /// Makes the tile the most recent one; returns whether it was there.
    bool touch(std::size_t tile, index_t bytes) {
        node& n = nodes_[tile + 1];
        const bool hit = n.bytes > 0;
        if (hit) {
            unlink(tile + 1);
        } else {
            n.bytes = bytes;
            used_ += bytes;
        }
        n.after = nodes_[0].after; // node 0 is both ends of the list
        n.before = 0;
        nodes_[n.after].before = tile + 1;
        nodes_[0].after = tile + 1;
        while (used_ > capacity_ && nodes_[0].before != tile + 1) {
            const std::size_t oldest = nodes_[0].before;
            unlink(oldest);
            used_ -= nodes_[oldest].bytes;
            nodes_[oldest].bytes = 0;
        }
        return hit;
    }

  private:
    struct node {
        std::size_t before = 0, after = 0;
        index_t bytes = 0;
    };
    void unlink(std::size_t at) {
        nodes_[nodes_[at].before].after = nodes_[at].after;
        nodes_[nodes_[at].after].before = nodes_[at].before;
    }
    std::vector<node> nodes_;
    index_t capacity_;
    index_t used_ = 0;
};

/// The key tiles that one block visits, in order.
struct block {
    std::vector<core::span> keys;
    std::vector<std::size_t> tiles;
};

std::vector<block> blocks_of(const l2_request& r, index_t tiles_a_head) {
    std::vector<block> list;
    for_each_head(r.what, r.plan, [&](const head_task& task) {
        for (index_t i = 0; i < task.plan.row_tiles(); ++i) {
            block b;
            const core::span range = task.plan.key_range(i);
            for (core::key_tile t = task.plan.next_key_tile(i, range.begin, range); t.due != core::visit::skip;
                 t = task.plan.next_key_tile(i, t.index + 1, range)) {
                b.keys.push_back(t.keys);
                b.tiles.push_back(static_cast<std::size_t>(task.kv_place * tiles_a_head + t.index));
            }
            if (!b.tiles.empty()) list.push_back(std::move(b));
        }
    });
    if (r.order == block_order::longest_first) {
        std::stable_sort(list.begin(), list.end(),
                         [](const block& a, const block& b) { return a.tiles.size() > b.tiles.size(); });
    }
    if (r.order == block_order::sawtooth) {
        for (std::size_t i = 0; i < list.size(); ++i) {
            if (i / static_cast<std::size_t>(r.blocks_at_once) % 2 == 0) continue;
            std::reverse(list[i].keys.begin(), list[i].keys.end());
            std::reverse(list[i].tiles.begin(), list[i].tiles.end());
        }
    }
    return list;
}

} // namespace

std::string_view name(block_order order) {
    static constexpr std::array<std::string_view, 3> names{"cyclic", "sawtooth", "longest-first"};
    return names[static_cast<std::size_t>(order)];
}

block_order parse_order(std::string_view text) {
    for (const block_order o : {block_order::cyclic, block_order::sawtooth, block_order::longest_first}) {
        if (name(o) == text) return o;
    }
    throw invalid_argument("order is '" + std::string(text) + "': it must be cyclic, sawtooth or longest-first");
}

l2_result simulate_l2(const l2_request& r) {
    r.what.check();
    if (r.blocks_at_once <= 0 || r.bytes <= 0 || r.plan.row_tile <= 0 || r.plan.key_tile <= 0) {
        throw invalid_argument("l2: blocks at once, cache bytes and tiles must be positive");
    }
    const index_t tiles_a_head = core::ceil_div(r.what.k_len, r.plan.key_tile);
    const auto tiles = static_cast<std::size_t>(r.what.batch * r.what.kv_heads * tiles_a_head);
    const index_t row_bytes = (r.what.head_dim + r.what.value_dim) * bytes_of(r.what.type);
    const std::vector<block> blocks = blocks_of(r, tiles_a_head);

    std::vector<tile_cache> parts(r.halves ? 2 : 1, tile_cache(tiles, r.halves ? r.bytes / 2 : r.bytes));
    std::vector<bool> seen(tiles);
    l2_result result;

    struct slot {
        const block* running = nullptr;
        std::size_t at = 0;
    };
    std::vector<slot> slots(static_cast<std::size_t>(r.blocks_at_once));
    std::size_t next = 0;
    for (bool busy = true; busy;) {
        busy = false;
        for (std::size_t s = 0; s < slots.size(); ++s) {
            if (slots[s].running == nullptr) {
                if (next == blocks.size()) continue;
                slots[s] = {&blocks[next++], 0};
            }
            busy = true;
            const block& b = *slots[s].running;
            const std::size_t tile = b.tiles[slots[s].at];
            const index_t bytes = b.keys[slots[s].at].size() * row_bytes;
            result.asked_bytes = checked_add(result.asked_bytes, bytes);
            if (!seen[tile]) result.unique_bytes += bytes;
            seen[tile] = true;
            const bool elsewhere = r.halves && parts[1 - s % 2].holds(tile);
            if (!parts[r.halves ? s % 2 : 0].touch(tile, bytes) && !elsewhere) {
                result.memory_bytes = checked_add(result.memory_bytes, bytes);
            }
            if (++slots[s].at == b.tiles.size()) slots[s] = {};
        }
    }

    if (r.what.batch * r.what.kv_heads == 1 && (r.what.q_heads == 1 || r.what.packed_heads) && !r.what.banded() &&
        r.order != block_order::longest_first && !blocks.empty()) {
        const index_t passes = core::ceil_div(static_cast<index_t>(blocks.size()), r.blocks_at_once);
        const index_t kv = r.what.k_len * row_bytes;
        const index_t capacity = r.halves ? r.bytes / 2 : r.bytes;
        result.predicted_bytes = kv <= capacity                   ? kv
                                 : r.order == block_order::cyclic ? passes * kv
                                                                  : kv + (passes - 1) * (kv - capacity);
    }
    return result;
}

std::string l2_text(const std::vector<l2_request>& requests, const std::vector<l2_result>& results) {
    std::vector<std::vector<std::string>> rows{
        {"order", "cache", "K and V", "asked for", "from memory", "closed form", "hit rate"}};
    for (std::size_t i = 0; i < requests.size(); ++i) {
        const l2_result& x = results[i];
        std::array<char, 16> rate{};
        std::snprintf(rate.data(), rate.size(), "%.2f %%", 100 * x.hit_rate());
        const auto bytes = [](index_t n) { return human_bytes(static_cast<double>(n)); };
        rows.push_back({std::string(name(requests[i].order)),
                        bytes(requests[i].bytes) + (requests[i].halves ? " in halves" : ""), bytes(x.unique_bytes),
                        bytes(x.asked_bytes), bytes(x.memory_bytes),
                        x.predicted_bytes ? bytes(*x.predicted_bytes) : "-", rate.data()});
    }
    return table(rows);
}

std::string l2_csv(const std::vector<l2_request>& requests, const std::vector<l2_result>& results) {
    std::string csv = "order,cache_bytes,halves,unique_bytes,asked_bytes,memory_bytes,predicted_bytes\n";
    for (std::size_t i = 0; i < requests.size(); ++i) {
        const l2_result& x = results[i];
        csv += csv_line({std::string(name(requests[i].order)), std::to_string(requests[i].bytes),
                         requests[i].halves ? "1" : "0", std::to_string(x.unique_bytes), std::to_string(x.asked_bytes),
                         std::to_string(x.memory_bytes), x.predicted_bytes ? std::to_string(*x.predicted_bytes) : ""});
    }
    return csv;
}

std::string l2_json(const std::vector<l2_request>& requests, const std::vector<l2_result>& results) {
    nlohmann::ordered_json j = nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < requests.size(); ++i) {
        const l2_result& x = results[i];
        j.push_back({{"order", name(requests[i].order)},
                     {"cache_bytes", requests[i].bytes},
                     {"halves", requests[i].halves},
                     {"asked_bytes", x.asked_bytes},
                     {"memory_bytes", x.memory_bytes},
                     {"unique_bytes", x.unique_bytes},
                     {"predicted_bytes",
                      x.predicted_bytes ? nlohmann::ordered_json(*x.predicted_bytes) : nlohmann::ordered_json()},
                     {"hit_rate", x.hit_rate()}});
    }
    return j.dump(2) + '\n';
}

} // namespace pantile::inline v0::simulator
