// Positions beyond 2^31 elements, in mappings that reserve no memory: only the touched pages exist.
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <pantile/attention.hpp>

namespace pantile::inline v0 {
namespace {

/// Address space of zeros, given back at the end.
class reserved {
  public:
    explicit reserved(index_t floats) : bytes_(static_cast<std::size_t>(floats) * sizeof(float)) {
        memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    reserved(const reserved&) = delete;
    reserved& operator=(const reserved&) = delete;
    ~reserved() {
        if (ok()) munmap(memory_, bytes_);
    }
    [[nodiscard]] bool ok() const { return memory_ != MAP_FAILED; }
    [[nodiscard]] float* data() const { return static_cast<float*>(memory_); }

  private:
    std::size_t bytes_;
    void* memory_;
};

constexpr index_t far_stride = (index_t{1} << 31) + 12345; // one step leaves 32 bits

/// Values that a 32-bit position would mix up.
float value_at(index_t row, index_t x) { return 0.25F * static_cast<float>((3 * row + 5 * x) % 11) - 1.0F; }

struct axis_case {
    std::array<index_t, 4> extent; ///< batch, heads, length, dim
    std::size_t axis;              ///< the one that steps far
};

class far_strides : public testing::TestWithParam<axis_case> {};

/// Every tensor takes far steps along one axis; the same numbers in dense tensors give the same bits.
TEST_P(far_strides, give_the_bits_of_dense_tensors) {
    const auto& extent = GetParam().extent; // no structured binding: clang 14 cannot capture one
    const auto axis = GetParam().axis;
    const index_t count = extent[0] * extent[1] * extent[2] * extent[3];
    std::array<index_t, 4> dense{extent[1] * extent[2] * extent[3], extent[2] * extent[3], extent[3], 1};
    std::array<index_t, 4> wide = dense;
    wide[axis] = far_stride;
    const index_t reach = far_stride * (extent[axis] - 1) + count;
    const reserved memory[] = {reserved(reach), reserved(reach), reserved(reach),
                               reserved(reach), reserved(reach), reserved(reach)};
    for (const reserved& r : memory) {
        if (!r.ok()) GTEST_SKIP() << "this system gives no address space of " << reach << " floats";
    }
    std::vector<std::vector<float>> near(6, std::vector<float>(static_cast<std::size_t>(count)));
    const auto view = [&](std::size_t n, bool far) {
        return far ? strided(memory[n].data(), extent, wide) : strided(near[n].data(), extent, dense);
    };
    for (const bool far : {false, true}) {
        for (std::size_t n = 0; n < 3; ++n) { // q, k, v: numbers of their own
            const auto t = view(n, far);
            for (index_t b = 0; b < extent[0]; ++b)
                for (index_t h = 0; h < extent[1]; ++h)
                    for (index_t i = 0; i < extent[2]; ++i)
                        for (index_t x = 0; x < extent[3]; ++x)
                            t(b, h, i, x) = value_at(b + 7 * h + 13 * i + static_cast<index_t>(n), x);
        }
    }
    const index_t rows = extent[0] * extent[1] * extent[2];
    std::vector<float> lse(static_cast<std::size_t>(rows));
    const auto lse_view = bhs(lse.data(), extent[0], extent[1], extent[2]);
    const options o{.mask = causal()};
    const auto run = [&](bool far) {
        attention(view(0, far), view(1, far), view(2, far), view(3, far), lse_view, o);
        std::vector<float> result;
        const auto take = [&](const tensor_view<float>& t) {
            for (index_t b = 0; b < extent[0]; ++b)
                for (index_t h = 0; h < extent[1]; ++h)
                    for (index_t i = 0; i < extent[2]; ++i)
                        for (index_t x = 0; x < extent[3]; ++x) result.push_back(t(b, h, i, x));
        };
        take(view(3, far));
        // dq into a dense tensor: six far mappings are enough address space.
        attention_backward(view(0, far), view(1, far), view(2, far), view(3, far), lse_view, view(0, far),
                           strided(near[3].data(), extent, dense), view(4, far), view(5, far), o);
        result.insert(result.end(), near[3].begin(), near[3].end());
        take(view(4, far));
        take(view(5, far));
        return result;
    };
    const std::vector<float> far_result = run(true);
    for (float& x : near[3]) x = 0.0F;
    std::vector<float> dense_out(static_cast<std::size_t>(count));
    // The dense call needs an out of its own: near[3] is dq.
    attention(view(0, false), view(1, false), view(2, false), strided(dense_out.data(), extent, dense), lse_view, o);
    std::vector<float> dense_result = dense_out;
    attention_backward(view(0, false), view(1, false), view(2, false), strided(dense_out.data(), extent, dense),
                       lse_view, view(0, false), strided(near[3].data(), extent, dense), view(4, false), view(5, false),
                       o);
    for (std::size_t n = 3; n < 6; ++n) dense_result.insert(dense_result.end(), near[n].begin(), near[n].end());
    EXPECT_EQ(far_result, dense_result);
}

INSTANTIATE_TEST_SUITE_P(axes, far_strides,
                         testing::Values(axis_case{{3, 2, 4, 5}, 0}, axis_case{{1, 3, 4, 5}, 1},
                                         axis_case{{1, 1, 5, 4}, 2}, axis_case{{1, 1, 4, 3}, 3}),
                         [](const auto& info) {
                             return std::string(std::array{"batch", "heads", "length", "dim"}[info.param.axis]);
                         });

/// One row at the end of 2^33 keys, with a window: keys and positions beyond 32 bits, 101 of them visible.
TEST(huge, a_window_at_the_end_of_2_to_the_33_keys) {
    const index_t keys = index_t{1} << 33;
    const reserved k(keys);
    const reserved v(keys);
    if (!k.ok() || !v.ok()) GTEST_SKIP() << "this system gives no address space of 2^33 floats";
    double sum = 0.0;
    double weighted = 0.0;
    for (index_t j = keys - 101; j < keys; ++j) {
        k.data()[j] = 0.01F * static_cast<float>(j % 97);
        v.data()[j] = static_cast<float>(j % 13);
        const double p = std::exp(static_cast<double>(k.data()[j]));
        sum += p;
        weighted += p * static_cast<double>(v.data()[j]);
    }
    const float q = 1.0F;
    float out = 0.0F;
    float lse = 0.0F;
    const auto query = bhsd(&q, 1, 1, 1, 1);
    const auto key_view = bhsd<const float>(k.data(), 1, 1, keys, 1);
    const auto value_view = bhsd<const float>(v.data(), 1, 1, keys, 1);
    attention(query, key_view, value_view, bhsd(&out, 1, 1, 1, 1), bhs(&lse, 1, 1, 1), {.mask = window(100, 0)});
    EXPECT_NEAR(static_cast<double>(out), weighted / sum, 1e-5);
    EXPECT_NEAR(static_cast<double>(lse), std::log(sum), 1e-5);
    // The same keys through a length and through an offset.
    const index_t lengths[] = {keys - 50};
    attention(query, key_view, value_view, bhsd(&out, 1, 1, 1, 1), bhs(&lse, 1, 1, 1),
              {.mask = window(50, 0), .key_lengths = lengths});
    float other = 0.0F;
    attention(query, key_view, value_view, bhsd(&other, 1, 1, 1, 1), {.mask = window(50, 0).at_offset(keys - 51)});
    EXPECT_EQ(out, other);
}

/// One row of memory seen as 2^30 keys of 64 dims.
TEST(huge, broadcast_views_count_more_than_2_to_the_31_elements) {
    const std::vector<float> row(64, 0.5F);
    const index_t keys = index_t{1} << 30;
    const auto k = strided(row.data(), {1, 1, keys, 64}, {0, 0, 0, 1}); // 2^36 elements
    std::vector<float> out(8 * 64, -1.0F);
    attention(bhsd(row.data(), 1, 1, 1, 64), k, k, bhsd(out.data(), 1, 1, 1, 64), {.mask = window(1000, 0)});
    for (std::size_t x = 0; x < 64; ++x) EXPECT_NEAR(out[x], 0.5F, 1e-6F);
}

} // namespace
} // namespace pantile::inline v0
