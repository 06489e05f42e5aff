// The same call by another door: pantile_cuda.h against pantile/cuda.hpp, and lengths of 32 bits against those of 64, bit for bit.

#include "judge.hpp"

#include <cstring>
#include <string>

#include <pantile_cuda.h>

namespace pantile::test {
namespace {

constexpr index_t batch = 3, q_heads = 4, kv_heads = 2, q_len = 70, k_len = 333, dim = 64;

template <class T>
std::vector<T> numbers(index_t count, unsigned seed) {
    std::vector<T> x;
    for (index_t i = 0; i < count; ++i) {
        seed = seed * 1664525U + 1013904223U;
        x.emplace_back(static_cast<float>(seed >> 8) / static_cast<float>(1 << 23) - 1.0F);
    }
    return x;
}

/// q, k and v on the device, and room for results that begin poisoned.
struct device_call {
    on_gpu<bfloat16> q{numbers<bfloat16>(batch * q_heads * q_len * dim, 1)};
    on_gpu<bfloat16> k{numbers<bfloat16>(batch * kv_heads * k_len * dim, 2)};
    on_gpu<bfloat16> v{numbers<bfloat16>(batch * kv_heads * k_len * dim, 3)};

    [[nodiscard]] device_view<const bfloat16> q_view() const {
        return on_device(bshd<const bfloat16>(q.data(), batch, q_len, q_heads, dim));
    }
    [[nodiscard]] device_view<const bfloat16> kv_view(const on_gpu<bfloat16>& t) const {
        return on_device(bshd<const bfloat16>(t.data(), batch, k_len, kv_heads, dim));
    }
    [[nodiscard]] pantile_tensor c_q() const {
        return pantile_on_device(pantile_bshd(q.data(), PANTILE_BF16, batch, q_len, q_heads, dim));
    }
    [[nodiscard]] pantile_tensor c_kv(const on_gpu<bfloat16>& t) const {
        return pantile_on_device(pantile_bshd(t.data(), PANTILE_BF16, batch, k_len, kv_heads, dim));
    }
};

struct device_results {
    on_gpu<float> out{std::vector<float>(batch * q_heads * q_len * dim, -7.0F)};
    on_gpu<float> max{std::vector<float>(batch * q_heads * q_len, -7.0F)};
    on_gpu<float> lse{std::vector<float>(batch * q_heads * q_len, -7.0F)}; // or sums

