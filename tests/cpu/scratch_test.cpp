// Kernels compute with nothing but the problem's numbers and zeros: scratch full of signalling NaN raises no floating-point
// exception and changes no bit. (Callers who unmask exceptions would otherwise be stopped by numbers that are not theirs,
// and subnormal garbage would cost time.)
#include <cfenv>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include <pantile/core/check.hpp>
#include <pantile/error.hpp>

#include "api/prepare.hpp"
#include "catalogue/dispatch.hpp"

namespace pantile::test {
namespace {

using namespace pantile::cpu;

template <class T>
using number = std::conditional_t<sizeof(T) == 8, double, float>; // in which T is computed

struct shape {
    index_t q_len, k_len, head_dim, value_dim, kv_heads = 1;
};

/// Tensors of one problem, their gradients and statistics.
template <class T>
struct tensors {
    explicit tensors(const shape& s) : size(s) {
        std::mt19937 random(7);
        std::normal_distribution<float> normal;
        const auto fill = [&](std::vector<T>& x, index_t count) {
            x.resize(static_cast<std::size_t>(count));
            for (T& value : x) value = T(normal(random));
        };
        fill(q, heads * s.q_len * s.head_dim);
        fill(k, s.kv_heads * s.k_len * s.head_dim);
        fill(v, s.kv_heads * s.k_len * s.value_dim);
        fill(dout, heads * s.q_len * s.value_dim);
        out.resize(dout.size());
        lse.resize(static_cast<std::size_t>(heads * s.q_len));
        dq.resize(q.size());
        dk.resize(k.size());
        dv.resize(v.size());
    }
    static constexpr index_t heads = 2;
    shape size;
    std::vector<T> q, k, v, dout;
    std::vector<number<T>> out, lse, dq, dk, dv;

