#include <pantile/simulator/cache.hpp>

#include <algorithm>
#include <bit>

#include <pantile/error.hpp>

namespace pantile::inline v0::simulator {

/// A fully associative LRU cache of the same number of lines, and the set of lines ever seen.
class cache::classifier {
  public:
    explicit classifier(std::size_t lines) : capacity_(lines) {}

    enum class kind : unsigned char { hit, capacity, compulsory };

    /// What this access would be in a fully associative cache.
    kind access(std::uint64_t line) {
        const auto [found, fresh] = places_.try_emplace(line, nodes_.size());
        if (fresh) nodes_.push_back({line, none, none, false});
        const std::size_t at = found->second;
        kind k = fresh ? kind::compulsory : kind::capacity;
        if (nodes_[at].resident) {
            k = kind::hit;
            unlink(at);
        } else if (resident_ == capacity_) {
            const std::size_t oldest = last_;
            unlink(oldest);
            nodes_[oldest].resident = false;
        } else {
            ++resident_;
        }
        push_front(at);
        return k;
    }

  private:
    static constexpr std::size_t none = ~std::size_t{0};
    struct node {
        std::uint64_t line;
        std::size_t before, after;
        bool resident;
    };
    void unlink(std::size_t at) {
        const node& n = nodes_[at];
        (n.before == none ? first_ : nodes_[n.before].after) = n.after;
        (n.after == none ? last_ : nodes_[n.after].before) = n.before;
    }
    void push_front(std::size_t at) {
        nodes_[at].before = none;
        nodes_[at].after = first_;
        nodes_[at].resident = true;
        (first_ == none ? last_ : nodes_[first_].before) = at;
        first_ = at;
    }
    std::size_t capacity_;
    std::size_t resident_ = 0;
    std::size_t first_ = none;
    std::size_t last_ = none;
    std::unordered_map<std::uint64_t, std::size_t> places_;
    std::vector<node> nodes_;
};

cache::cache(const cache_level& level, bool classify) : level_(level), ways_(static_cast<std::size_t>(level.ways)) {
    const index_t set_bytes = level.ways * level.line_bytes;
    if (level.bytes <= 0 || set_bytes <= 0 || level.bytes % set_bytes != 0) {
        throw invalid_argument("cache " + level.name + " has " + std::to_string(level.bytes) +
                               " bytes: it must be a multiple of ways x line, " + std::to_string(set_bytes));
    }
    sets_ = static_cast<std::size_t>(level.bytes / set_bytes);
    power_of_two_ = std::has_single_bit(sets_);
    ways_of_sets_.resize(sets_ * ways_);
    if (classify) classifier_ = std::make_unique<classifier>(sets_ * ways_);
}

cache::~cache() = default;
cache::cache(cache&&) noexcept = default;

cache::outcome cache::access(std::uint64_t line, bool write, bool allocating) {
    const std::size_t set = power_of_two_ ? line & (sets_ - 1) : line % sets_;
    std::uint64_t* const way = ways_of_sets_.data() + set * ways_;
    const std::uint64_t wanted = line + 1;
    const std::uint64_t dirty = write ? 1 : 0;
    ++(write ? counts_.writes : counts_.reads);

    std::size_t at = 0;
    while (at < ways_ && way[at] >> 1 != wanted) ++at;
    outcome o;
    o.hit = at < ways_;
    std::uint64_t entry = wanted << 1 | dirty;
    if (o.hit) {
        entry |= way[at] & 1;
    } else {
        ++(write ? counts_.write_misses : counts_.read_misses);
        counts_.allocating_misses += allocating ? 1 : 0;
        at = ways_ - 1;
        if ((way[at] & 1) != 0) {
            o.evicted_dirty = true;
            o.evicted = (way[at] >> 1) - 1;
            ++counts_.write_backs;
        }
    }
    for (; at > 0; --at) way[at] = way[at - 1];
    way[0] = entry;

    if (classifier_) {
        const classifier::kind k = classifier_->access(line);
        if (!o.hit && k == classifier::kind::compulsory) ++counts_.compulsory;
        if (!o.hit && k == classifier::kind::capacity) ++counts_.capacity;
        if (!o.hit && k == classifier::kind::hit) ++counts_.conflict;
    }
    return o;
}

std::vector<std::uint64_t> cache::flush() {
    std::vector<std::uint64_t> lines;
    for (std::uint64_t& w : ways_of_sets_) {
        if ((w & 1) == 0) continue;
        lines.push_back((w >> 1) - 1);
        w &= ~std::uint64_t{1};
    }
    counts_.write_backs += static_cast<index_t>(lines.size());
    return lines;
}

} // namespace pantile::inline v0::simulator
