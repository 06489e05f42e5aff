/// \file
/// Set-associative LRU caches, and a chain of them that listens to a run line by line.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/machine.hpp>
#include <pantile/simulator/run.hpp>

namespace pantile::inline v0::simulator {

struct cache_counts {
    index_t reads = 0; ///< lines asked for
    index_t writes = 0;
    index_t read_misses = 0;
    index_t write_misses = 0;
    index_t allocating_misses = 0; ///< read misses that fill a line for a write in the level above
    index_t write_backs = 0;       ///< dirty lines handed to the next level, by eviction or by the final flush
    index_t compulsory = 0; ///< misses on lines never seen before; with the two below, only if misses are classified
    index_t capacity = 0;   ///< misses that a fully associative cache of the same size would have too
    index_t conflict = 0;   ///< the rest
    [[nodiscard]] index_t misses() const { return read_misses + write_misses; }
    bool operator==(const cache_counts&) const = default;
};

/// Write-back, write-allocate, least recently used within a set; set = line modulo number of sets.
class PANTILE_API cache {
  public:
    struct outcome {
        bool hit = false;
        bool evicted_dirty = false;
        std::uint64_t evicted = 0; ///< line, if evicted_dirty
    };

    /// Throws invalid_argument unless the size is a multiple of ways · line. Classifying costs about ten times the time.
    explicit cache(const cache_level& level, bool classify = false);
    ~cache();
    cache(cache&&) noexcept;

    outcome access(std::uint64_t line, bool write, bool allocating = false);
    /// Every dirty line, once; the cache is then clean.
    [[nodiscard]] std::vector<std::uint64_t> flush();

    [[nodiscard]] const cache_counts& seen() const { return counts_; }
    [[nodiscard]] const cache_level& level() const { return level_; }

  private:
    class classifier;
    cache_level level_;
    std::size_t sets_ = 0;
    std::size_t ways_ = 0;
    bool power_of_two_ = false;
    /// (line + 1) << 1 | dirty, most recent first within a set; 0: empty.
    std::vector<std::uint64_t> ways_of_sets_;
    std::unique_ptr<classifier> classifier_;
    cache_counts counts_;
};

/// Where the tensors lie: one after the other, each dense as (place, row, column), aligned to 4 KiB.
class PANTILE_API address_map {
  public:
    explicit address_map(const workload& w, index_t key_splits = 1);
    /// Calls f(first byte, bytes) for each contiguous run of a transfer.
    template <class F>
    void for_each_run(const transfer& t, F&& f) const {
        const layout& l = layouts_[static_cast<std::size_t>(t.what)];
        const bool packed = packed_group_ > 1 && l.query_rows;
        const index_t width = t.columns.size() * l.element;
        if (!packed && t.columns.begin == 0 && t.columns.end == l.columns) {
            f(l.base + (t.place * l.rows + t.rows.begin) * l.columns * l.element, t.rows.size() * width);
            return;
        }
        for (index_t i = t.rows.begin; i < t.rows.end; ++i) {
            const index_t place = packed ? t.place * packed_group_ + i % packed_group_ : t.place;
            const index_t row = packed ? i / packed_group_ : i;
            f(l.base + ((place * l.rows + row) * l.columns + t.columns.begin) * l.element, width);
        }
    }
    [[nodiscard]] index_t bytes() const { return end_; }

  private:
    struct layout {
        index_t base = 0, rows = 0, columns = 0, element = 0;
        bool query_rows = true;
    };
    std::array<layout, tensor_kinds> layouts_{};
    index_t packed_group_ = 1;
    index_t end_ = 0;
};

/// A chain of caches between the processor and memory. A miss reads the line from the next level; a dirty line that leaves
/// is written to it. (A write that misses also reads the line first.)
class PANTILE_API cache_chain : public observer {
  public:
    cache_chain(const workload& w, const std::vector<cache_level>& levels, bool classify = false,
                index_t key_splits = 1);

    void moved(const transfer& t) override;
    /// One access, as moved makes them.
    void access(std::uint64_t line, bool write) { access(0, line, write); }
    /// Writes every dirty line back, level by level.
    void flush();

    [[nodiscard]] const std::vector<cache>& levels() const { return levels_; }
    [[nodiscard]] index_t memory_bytes_read() const { return memory_reads_ * line_bytes_; }
    [[nodiscard]] index_t memory_bytes_written() const { return memory_writes_ * line_bytes_; }

  private:
    void access(std::size_t level, std::uint64_t line, bool write, bool allocating = false);
    address_map map_;
    std::vector<cache> levels_;
    index_t line_bytes_ = 64;
    index_t memory_reads_ = 0;
    index_t memory_writes_ = 0;
};

struct cached_run {
    run_result result;
    std::vector<cache_counts> levels;
    index_t memory_bytes_read = 0;
    index_t memory_bytes_written = 0;
};

/// Runs with every line of every transfer going through the caches, in program order, flushed at the end.
[[nodiscard]] PANTILE_API cached_run run_cached(const algorithm& a, const experiment& e,
                                                const std::vector<cache_level>& levels, bool classify = false);
[[nodiscard]] PANTILE_API std::string cached_text(const std::vector<cache_level>& levels, const cached_run& r);
/// The run and its caches.
[[nodiscard]] PANTILE_API std::string cached_json(const algorithm& a, const experiment& e,
                                                  const std::vector<cache_level>& levels, const cached_run& r);
[[nodiscard]] PANTILE_API std::string cached_csv(const std::vector<cache_level>& levels, const cached_run& r);

} // namespace pantile::inline v0::simulator
