#include <pantile/simulator/processor.hpp>

#include <algorithm>
#include <cassert>
#include <utility>

namespace pantile::inline v0::simulator {

tile::tile(tile&& other) noexcept { *this = std::move(other); }

tile& tile::operator=(tile&& other) noexcept {
    if (this == &other) return *this;
    if (owner_ != nullptr) owner_->release(*this);
    owner_ = std::exchange(other.owner_, nullptr);
    ticket_ = other.ticket_;
    register_ = other.register_;
    rows_ = other.rows_;
    columns_ = other.columns_;
    used_rows_ = other.used_rows_;
    used_columns_ = other.used_columns_;
    width_ = other.width_;
    operand_ = other.operand_;
    data_ = std::move(other.data_);
    return *this;
}

tile::~tile() {
    if (owner_ != nullptr) owner_->release(*this);
}

void tile::set(index_t row, index_t column, double value) {
    data_[static_cast<std::size_t>(row * columns_ + column)] = owner_->numbers()->round(value);
}

void tile::use(index_t rows, index_t columns) {
    assert(rows <= rows_ && columns <= columns_);
    used_rows_ = rows;
    used_columns_ = columns;
}

processor::processor(const near_memory& near, far_memory* numbers, observer* watcher, bool counting)
    : near_(near), numbers_(numbers), watcher_(counting ? watcher : nullptr), counting_(counting),
      scratchpad_("near memory", near.bytes),
      registers_("register file", near.accumulator_bytes > 0 ? near.accumulator_bytes : unbounded) {}

void processor::begin_block(index_t place, index_t tile_index) {
    if (!counting_) return;
    ++blocks_;
    if (watcher_ != nullptr) watcher_->begin_block(place, tile_index);
}

void processor::end_block() {
    if (watcher_ != nullptr) watcher_->end_block();
}

tile processor::hold(std::string_view name, index_t rows, index_t columns, tile_role role) {
    tile t;
    const bool accumulates = role == tile_role::accumulator || role == tile_role::statistic;
    t.register_ = accumulates && near_.accumulator_bytes > 0;
    t.rows_ = t.used_rows_ = rows;
    t.columns_ = t.used_columns_ = columns;
    t.width_ = near_.width(role);
    t.operand_ = role == tile_role::operand;
    scratchpad& place = t.register_ ? registers_ : scratchpad_;
    t.ticket_ = place.hold(name, checked_mul(checked_mul(rows, columns), t.width_));
    t.owner_ = this;
    if (computes()) t.data_.resize(static_cast<std::size_t>(rows * columns));
    if (watcher_ != nullptr) watcher_->holds(scratchpad_.used() + registers_.used());
    return t;
}

void processor::release(tile& t) {
    (t.register_ ? registers_ : scratchpad_).release(t.ticket_);
    if (watcher_ != nullptr) watcher_->holds(scratchpad_.used() + registers_.used());
    t.owner_ = nullptr;
}

void processor::load(tile& into, tensor from, index_t place, core::span rows, core::span columns) {
    into.use(rows.size(), columns.size());
    const transfer t{from, false, place, rows, columns};
    count(t);
    if (into.operand_) count({0, 0, 0, t.elements() * into.width_}); // the fill of the scratchpad
    if (computes()) numbers_->copy_in(t, into.data_, into.columns_);
}

void processor::load(tile& into, tensor from, index_t place, core::span rows) {
    load(into, from, place, rows, {0, into.columns_});
}

void processor::store(const tile& from, tensor to, index_t place, core::span rows, index_t first_column) {
    const transfer t{to, true, place, rows, {first_column, first_column + from.columns()}};
    assert(rows.size() == from.rows());
    count(t);
    if (computes()) numbers_->copy_out(t, from.data_, from.columns_);
}

void processor::stream(const transfer& t) { count(t); }

void processor::send(tensor what, index_t place, core::span rows, core::span columns) {
    transfer t{what, false, place, rows, columns};
    count(t);
    t.write = true;
    count(t);
    if (counting_) sent_.write(what, t.elements());
}

void processor::multiply(tile& c, const tile& a, const tile& b, transpose which, bool accumulate) {
    const index_t m = which == transpose::left ? a.columns() : a.rows();
    const index_t depth = which == transpose::left ? a.rows() : a.columns();
    const index_t n = which == transpose::right ? b.rows() : b.columns();
    assert(depth == (which == transpose::right ? b.columns() : b.rows()));
    if (!accumulate) c.use(m, n);
    assert(c.rows() == m && c.columns() == n);

    // A left operand that is a scratchpad tile is read once; the right one once for every product_rows rows.
    const index_t left_bytes = a.operand_ ? m * depth * a.width_ : 0;
    const index_t right_bytes = core::ceil_div(m, near_.product_rows) * depth * n * near_.operand_width;
    count({2 * m * n * depth, 0, 0, left_bytes + right_bytes});

    if (!computes()) return;
    for (index_t i = 0; i < m; ++i) {
        for (index_t j = 0; j < n; ++j) {
            double sum = accumulate ? c(i, j) : 0.0;
            for (index_t x = 0; x < depth; ++x) {
                const double left = which == transpose::left ? a(x, i) : a(i, x);
                const double right = which == transpose::right ? b(j, x) : b(x, j);
                sum += left * right;
            }
            c.set(i, j, sum);
        }
    }
}

void processor::clear(tile& t) { std::fill(t.data_.begin(), t.data_.end(), 0.0); }

void processor::count(const work& w) {
    if (!counting_) return;
    done_ += w;
    if (watcher_ != nullptr) watcher_->worked(w);
}

void processor::count(const transfer& t) {
    if (!counting_ || t.elements() == 0) return;
    if (t.write) {
        moved_.write(t.what, t.elements());
    } else {
        moved_.read(t.what, t.elements());
    }
    if (watcher_ != nullptr) watcher_->moved(t);
}

} // namespace pantile::inline v0::simulator
