// What belongs to the CPU machine alone: bits that do not depend on threads or row tiles, hidden garbage, given work memory,
// calls from several threads. The answers themselves are held against fp64 elsewhere.
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <omp.h>
#include <pantile/attention.hpp>

namespace pantile_test {
namespace {

using pantile::index_t;
using testing::HasSubstr;

struct shape {
    index_t batch = 2;
    index_t heads = 4;
    index_t kv_heads = 2;
    index_t q_len = 150;
    index_t k_len = 211;
    index_t dim = 40;
    index_t value_dim = 24;
};

template <class T>
struct tensors {
    shape s;
    std::vector<T> q, k, v;
    explicit tensors(const shape& size, unsigned seed = 1) : s(size) {
        std::mt19937 random(seed);
        const auto fill = [&](std::vector<T>& x, index_t count) {
            std::normal_distribution<T> normal;
            x.resize(static_cast<std::size_t>(count));
            for (T& value : x) value = normal(random);
        };
        fill(q, s.batch * s.heads * s.q_len * s.dim);
        fill(k, s.batch * s.kv_heads * s.k_len * s.dim);
        fill(v, s.batch * s.kv_heads * s.k_len * s.value_dim);
    }
    [[nodiscard]] auto q_view() const { return pantile::bshd(q.data(), s.batch, s.q_len, s.heads, s.dim); }
    [[nodiscard]] auto k_view() const { return pantile::bhsd(k.data(), s.batch, s.kv_heads, s.k_len, s.dim); }
    [[nodiscard]] auto v_view() const { return pantile::bhsd(v.data(), s.batch, s.kv_heads, s.k_len, s.value_dim); }

