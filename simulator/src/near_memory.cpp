#include <pantile/simulator/near_memory.hpp>

#include <algorithm>

namespace pantile::inline v0::simulator {

near_memory near_memory::of_elements(index_t m) {
    near_memory n;
    n.bytes = m;
    return n;
}

near_memory near_memory::of_bytes(index_t bytes, dtype type, index_t accumulator_bytes) {
    near_memory n;
    n.bytes = bytes;
    n.accumulator_bytes = accumulator_bytes;
    n.operand_width = bytes_of(type);
    n.accumulator_width = type == dtype::fp64 ? 8 : 4;
    n.statistic_width = n.accumulator_width;
    return n;
}

index_t near_memory::width(tile_role role) const {
    switch (role) {
    case tile_role::operand:
        return operand_width;
    case tile_role::accumulator:
        return accumulator_width;
    case tile_role::statistic:
        return statistic_width;
    case tile_role::streamed:
        return 0;
    }
    return 0;
}

int scratchpad::hold(std::string_view name, index_t bytes) {
    if (bytes > capacity_ - used_) {
        const index_t needed = checked_add(used_, bytes);
        std::string live = live_set();
        live += (live.empty() ? "" : " + ") + std::string(name) + ' ' + std::to_string(bytes);
        throw does_not_fit(place_ + " holds " + std::to_string(capacity_) + ", the live tiles need " +
                           std::to_string(needed) + " (" + std::to_string(needed - capacity_) + " too many): " + live);
    }
    used_ += bytes;
    peak_ = std::max(peak_, used_);
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        if (!entries_[i].live) {
            entries_[i] = {name, bytes, true};
            return static_cast<int>(i);
        }
    }
    entries_.push_back({name, bytes, true});
    return static_cast<int>(entries_.size()) - 1;
}

void scratchpad::release(int ticket) {
    entry& e = entries_[static_cast<std::size_t>(ticket)];
    used_ -= e.bytes;
    e.live = false;
}

std::string scratchpad::live_set() const {
    std::vector<entry> live;
    for (const entry& e : entries_) {
        if (e.live && e.bytes > 0) live.push_back(e);
    }
    std::stable_sort(live.begin(), live.end(), [](const entry& a, const entry& b) { return a.bytes > b.bytes; });
    std::string text;
    for (const entry& e : live) {
        text += (text.empty() ? "" : " + ") + std::string(e.name) + ' ' + std::to_string(e.bytes);
    }
    return text;
}

} // namespace pantile::inline v0::simulator
