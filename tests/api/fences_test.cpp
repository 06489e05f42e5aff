// Nothing but the tensors is read or written: each lies against a page that ends the program if touched, once before it, once
// behind it. Kernels that read whole vectors must know where rows end.
#include <cstring>
#include <memory>
#include <span>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api_call.hpp"

namespace pantile::test {
namespace {

enum class side : unsigned char { begins_at_fence, ends_at_fence };

/// Numbers beside a page that cannot be touched.
template <class T>
class fenced {
  public:
    fenced(std::size_t count, side where) {
        const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
        const std::size_t bytes = count * sizeof(T);
        const std::size_t inside = (bytes + page - 1) / page * page + page;
        bytes_ = inside + 2 * page;
        void* const memory = mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        memory_ = static_cast<char*>(memory);
        mprotect(memory_ + page, inside, PROT_READ | PROT_WRITE);
        std::memset(memory_ + page, 0xff, inside); // NaN
        data = reinterpret_cast<T*>(where == side::begins_at_fence ? memory_ + page : memory_ + page + inside - bytes);
    }
    fenced(const tensor<double>& from, side where) : fenced(from.data.size(), where) {
        for (std::size_t n = 0; n < from.data.size(); ++n) data[n] = T(static_cast<float>(from.data[n]));
    }
    ~fenced() { munmap(memory_, bytes_); }
    fenced(const fenced&) = delete;
    fenced& operator=(const fenced&) = delete;

    T* data = nullptr;

  private:
    char* memory_ = nullptr;
    std::size_t bytes_ = 0;
};

template <class In, class T>
void check(isa set, side where) {
    std::uint64_t seed = 0;
    for (const index_t q_len : {1, 2, 5, 33}) {
        for (const index_t dim : {1, 3, 4, 5, 8, 15, 16, 17, 33}) {
            attention_case c;
            c.q_heads = 2;
            c.q_len = q_len;
            c.k_len = q_len + 3;
            c.head_dim = dim;
            c.value_dim = (dim * 5) % 19 + 1;
            c.scale = 0.5;
            if (dim % 2 == 0) c.right = 0;
            const attention_inputs in = make_inputs(c, dtype::bf16, data_kind::normal, ++seed); // exact in every type
            const auto numbers = [](const extents& e) { return static_cast<std::size_t>(e[0] * e[1] * e[2] * e[3]); };
            const fenced<In> q(in.q, where), k(in.k, where), v(in.v, where), dout(in.dout, where);
            fenced<In> out(numbers(c.out_extent()), where);
            fenced<T> lse(numbers(c.lse_extent()), where);
            fenced<In> dq(in.q.data.size(), where), dk(in.k.data.size(), where), dv(in.v.data.size(), where);
            for (const bool tokens_first : {false, true}) {
                const auto view = [&](auto* p, index_t heads, index_t length, index_t d) {
                    return tokens_first ? bshd(p, 1, length, heads, d) : bhsd(p, 1, heads, length, d);
                };
                options o = options_of(c, {});
                o.isa = set;
                if (q_len % 2 == 0) o.plan = tile_plan{0, 4, 2};
                const auto qv = view(static_cast<const In*>(q.data), 2, q_len, dim);
                const auto kv = view(static_cast<const In*>(k.data), 1, c.k_len, dim);
                const auto vv = view(static_cast<const In*>(v.data), 1, c.k_len, c.value_dim);
                const auto ov = view(out.data, 2, q_len, c.value_dim);
                const auto rows = bhs(lse.data, 1, 2, q_len);
                const auto bytes = [](const explanation& e) { return static_cast<std::size_t>(e.workspace_bytes); };
                const fenced<std::byte> forward(bytes(explain(qv, kv, vv, o)), where);
                o.workspace = std::span(forward.data, bytes(explain(qv, kv, vv, o)));
                attention(qv, kv, vv, ov, rows, o);
                o.workspace = {};
                const fenced<std::byte> backward(bytes(explain_backward(qv, kv, vv, o)), where);
                o.workspace = std::span(backward.data, bytes(explain_backward(qv, kv, vv, o)));
                attention_backward(qv, kv, vv, tensor_view<const In>(ov), row_view<const T>(rows),
                                   view(static_cast<const In*>(dout.data), 2, q_len, c.value_dim),
                                   view(dq.data, 2, q_len, dim), view(dk.data, 1, c.k_len, dim),
                                   view(dv.data, 1, c.k_len, c.value_dim), o);
            }
            // That all was computed: the memory began as NaN.
            const auto expect_numbers = [&](const In* p, std::size_t count, const char* what) {
                for (std::size_t n = 0; n < count; ++n) {
                    ASSERT_TRUE(std::isfinite(static_cast<double>(static_cast<T>(p[n])))) << what << ' ' << n;
                }
            };
            expect_numbers(out.data, numbers(c.out_extent()), "out");
            expect_numbers(dq.data, in.q.data.size(), "dq");
            expect_numbers(dk.data, in.k.data.size(), "dk");
            expect_numbers(dv.data, in.v.data.size(), "dv");
        }
    }
}

TEST(fences, nothing_beside_the_tensors_is_touched) {
    for (const isa set : available_isas()) {
        for (const side where : {side::begins_at_fence, side::ends_at_fence}) {
            SCOPED_TRACE(name(set));
            check<double, double>(set, where);
            check<float, float>(set, where);
            check<float16, float>(set, where);
            check<bfloat16, float>(set, where);
        }
    }
}

} // namespace
} // namespace pantile::test
