#include <array>
#include <cstdio>

#include <nlohmann/json.hpp>

#include <pantile/error.hpp>
#include <pantile/simulator/cache.hpp>
#include <pantile/simulator/format.hpp>

#include "run_object.hpp"

namespace pantile::inline v0::simulator {

address_map::address_map(const workload& w, index_t key_splits) : packed_group_(w.packed_heads ? w.group() : 1) {
    constexpr index_t alignment = 4096;
    for (int i = 0; i < tensor_kinds; ++i) {
        const auto t = static_cast<tensor>(i);
        const auto [places, rows, columns] = shape_of(t, w, key_splits);
        const bool keys = t == tensor::k || t == tensor::v || t == tensor::dk || t == tensor::dv;
        layouts_[static_cast<std::size_t>(i)] = {end_, rows, columns, bytes_of(t, w.type), !keys};
        const index_t bytes = checked_mul(checked_mul(places, rows), checked_mul(columns, bytes_of(t, w.type)));
        end_ = checked_add(end_, core::round_up(bytes, alignment));
    }
}

cache_chain::cache_chain(const workload& w, const std::vector<cache_level>& levels, bool classify, index_t key_splits)
    : map_(w, key_splits) {
    if (levels.empty()) throw invalid_argument("there is no cache to run through");
    line_bytes_ = levels.front().line_bytes;
    for (const cache_level& l : levels) {
        if (l.line_bytes != line_bytes_)
            throw invalid_argument("cache " + l.name + " has lines of another length than the first");
        levels_.emplace_back(l, classify);
    }
}

void cache_chain::moved(const transfer& t) {
    map_.for_each_run(t, [&](index_t first, index_t bytes) {
        if (bytes == 0) return;
        const index_t last = (first + bytes - 1) / line_bytes_;
        for (index_t line = first / line_bytes_; line <= last; ++line)
            access(0, static_cast<std::uint64_t>(line), t.write);
    });
}

void cache_chain::access(std::size_t level, std::uint64_t line, bool write, bool allocating) {
    if (level == levels_.size()) {
        ++(write ? memory_writes_ : memory_reads_);
        return;
    }
    const cache::outcome o = levels_[level].access(line, write, allocating);
    if (o.hit) return;
    if (o.evicted_dirty) access(level + 1, o.evicted, true);
    // A line that comes down whole from above needs no read; a processor's write does.
    if (level == 0 || !write) access(level + 1, line, false, write || allocating);
}

void cache_chain::flush() {
    for (std::size_t level = 0; level < levels_.size(); ++level) {
        for (const std::uint64_t line : levels_[level].flush()) access(level + 1, line, true);
    }
}

cached_run run_cached(const algorithm& a, const experiment& e, const std::vector<cache_level>& levels, bool classify) {
    cache_chain chain(e.what, levels, classify, e.plan.key_splits);
    cached_run r;
    r.result = run(a, e, &chain);
    chain.flush();
    for (const cache& c : chain.levels()) r.levels.push_back(c.seen());
    r.memory_bytes_read = chain.memory_bytes_read();
    r.memory_bytes_written = chain.memory_bytes_written();
    return r;
}

std::string cached_text(const std::vector<cache_level>& levels, const cached_run& r) {
    const bool classified = r.levels.front().compulsory > 0;
    std::vector<std::vector<std::string>> rows{
        {"level", "lines read", "lines written", "misses", "hit rate", "written back"}};
    if (classified) rows.front().insert(rows.front().end(), {"compulsory", "capacity", "conflict"});
    for (std::size_t i = 0; i < levels.size(); ++i) {
        const cache_counts& c = r.levels[i];
        const double asked = static_cast<double>(c.reads + c.writes);
        std::array<char, 16> rate{};
        std::snprintf(rate.data(), rate.size(), "%.2f %%",
                      asked > 0 ? 100 * (1 - static_cast<double>(c.misses()) / asked) : 0.0);
        rows.push_back({levels[i].name + " " + std::to_string(levels[i].bytes / 1024) + " KB", grouped(c.reads),
                        grouped(c.writes), grouped(c.misses()), rate.data(), grouped(c.write_backs)});
        if (classified)
            rows.back().insert(rows.back().end(), {grouped(c.compulsory), grouped(c.capacity), grouped(c.conflict)});
    }
    return table(rows) + "memory: " + human_bytes(static_cast<double>(r.memory_bytes_read)) + " read, " +
           human_bytes(static_cast<double>(r.memory_bytes_written)) + " written\n";
}

std::string cached_csv(const std::vector<cache_level>& levels, const cached_run& r) {
    std::string csv = "level,bytes,reads,writes,read_misses,write_misses,write_backs,compulsory,capacity,conflict\n";
    for (std::size_t i = 0; i < levels.size(); ++i) {
        const cache_counts& c = r.levels[i];
        std::vector<std::string> cells{levels[i].name};
        for (const index_t x : {levels[i].bytes, c.reads, c.writes, c.read_misses, c.write_misses, c.write_backs,
                                c.compulsory, c.capacity, c.conflict}) {
            cells.push_back(std::to_string(x));
        }
        csv += csv_line(cells);
    }
    return csv;
}

std::string cached_json(const algorithm& a, const experiment& e, const std::vector<cache_level>& levels,
                        const cached_run& r) {
    nlohmann::ordered_json j = run_object(a, e, r.result);
    for (std::size_t i = 0; i < levels.size(); ++i) {
        const cache_counts& c = r.levels[i];
        j["levels"].push_back({{"name", levels[i].name},
                               {"bytes", levels[i].bytes},
                               {"reads", c.reads},
                               {"writes", c.writes},
                               {"read_misses", c.read_misses},
                               {"write_misses", c.write_misses},
                               {"write_backs", c.write_backs},
                               {"compulsory", c.compulsory},
                               {"capacity", c.capacity},
                               {"conflict", c.conflict}});
    }
    j["memory"] = {{"bytes_read", r.memory_bytes_read}, {"bytes_written", r.memory_bytes_written}};
    return j.dump(2) + '\n';
}

} // namespace pantile::inline v0::simulator