    template <class X>
    [[nodiscard]] tensor_view<X> of_queries(std::vector<X>& x, index_t dim) const {
        return bhsd(x.data(), 1, heads, size.q_len, dim);
    }
    template <class X>
    [[nodiscard]] tensor_view<X> of_keys(std::vector<X>& x, index_t dim) const {
        return bhsd(x.data(), 1, size.kv_heads, size.k_len, dim);
    }
};

/// Aligned scratch of `bytes`, every number of it a signalling NaN in fp32 and fp64 alike, or zero.
std::vector<std::byte> scratch_of(index_t bytes, bool poisoned, std::byte*& begin) {
    std::vector<std::byte> memory(static_cast<std::size_t>(bytes) + 64);
    begin = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64;
    const std::uint32_t signalling = 0x7fa00001U; // as the upper half of a double, too
    for (index_t i = 0; poisoned && i + 4 <= bytes; i += 4) std::memcpy(begin + i, &signalling, 4);
    return memory;
}

#if defined(__clang__)
/// Where sum == 0 ? 0 : 1 / sum becomes vector code, clang computes both sides, of the problem's own sums.
constexpr int watched = FE_INVALID | FE_OVERFLOW;
#else
constexpr int watched = FE_INVALID | FE_OVERFLOW | FE_DIVBYZERO;
#endif

/// Forward and backward on one thread, piece by piece, without the public page's floating-point environment around it.
/// Returns the exceptions raised.
template <class T>
int run_pieces(tensors<T>& t, const mask& m, isa set, bool poisoned) {
    options o{.mask = m};
    o.isa = set;
    o.threads = 1;
    const auto q = t.of_queries(t.q, t.size.head_dim);
    const auto k = t.of_keys(t.k, t.size.head_dim);
    const auto v = t.of_keys(t.v, t.size.value_dim);
    const tensor_view<const T> in_q = q, in_k = k, in_v = v;
    const core::argument inputs[] = {core::describe("q", in_q), core::describe("k", in_k), core::describe("v", in_v)};
    const prepared p = prepare(inputs, o);
    output to;
    to.out = t.of_queries(t.out, t.size.value_dim);
    to.lse = bhs(t.lse.data(), 1, t.heads, t.size.q_len);
    std::byte* scratch = nullptr;
    const auto memory = scratch_of(p.scratch_bytes, poisoned, scratch);
    std::feclearexcept(FE_ALL_EXCEPT);
    for (index_t head = 0; head < p.heads(); ++head) {
        for (index_t tile = 0; tile < p.row_tiles; ++tile) {
            p.forward->run(p.call, {0, head, p.call.problem.sequence_of(0), tile}, to, scratch);
        }
    }
    const int forward = std::fetestexcept(watched);

    const kernels& isa = choose_kernels(set);
    const backward::kernels& code = sizeof(T) == 8 ? isa.backward_f64 : isa.backward_f32;
    std::vector<T> stored_out;
    for (const number<T> x : t.out) stored_out.push_back(static_cast<T>(x));
    backward::call call;
    call.problem = p.call.problem;
    call.plan = {2 * code.panel_rows, core::min(core::max(t.size.k_len, 1), 50), 2};
    call.chunk_keys = core::max(core::ceil_div(t.size.k_len, 2), 1);
    call.key_chunks = core::ceil_div(core::max(t.size.k_len, 1), call.chunk_keys);
    call.q = q;
    call.k = k;
    call.v = v;
    call.out = t.of_queries(stored_out, t.size.value_dim);
    call.lse = to.lse;
    call.dout = t.of_queries(t.dout, t.size.value_dim);
    call.dq = t.of_queries(t.dq, t.size.head_dim);
    call.dk = t.of_keys(t.dk, t.size.head_dim);
    call.dv = t.of_keys(t.dv, t.size.value_dim);
    std::byte* shared = nullptr;
    const auto shared_memory = scratch_of(code.shared_bytes(call), poisoned, shared);
    call.shared = shared;
    const auto own_memory = scratch_of(code.scratch_bytes(call), poisoned, scratch);
    const index_t panels = core::ceil_div(t.size.q_len, code.panel_rows) * t.heads;
    std::feclearexcept(FE_ALL_EXCEPT);
    if (call.key_chunks > 1) {
        for (index_t i = 0; i < panels; ++i) code.prepare(call, i, scratch);
    }
    for (index_t i = 0; i < call.work_items(); ++i) code.run(call, i, scratch);
    if (call.key_chunks > 1) {
        for (index_t i = 0; i < panels; ++i) code.reduce(call, i, scratch);
    }
    return forward | std::fetestexcept(watched);
}

template <class T>
void computes_on_nothing_else() {
    for (const isa set : {isa::baseline, isa::avx2, isa::avx512, isa::amx}) {
        try {
            (void)choose_kernels(set, true);
        } catch (const invalid_argument&) {
            continue; // not here
        }
        for (const shape& s : {shape{1, 1, 1, 1}, shape{3, 37, 17, 5}, shape{1, 300, 64, 64}, shape{33, 70, 13, 41},
                               shape{40, 129, 32, 16, 2}, shape{150, 90, 7, 3}}) {
            for (const mask& m : {full(), causal(), window(5, 2)}) {
                SCOPED_TRACE("isa " + std::to_string(static_cast<int>(set)) + ", " + std::to_string(s.q_len) + " x " +
                             std::to_string(s.k_len) + ", dims " + std::to_string(s.head_dim) + ", right " +
                             std::to_string(m.right));
                tensors<T> clean(s);
                tensors<T> dirty(s);
                EXPECT_EQ(run_pieces(clean, m, set, false), 0);
                EXPECT_EQ(run_pieces(dirty, m, set, true), 0);
                EXPECT_EQ(dirty.out, clean.out);
                EXPECT_EQ(dirty.lse, clean.lse);
                EXPECT_EQ(dirty.dq, clean.dq);
                EXPECT_EQ(dirty.dk, clean.dk);
                EXPECT_EQ(dirty.dv, clean.dv);
            }
        }
    }
}

TEST(scratch, is_never_computed_on_f32) { computes_on_nothing_else<float>(); }
TEST(scratch, is_never_computed_on_f64) { computes_on_nothing_else<double>(); }
TEST(scratch, is_never_computed_on_f16) { computes_on_nothing_else<float16>(); }
TEST(scratch, is_never_computed_on_bf16) { computes_on_nothing_else<bfloat16>(); }

} // namespace
} // namespace pantile::test