    /// out and lse, one after the other.
    [[nodiscard]] std::vector<T> forward(const pantile::options& o) const {
        const index_t out_count = s.batch * s.heads * s.q_len * s.value_dim;
        std::vector<T> result(static_cast<std::size_t>(out_count + s.batch * s.heads * s.q_len), T(-99));
        pantile::attention(q_view(), k_view(), v_view(),
                           pantile::bhsd(result.data(), s.batch, s.heads, s.q_len, s.value_dim),
                           pantile::bhs(result.data() + out_count, s.batch, s.heads, s.q_len), o);
        return result;
    }
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

std::vector<pantile::mask> masks() {
    return {pantile::full(), pantile::causal(), pantile::causal(pantile::alignment::top_left), pantile::window(30, 5),
            pantile::window(3, 0).at_offset(100)};
}

template <class T>
class forward : public testing::Test {};
using numbers = testing::Types<float, double>;
TYPED_TEST_SUITE(forward, numbers);

TYPED_TEST(forward, same_bits_for_any_number_of_threads) {
    for (const index_t q_len : {1, 16, 150, 700}) {
        shape s;
        s.q_len = q_len;
        s.k_len = q_len + 61;
        const tensors<TypeParam> t(s);
        for (const pantile::mask& m : masks()) {
            pantile::options o{m};
            o.threads = 1;
            const std::vector<TypeParam> one = t.forward(o);
            for (const int threads : {2, 3, 7, 16}) {
                o.threads = threads;
                EXPECT_TRUE(same_bits(t.forward(o), one)) << threads << " threads, q_len " << q_len;
            }
        }
    }
}

TYPED_TEST(forward, same_bits_for_any_row_tile) {
    const tensors<TypeParam> t(shape{});
    for (const pantile::mask& m : masks()) {
        pantile::options o{m};
        o.plan = pantile::tile_plan{256, 32, 1};
        const std::vector<TypeParam> whole = t.forward(o);
        for (const index_t rows : {1, 5, 16, 24, 64, 100}) {
            o.plan->row_tile = rows;
            EXPECT_TRUE(same_bits(t.forward(o), whole)) << "row tile of " << rows;
        }
    }
}

/// K and V hold NaN and infinities where no row of a tile, or only some rows, may see them: no bit of the other rows
/// changes, and the rows that see one show it.
TYPED_TEST(forward, hidden_garbage_does_not_matter) {
    using T = TypeParam;
    const shape s;
    for (const T garbage : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
        for (const pantile::mask& m : masks()) {
            const pantile::options o{m};
            const tensors<T> clean(s);
            tensors<T> dirty(s);
            constexpr index_t poisoned = 100;
            for (index_t x = 0; x < s.dim; ++x) dirty.k[poisoned * s.dim + x] = garbage;
            for (index_t x = 0; x < s.value_dim; ++x) dirty.v[poisoned * s.value_dim + x] = garbage;
            const std::vector<T> expected = clean.forward(o);
            const std::vector<T> got = dirty.forward(o);
            const index_t off = m.align == pantile::alignment::bottom_right ? s.k_len - s.q_len : m.offset;
            const pantile::core::band band{m.left, m.right, off, s.k_len};
            index_t seen = 0;
            for (index_t h = 0; h < s.heads; ++h) {
                for (index_t i = 0; i < s.q_len; ++i) {
                    const index_t row = (h * s.q_len + i) * s.value_dim;
                    // Batch 0, heads 0 and 1 read kv head 0.
                    if (h < 2 && band.visible(i, poisoned)) {
                        ++seen;
                        EXPECT_TRUE(std::isnan(got[row])) << "row " << i << " sees it";
                        continue;
                    }
                    EXPECT_EQ(std::memcmp(&got[row], &expected[row], sizeof(T) * s.value_dim), 0) << "row " << i;
                }
            }
            EXPECT_GT(seen, 0);
        }
    }
}

TYPED_TEST(forward, given_workspace_is_used_and_checked) {
    const tensors<TypeParam> t(shape{});
    for (const index_t splits : {1, 3}) {
        pantile::options o{pantile::causal()};
        o.threads = 2;
        o.plan = pantile::tile_plan{0, 32, splits};
        const std::vector<TypeParam> expected = t.forward(o);
        const index_t bytes = pantile::explain(t.q_view(), t.k_view(), t.v_view(), o).workspace_bytes;
        std::vector<std::byte> memory(static_cast<std::size_t>(bytes));
        o.workspace = memory;
        EXPECT_TRUE(same_bits(t.forward(o), expected));
        o.workspace = std::span(memory).first(memory.size() - 1);
        try {
            (void)t.forward(o);
            FAIL() << "a workspace that is too small was accepted";
        } catch (const pantile::invalid_argument& e) {
            EXPECT_THAT(e.what(), HasSubstr("this call needs " + std::to_string(bytes)));
        }
    }
}

TYPED_TEST(forward, nested_and_concurrent_calls) {
    const tensors<TypeParam> t(shape{});
    const pantile::options o{pantile::causal()};
    const std::vector<TypeParam> expected = t.forward(o);
    std::atomic<int> wrong = 0;
    std::vector<std::thread> users;
    for (int u = 0; u < 4; ++u) {
        users.emplace_back([&] {
            for (int i = 0; i < 5; ++i) wrong += same_bits(t.forward(o), expected) ? 0 : 1;
        });
    }
    for (std::thread& user : users) user.join();
#pragma omp parallel for num_threads(3)
    for (int i = 0; i < 9; ++i) wrong += same_bits(t.forward(o), expected) ? 0 : 1;
    EXPECT_EQ(wrong, 0);
}

TYPED_TEST(forward, split_keys_agree_with_the_whole) {
    const tensors<TypeParam> t(shape{});
    for (const pantile::mask& m : masks()) {
        pantile::options o{m};
        o.plan = pantile::tile_plan{0, 16, 1};
        const std::vector<TypeParam> whole = t.forward(o);
        for (const index_t splits : {2, 3, 14, 1000}) {
            o.plan->key_splits = splits;
            const std::vector<TypeParam> split = t.forward(o);
            for (std::size_t i = 0; i < whole.size(); ++i) {
                if (whole[i] == split[i]) continue; // infinities of rows without keys among them
                ASSERT_NEAR(split[i], whole[i], 64 * std::numeric_limits<TypeParam>::epsilon()) << splits << " splits";
            }
        }
    }
}

} // namespace
} // namespace pantile_test