    [[nodiscard]] device_view<float> out_view() const {
        return on_device(bhsd(out.data(), batch, q_heads, q_len, dim));
    }
    [[nodiscard]] device_row_view<float> rows(const on_gpu<float>& r) const {
        return on_device(bhs(r.data(), batch, q_heads, q_len));
    }
    [[nodiscard]] device_partial_view<float> part() const { return {out_view(), rows(max), rows(lse)}; }
    [[nodiscard]] pantile_tensor c_out() const {
        return pantile_on_device(pantile_bhsd(out.data(), PANTILE_FP32, batch, q_heads, q_len, dim));
    }
    [[nodiscard]] pantile_tensor c_rows(const on_gpu<float>& r) const {
        return pantile_on_device(pantile_bhs(r.data(), PANTILE_FP32, batch, q_heads, q_len));
    }
    [[nodiscard]] pantile_partial c_part() const {
        return {sizeof(pantile_partial), c_out(), c_rows(max), c_rows(lse)};
    }
};

void expect_same(const device_results& a, const device_results& b, bool with_max = false) {
    const auto same = [](const on_gpu<float>& x, const on_gpu<float>& y) {
        const std::vector<float> u = x.values(), w = y.values();
        return std::memcmp(u.data(), w.data(), u.size() * sizeof(float)) == 0 &&
               u != std::vector<float>(u.size(), -7.0F);
    };
    EXPECT_TRUE(same(a.out, b.out));
    EXPECT_TRUE(same(a.lse, b.lse));
    EXPECT_TRUE(!with_max || same(a.max, b.max));
}

TEST(cuda_c_interface, gives_the_bits_of_cpp) {
    PANTILE_NEEDS_DEVICE(80);
    const device_call call;
    const on_gpu<std::int32_t> lengths(std::vector<std::int32_t>{333, 100, 0});
    const device_results cpp, c;
    options o;
    o.mask = window(40, 0);
    o.scale = 0.2;
    o.key_lengths = on_device(std::span(lengths.data(), 3));
    attention(call.q_view(), call.kv_view(call.k), call.kv_view(call.v),
              {.out = cpp.out_view(), .lse = cpp.rows(cpp.lse)}, nullptr, o);

    pantile_options c_options = {};
    c_options.size = sizeof c_options;
    c_options.mask = pantile_window(40, 0, PANTILE_BOTTOM_RIGHT);
    c_options.scale = 0.2;
    c_options.has_scale = 1;
    c_options.key_lengths = {lengths.data(), 3, 32, PANTILE_DEVICE};
    const pantile_tensor q = call.c_q(), k = call.c_kv(call.k), v = call.c_kv(call.v);
    const pantile_results to = {sizeof to, c.c_out(), c.c_rows(c.lse)};
    ASSERT_EQ(pantile_cuda_attention(&q, &k, &v, &to, nullptr, &c_options), PANTILE_OK) << pantile_cuda_message();
    expect_same(cpp, c);

    const device_explanation expected = explain(call.q_view(), call.kv_view(call.k), call.kv_view(call.v), o);
    pantile_device_explanation e = {};
    e.size = sizeof e;
    ASSERT_EQ(pantile_cuda_explain(&q, &k, &v, &c_options, &e), PANTILE_OK) << pantile_cuda_message();
    EXPECT_EQ(e.kernel, expected.kernel);
    EXPECT_EQ(e.tiles.row_tile, expected.tiles.row_tile);
    EXPECT_EQ(e.blocks, expected.blocks);
    EXPECT_EQ(e.read_bytes, expected.read_bytes);
}

TEST(cuda_c_interface, parts_merge_and_finish_as_in_cpp) {
    PANTILE_NEEDS_DEVICE(80);
    const device_call call;
    const auto first_keys = [&](const on_gpu<bfloat16>& t, bool rest) {
        device_view<const bfloat16> part = call.kv_view(t);
        part.extent[2] = rest ? k_len - 200 : 200;
        if (rest) part.data += 200 * part.stride[2];
        return part;
    };
    const device_results cpp[2], c[2], cpp_end, c_end;
    for (const int rest : {0, 1}) {
        options o;
        o.mask = causal().at_offset(k_len - q_len - (rest != 0 ? 200 : 0));
        const auto k = first_keys(call.k, rest != 0), v = first_keys(call.v, rest != 0);
        attention_partial(call.q_view(), k, v, cpp[rest].part(), nullptr, o);
        const auto c_view = [](const device_view<const bfloat16>& t) {
            return pantile_on_device(pantile_strided(t.data, PANTILE_BF16, t.extent.data(), t.stride.data()));
        };
        const pantile_tensor c_q = call.c_q(), c_k = c_view(k), c_v = c_view(v);
        const pantile_partial part = c[rest].c_part();
        pantile_options c_options = {};
        c_options.size = sizeof c_options;
        c_options.mask = pantile_at_offset(pantile_causal(PANTILE_BOTTOM_RIGHT), o.mask.offset);
        ASSERT_EQ(pantile_cuda_attention_partial(&c_q, &c_k, &c_v, &part, nullptr, &c_options), PANTILE_OK)
            << pantile_cuda_message();
        expect_same(cpp[rest], c[rest], true);
    }
    merge(cpp[0].part(), cpp[1].part(), cpp[0].part(), nullptr);
    finish(cpp[0].part(), cpp_end.out_view(), cpp_end.rows(cpp_end.lse), nullptr);
    const pantile_partial a = c[0].c_part(), b = c[1].c_part();
    ASSERT_EQ(pantile_cuda_merge(&a, &b, &a, nullptr), PANTILE_OK) << pantile_cuda_message();
    const pantile_results to = {sizeof to, c_end.c_out(), c_end.c_rows(c_end.lse)};
    ASSERT_EQ(pantile_cuda_finish(&a, &to, nullptr), PANTILE_OK) << pantile_cuda_message();
    expect_same(cpp_end, c_end);
}

TEST(forward_lengths, of_32_bits_mean_those_of_64) {
    PANTILE_NEEDS_DEVICE(80);
    const device_call call;
    const on_gpu<std::int32_t> narrow(std::vector<std::int32_t>{-5, 400, 77}); // clamped to 0 and k_len
    const on_gpu<index_t> wide(std::vector<index_t>{-5, 400, 77});
    for (const cuda_kernel kernel : {cuda_kernel::automatic, cuda_kernel::portable, cuda_kernel::decode}) {
        const device_results a, b;
        options o;
        o.mask = causal();
        o.kernel = kernel;
        o.key_lengths = narrow.data();
        attention(call.q_view(), call.kv_view(call.k), call.kv_view(call.v), a.out_view(), a.rows(a.lse), nullptr, o);
        o.key_lengths = wide.data();
        attention(call.q_view(), call.kv_view(call.k), call.kv_view(call.v), b.out_view(), b.rows(b.lse), nullptr, o);
        expect_same(a, b);
    }
}

} // namespace
} // namespace pantile::test
