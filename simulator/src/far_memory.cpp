#include <pantile/simulator/processor.hpp>

namespace pantile::inline v0::simulator {

namespace {

/// Tensors with one row a query row: under packed heads their rows are (position, head in group).
bool has_query_rows(tensor t) { return t != tensor::k && t != tensor::v && t != tensor::dk && t != tensor::dv; }

std::size_t volume(const std::array<index_t, 3>& s) { return static_cast<std::size_t>(s[0] * s[1] * s[2]); }

} // namespace

far_memory::far_memory(const workload& w, index_t key_splits, precision p)
    : shape_(w), key_splits_(key_splits), precision_(p) {}

std::vector<double>& far_memory::operator[](tensor t) {
    std::vector<double>& data = data_[static_cast<std::size_t>(t)];
    if (data.empty()) data.resize(volume(shape_of(t, shape_, key_splits_)));
    return data;
}

std::size_t far_memory::position(tensor t, index_t place, index_t row) const {
    const auto [places, rows, columns] = shape_of(t, shape_, key_splits_);
    if (shape_.packed_heads && has_query_rows(t)) {
        place = place * shape_.group() + row % shape_.group();
        row /= shape_.group();
    }
    return static_cast<std::size_t>((place * rows + row) * columns);
}

void far_memory::copy_in(const transfer& t, std::vector<double>& tile, index_t tile_stride) const {
    std::vector<double>& data = data_[static_cast<std::size_t>(t.what)];
    if (data.empty()) data.resize(volume(shape_of(t.what, shape_, key_splits_)));
    for (index_t i = t.rows.begin; i < t.rows.end; ++i) {
        const std::size_t from = position(t.what, t.place, i);
        const auto to = static_cast<std::size_t>((i - t.rows.begin) * tile_stride);
        for (index_t j = 0; j < t.columns.size(); ++j) {
            tile[to + static_cast<std::size_t>(j)] = data[from + static_cast<std::size_t>(t.columns.begin + j)];
        }
    }
}

void far_memory::copy_out(const transfer& t, const std::vector<double>& tile, index_t tile_stride) {
    std::vector<double>& data = (*this)[t.what];
    for (index_t i = t.rows.begin; i < t.rows.end; ++i) {
        const std::size_t to = position(t.what, t.place, i);
        const auto from = static_cast<std::size_t>((i - t.rows.begin) * tile_stride);
        for (index_t j = 0; j < t.columns.size(); ++j) {
            data[to + static_cast<std::size_t>(t.columns.begin + j)] = tile[from + static_cast<std::size_t>(j)];
        }
    }
}

std::vector<double> far_memory::grouped(tensor gradient) {
    const auto [places, rows, columns] = shape_of(gradient, shape_, key_splits_);
    const index_t kv_places = shape_.batch * shape_.kv_heads;
    const index_t group = kv_places > 0 ? places / kv_places : 0;
    const std::vector<double>& all = (*this)[gradient];
    const auto head = static_cast<std::size_t>(rows * columns);
    std::vector<double> sum(static_cast<std::size_t>(kv_places) * head);
    for (std::size_t place = 0; place < static_cast<std::size_t>(places); ++place) {
        const std::size_t into = place / static_cast<std::size_t>(group) * head;
        for (std::size_t x = 0; x < head; ++x) sum[into + x] += all[place * head + x];
    }
    return sum;
}

} // namespace pantile::inline v0::simulator
