/// \file
/// The simulated processor that algorithms are written against: tiles held in near memory, transfers to and from far
/// memory, and tile arithmetic. It counts; if far memory holds numbers, it also computes.
#pragma once

#include <array>
#include <functional>
#include <string_view>
#include <vector>

#include <pantile/core/macros.hpp>
#include <pantile/simulator/near_memory.hpp>
#include <pantile/simulator/workload.hpp>

namespace pantile::inline v0::simulator {

/// Rows × columns of one tensor that cross between far and near memory.
struct transfer {
    tensor what{};
    bool write = false;
    index_t place = 0; ///< head place, see shape_of
    core::span rows;
    core::span columns;
    [[nodiscard]] index_t elements() const { return rows.size() * columns.size(); }
};

/// Sees what a processor does, in program order: caches, timelines and traces are observers.
class PANTILE_API observer {
  public:
    virtual ~observer() = default;
    virtual void begin_block(index_t /*place*/, index_t /*tile*/) {} ///< a row tile's or key tile's work starts
    virtual void moved(const transfer& /*t*/) {}
    virtual void worked(const work& /*w*/) {}
    virtual void holds(index_t /*bytes*/) {} ///< live bytes after a change
    virtual void end_block() {}
};

/// Numbers in far memory, for runs that also compute. Tensors appear when first written or set.
class PANTILE_API far_memory {
  public:
    enum class precision : unsigned char { fp64, fp32 };
    /// precision: what each number is rounded to when it is stored in a tile or a tensor (sums inside a tile product are
    /// fp64).
    explicit far_memory(const workload& w, index_t key_splits = 1, precision p = precision::fp64);

    /// (place, row, column) dense; of query rows, places are batch · q_heads + head whether heads are packed or not.
    [[nodiscard]] std::vector<double>& operator[](tensor t);
    void copy_in(const transfer& t, std::vector<double>& tile, index_t tile_stride) const;
    void copy_out(const transfer& t, const std::vector<double>& tile, index_t tile_stride);
    [[nodiscard]] double round(double x) const {
        return precision_ == precision::fp32 ? static_cast<double>(static_cast<float>(x)) : x;
    }
    /// Sums the gradients dk and dv of the query heads that share a key/value head: places batch · kv_heads + head.
    [[nodiscard]] std::vector<double> grouped(tensor gradient);

  private:
    [[nodiscard]] std::size_t position(tensor t, index_t place, index_t row) const;
    workload shape_;
    index_t key_splits_;
    precision precision_;
    mutable std::array<std::vector<double>, tensor_kinds> data_;
};

class processor;

/// A tile held in near memory; its space is given back when it is destroyed. `rows` and `columns` are what it was held
/// for; a ragged tile uses fewer.
class PANTILE_API tile {
  public:
    tile() = default;
    tile(tile&& other) noexcept;
    tile& operator=(tile&& other) noexcept;
    tile(const tile&) = delete;
    tile& operator=(const tile&) = delete;
    ~tile();

    [[nodiscard]] index_t rows() const { return used_rows_; }
    [[nodiscard]] index_t columns() const { return used_columns_; }
    /// Number (row, column); only in runs that compute.
    [[nodiscard]] double operator()(index_t row, index_t column) const {
        return data_[static_cast<std::size_t>(row * columns_ + column)];
    }
    /// Stores a number, rounded to the run's precision.
    void set(index_t row, index_t column, double value);
    /// The part in use: at most what the tile was held for.
    void use(index_t rows, index_t columns);

  private:
    friend class processor;
    processor* owner_ = nullptr;
    int ticket_ = -1;
    bool register_ = false;
    index_t rows_ = 0;
    index_t columns_ = 0;
    index_t used_rows_ = 0;
    index_t used_columns_ = 0;
    index_t width_ = 1;
    bool operand_ = false;
    std::vector<double> data_;
};

/// Which operand of a tile product is taken transposed.
enum class transpose : unsigned char { none, left, right };

class PANTILE_API processor {
  public:
    /// `numbers` may be null: the run only counts. With `counting` off nothing is counted and nothing observed.
    explicit processor(const near_memory& near, far_memory* numbers = nullptr, observer* watcher = nullptr,
                       bool counting = true);
    processor(const processor&) = delete;
    processor& operator=(const processor&) = delete;

    [[nodiscard]] bool computes() const { return numbers_ != nullptr; }
    [[nodiscard]] const near_memory& near() const { return near_; }

    /// Marks the work of one row tile or key tile: a unit that a machine would run as one thread block.
    void begin_block(index_t place, index_t tile_index);
    void end_block();

    /// Reserves near memory; throws does_not_fit. `name` must outlive the processor (a literal).
    [[nodiscard]] tile hold(std::string_view name, index_t rows, index_t columns, tile_role role);
    /// Far to near: all of `rows` × `columns`; the tile then uses exactly so much.
    void load(tile& into, tensor from, index_t place, core::span rows, core::span columns);
    void load(tile& into, tensor from, index_t place, core::span rows);
    /// Near to far: the rows and columns in use, to `rows` starting at column `first_column`.
    void store(const tile& from, tensor to, index_t place, core::span rows, index_t first_column = 0);
    /// Traffic of data that passes through without being held as a tile: the operands of an idealised matrix product.
    void stream(const transfer& t);
    /// From one device's far memory to another's: read here, carried over the link, written there. (Numbers stay where they
    /// are: devices share one far_memory.)
    void send(tensor what, index_t place, core::span rows, core::span columns);

    /// c = a·b, or c += a·b; c then uses rows × columns of the product.
    void multiply(tile& c, const tile& a, const tile& b, transpose which, bool accumulate = false);
    /// Every number of the tile := 0 (no traffic).
    void clear(tile& t);
    /// Calls f(row, column) for each number in use if the run computes; counts `flops` vector operations and
    /// `exponentials` for each.
    template <class F>
    void each(const tile& t, index_t flops, index_t exponentials, F&& f) {
        const index_t n = t.rows() * t.columns();
        count({0, n * exponentials, n * flops, 0});
        if (!computes()) return;
        for (index_t i = 0; i < t.rows(); ++i)
            for (index_t j = 0; j < t.columns(); ++j) f(i, j);
    }

    [[nodiscard]] const counts& moved() const { return moved_; }
    /// What crossed the links between devices: each element once, as a write.
    [[nodiscard]] const counts& sent() const { return sent_; }
    [[nodiscard]] const work& done() const { return done_; }
    [[nodiscard]] index_t blocks() const { return blocks_; }
    [[nodiscard]] index_t peak_bytes() const { return scratchpad_.peak(); }
    [[nodiscard]] index_t peak_register_bytes() const { return registers_.peak(); }
    [[nodiscard]] far_memory* numbers() { return numbers_; }

  private:
    friend class tile;
    void count(const work& w);
    void count(const transfer& t);
    void release(tile& t);

    near_memory near_;
    far_memory* numbers_;
    observer* watcher_;
    bool counting_;
    scratchpad scratchpad_;
    scratchpad registers_;
    counts moved_;
    counts sent_;
    work done_;
    index_t blocks_ = 0;
};

} // namespace pantile::inline v0::simulator
